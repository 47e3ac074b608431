"""An enzyme and its substrate, step by step: the Michaelis-Menten mechanism."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class MichaelisMenten(System):
    r"""An enzyme that turns substrate into product through a complex: the full mechanism.

    .. math::
        E + S \underset{k_r}{\overset{k_f}{\rightleftharpoons}} C \overset{k_{cat}}{\to} E + P

    .. math::
        \dot E &= -k_f E S + (k_r + k_{cat})\, C, \quad \dot S = -k_f E S + k_r C \\
        \dot C &= k_f E S - (k_r + k_{cat})\, C, \quad \dot P = k_{cat} C

    States: concentrations of free enzyme E, substrate S, complex C and product P. Parameters:
    binding :math:`k_f`, unbinding :math:`k_r`, turnover :math:`k_{cat}`. With much more substrate
    than enzyme, the complex soon becomes steady and product forms at the Michaelis-Menten rate,
    :math:`k_{cat} E_0 S / (K_M + S)` with :math:`K_M = (k_r + k_{cat}) / k_f`.

    The total enzyme E + C and the total substrate S + C + P are constant. The right-hand side is
    affine in the parameters. There is no closed form.

    References:
        L. Michaelis, M. L. Menten, Biochemische Zeitschrift 49 (1913) 333-369; translated by K. A.
        Johnson, R. S. Goody, Biochemistry 50 (2011) 8264-8269, doi:10.1021/bi201284u.
        G. E. Briggs, J. B. S. Haldane, Biochemical Journal 19 (1925) 338-339,
        doi:10.1042/bj0190338.

    Example:
        >>> MichaelisMenten().affine_form.names
        ('binding', 'unbinding', 'turnover')
    """

    time_unit = "s"
    states = (
        State("enzyme", "umol/L", "positive", description="free enzyme"),
        State("substrate", "umol/L", "positive", description="free substrate"),
        State("complex", "umol/L", description="enzyme that holds a substrate"),
        State("product", "umol/L", description="product"),
    )
    parameters = (
        Parameter("binding", "L/umol/s", "positive", (0.5, 2.0), description="forward rate"),
        Parameter("unbinding", "1/s", "positive", (0.2, 2.0), description="reverse rate"),
        Parameter("turnover", "1/s", "positive", (0.3, 1.5), description="rate of the product"),
    )
    default_initial_state = {
        "enzyme": 1.0,
        "substrate": (5.0, 20.0),
        "complex": 0.0,
        "product": 0.0,
    }
    default_times = tuple(0.2 * step for step in range(101))
    reference = "Michaelis and Menten 1913, doi:10.1021/bi201284u"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rates of the four concentrations."""
        enzyme, substrate, bound, _ = y
        binding = p.binding * enzyme * substrate - p.unbinding * bound
        turnover = p.turnover * bound
        return turnover - binding, -binding, binding - turnover, turnover

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return all enzyme, and all substrate whatever became of it."""
        enzyme, substrate, bound, product = y
        return {"enzyme": enzyme + bound, "substrate": substrate + bound + product}
