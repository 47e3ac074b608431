"""The Van der Pol oscillator."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class VanDerPol(System):
    r"""The Van der Pol oscillator, self-sustained and stiff for large mu.

    .. math:: \ddot x = \mu (1 - x^2)\, \dot x - x

    States: x and its rate (dimensionless, as is time). Parameter: mu, the strength of the
    non-linear damping, which adds energy for abs(x) < 1 and removes it beyond. Every trajectory
    that does not start at rest ends on one limit cycle; for mu in the hundreds it is a standard
    stiff problem.

    The right-hand side is affine in mu. There is neither a closed form nor an invariant.

    References:
        B. van der Pol, Philosophical Magazine 2 (1926) 978-992, doi:10.1080/14786442608564127.
        E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer, 1996,
        sec. IV.1 and IV.10.

    Example:
        >>> VanDerPol().affine_form.names
        ('mu',)
    """

    time_unit = "1"
    states = (
        State("position", "1", description="displacement"),
        State("velocity", "1", description="rate of the displacement"),
    )
    parameters = (
        Parameter("mu", "1", "positive", (0.5, 5.0), description="strength of the damping"),
    )
    default_initial_state = {"position": (0.5, 2.5), "velocity": 0.0}
    default_times = tuple(0.1 * step for step in range(201))
    reference = "van der Pol 1926, doi:10.1080/14786442608564127"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return velocity and acceleration."""
        position, velocity = y
        return velocity, p.mu * (1.0 - position**2) * velocity - position
