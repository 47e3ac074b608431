"""The damped pendulum, at any angle."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _to_coordinates(p: Any) -> tuple[Tensor, Tensor]:
    return p.g / p.length, p.damping


def _from_coordinates(q: Any, p: Any) -> dict[str, Tensor | None]:
    return {
        "length": None if p.g is None else p.g / q.g_over_length,
        "damping": q.damping,
        "g": None if p.length is None else q.g_over_length * p.length,
    }


class Pendulum(System):
    r"""A point mass on a rigid massless rod, swinging in a plane with viscous damping.

    .. math:: \ddot\varphi = -\frac{g}{\ell} \sin\varphi - c\,\dot\varphi

    States: angle :math:`\varphi` from the lowest point, angular velocity :math:`\dot\varphi`.
    Parameters: length :math:`\ell`; damping c, the damping torque for each unit of moment of
    inertia and angular velocity; g, the acceleration of gravity, fixed unless freed. A motion
    determines g/length and damping, but not g and length separately.

    The right-hand side is affine in q = (g/length, damping). There is no closed form in time.
    Without damping, the energy :math:`\dot\varphi^2/2 - (g/\ell)\cos\varphi` is conserved.

    References:
        S. H. Strogatz, Nonlinear Dynamics and Chaos, 2nd ed., Westview, 2015, sec. 6.7.

    Example:
        >>> Pendulum().free_names, Pendulum(g=(9.7, 9.9)).free_names
        (('length', 'damping'), ('length', 'damping', 'g'))
    """

    time_unit = "s"
    states = (
        State("angle", "rad", description="angle from the lowest point"),
        State("angular_velocity", "rad/s", description="rate of the angle"),
    )
    parameters = (
        Parameter("length", "m", "positive", (0.5, 2.0), description="length of the rod"),
        Parameter("damping", "1/s", "positive", (0.02, 0.5), description="damping rate"),
        Parameter("g", "m/s2", "positive", (1.0, 30.0), fixed=9.81, description="gravity"),
    )
    default_initial_state = {"angle": (0.3, 1.5), "angular_velocity": 0.0}
    default_times = tuple(0.05 * step for step in range(101))
    reference = "Strogatz 2015, Nonlinear Dynamics and Chaos, sec. 6.7"
    linear_form = LinearForm(
        names=("g_over_length", "damping"),
        units=("1/s2", "1/s"),
        to_coordinates=_to_coordinates,
        from_coordinates=_from_coordinates,
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return angular velocity and acceleration."""
        angle, velocity = y
        return velocity, -p.g / p.length * torch.sin(angle) - p.damping * velocity

    def linear_rhs(self, t: Any, y: Tensor, q: Any, p: Any) -> tuple[Tensor, Tensor]:
        """Return the same as a function of q = (g/length, damping)."""
        angle, velocity = y
        return velocity, -q.g_over_length * torch.sin(angle) - q.damping * velocity
