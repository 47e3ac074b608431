"""The mass-spring-damper in free vibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from warp_phys.systems.catalog.mechanics._damped_oscillation import (
    damped_oscillation,
    scaled_energy,
)
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _to_coordinates(p: Any) -> tuple[Tensor, Tensor]:
    return p.k / p.m, p.c / p.m


def _from_coordinates(q: Any, p: Any) -> dict[str, Tensor | None]:
    mass = p.m
    if mass is None and p.k is not None:
        mass = p.k / q.k_over_m
    if mass is None and p.c is not None:
        mass = p.c / q.c_over_m
    if mass is None:
        return {}
    return {"m": mass, "k": q.k_over_m * mass, "c": q.c_over_m * mass}


class MassSpringDamper(System):
    r"""A mass on a spring with a viscous damper, in free vibration.

    .. math:: m \ddot x + c \dot x + k x = 0

    States: position x from rest, velocity :math:`\dot x`. Parameters: mass m, stiffness k, damping
    coefficient c. Ranges, initial state and times are those of the WARP paper's MSD data.

    Free vibration determines k/m and c/m, but not m, k and c separately: see
    :class:`~warp_phys.systems.DampedOscillator` for the identifiable form, or fix one of the three.
    The right-hand side is affine in q = (k/m, c/m). In closed form, with
    :math:`\omega^2 = k/m`, :math:`r = c/(2m)` and :math:`w^2 = \omega^2 - r^2`,

    .. math:: x(t) = e^{-rt}\left(x_0 \cos wt + (v_0 + r x_0)\,\frac{\sin wt}{w}\right),

    continued through w = 0 to the overdamped side. Divided by the decay :math:`e^{-rt}`, the motion
    is an undamped vibration, whose energy :math:`e^{2rt}(v^2 + 2rxv + \omega^2x^2)` is constant.

    References:
        L. Meirovitch, Fundamentals of Vibrations, McGraw-Hill, 2001, sec. 2.2.
        R. D. Nzoyem et al., arXiv:2506.01153 (data set MSD).

    Example:
        >>> import torch
        >>> system = MassSpringDamper(m=0.03)
        >>> q, known = torch.tensor([200.0, 2.0]), torch.tensor([0.03, 0.0, 0.0])
        >>> system.parameters_from_coordinates(q, known)
        tensor([0.0300, 6.0000, 0.0600])
    """

    time_unit = "s"
    states = (
        State("position", "m", description="displacement from rest"),
        State("velocity", "m/s", description="rate of the displacement"),
    )
    parameters = (
        Parameter("m", "kg", "positive", (0.02, 0.04), description="mass"),
        Parameter("k", "N/m", "positive", (4.0, 16.0), description="stiffness"),
        Parameter("c", "N s/m", "positive", (0.01, 0.2), description="damping coefficient"),
    )
    default_initial_state = {"position": 1.0, "velocity": 0.0}
    default_times = tuple(step / 255 for step in range(256))
    reference = "Meirovitch 2001, Fundamentals of Vibrations, sec. 2.2; arXiv:2506.01153"
    linear_form = LinearForm(
        names=("k_over_m", "c_over_m"),
        units=("1/s2", "1/s"),
        to_coordinates=_to_coordinates,
        from_coordinates=_from_coordinates,
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return velocity and acceleration."""
        position, velocity = y
        return velocity, -(p.k * position + p.c * velocity) / p.m

    def linear_rhs(self, t: Any, y: Tensor, q: Any, p: Any) -> tuple[Tensor, Tensor]:
        """Return the same as a function of q = (k/m, c/m)."""
        position, velocity = y
        return velocity, -q.k_over_m * position - q.c_over_m * velocity

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return position and velocity in closed form."""
        position, velocity = y0
        return damped_oscillation(t, position, velocity, p.k / p.m, 0.5 * p.c / p.m)

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the scaled energy."""
        position, velocity = y
        energy = scaled_energy(t, position, velocity, p.k / p.m, 0.5 * p.c / p.m)
        return {"scaled_energy": energy}
