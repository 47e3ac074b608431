"""Robertson's autocatalytic reaction, a stiff problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Robertson(System):
    r"""Robertson's autocatalytic reaction, the classic stiff problem.

    .. math::
        \dot a &= -k_1 a + k_3 b c \\
        \dot b &= k_1 a - k_3 b c - k_2 b^2 \\
        \dot c &= k_2 b^2

    States: concentrations of the reactant a, the intermediate b and the product c. Parameters: rate
    constants :math:`k_1` (a to b), :math:`k_2` (2 b to b + c) and :math:`k_3` (b + c to a + c); the
    published values 0.04, 3e7 and 1e4 are the geometric means of the ends of the ranges. The
    intermediate settles within milliseconds, while the product forms over days: explicit methods
    would need about 1e8 steps over the default times.

    The total a + b + c is constant. The right-hand side is affine in the parameters. There is no
    closed form.

    References:
        H. H. Robertson, in J. Walsh (ed.), Numerical Analysis: An Introduction, Academic Press,
        1966, 178-182.
        E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer, 1996,
        sec. IV.1, doi:10.1007/978-3-642-05221-7.

    Example:
        >>> Robertson().affine_form.names
        ('k1', 'k2', 'k3')
    """

    time_unit = "s"
    states = (
        State("reactant", "mol/L", "positive", description="what is there at the start"),
        State("intermediate", "mol/L", description="short-lived"),
        State("product", "mol/L", description="what is left in the end"),
    )
    parameters = (
        Parameter("k1", "1/s", "positive", (0.01, 0.16), description="reactant decays"),
        Parameter("k2", "L/mol/s", "positive", (1e7, 9e7), description="product forms"),
        Parameter("k3", "L/mol/s", "positive", (2.5e3, 4e4), description="reactant forms again"),
    )
    default_initial_state = {"reactant": 1.0, "intermediate": 0.0, "product": 0.0}
    default_times = (0.0, *(10.0 ** (0.2 * step - 5.0) for step in range(51)))
    reference = "Robertson 1966; Hairer and Wanner 1996, sec. IV.1"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rates of the three concentrations."""
        reactant, intermediate, product = y
        forward = p.k1 * reactant - p.k3 * intermediate * product
        formed = p.k2 * intermediate**2
        return -forward, forward - formed, formed

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the total concentration."""
        reactant, intermediate, product = y
        return {"total": reactant + intermediate + product}
