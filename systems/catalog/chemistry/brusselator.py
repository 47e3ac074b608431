"""The Brusselator, a chemical oscillator."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Brusselator(System):
    r"""A chemical oscillator with an autocatalytic step: the Brusselator.

    .. math::
        \dot x &= a + x^2 y - (b + 1)\, x \\
        \dot y &= b x - x^2 y

    States: concentrations of the two intermediates (dimensionless, as is time; the rate constants
    are 1). Parameters: the concentrations a and b of the two substances that are held constant. The
    fixed point x = a, y = b/a is stable for :math:`b < 1 + a^2`; beyond that, every trajectory that
    does not start at rest ends on a limit cycle.

    The right-hand side is affine in a and b. There is neither a closed form nor an invariant.

    References:
        I. Prigogine, R. Lefever, Journal of Chemical Physics 48 (1968) 1695-1700,
        doi:10.1063/1.1668896.

    Example:
        >>> Brusselator().affine_form.names
        ('a', 'b')
    """

    time_unit = "1"
    states = (
        State("x", "1", "positive", description="autocatalytic intermediate"),
        State("y", "1", "positive", description="other intermediate"),
    )
    parameters = (
        Parameter("a", "1", "positive", (0.6, 1.4), description="first substance kept up"),
        Parameter("b", "1", "positive", (1.5, 3.5), description="second substance kept up"),
    )
    default_initial_state = {"x": (0.5, 2.0), "y": (0.5, 3.0)}
    default_times = tuple(0.2 * step for step in range(151))
    reference = "Prigogine and Lefever 1968, doi:10.1063/1.1668896"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the rates of both intermediates."""
        x, other = y
        autocatalysis, conversion = x**2 * other, p.b * x
        return p.a + autocatalysis - conversion - x, conversion - autocatalysis
