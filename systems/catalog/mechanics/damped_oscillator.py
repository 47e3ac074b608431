"""The damped oscillator: the mass-spring-damper in its identifiable parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.catalog.mechanics._damped_oscillation import (
    damped_oscillation,
    scaled_energy,
)
from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _to_coordinates(p: Any) -> tuple[Tensor, Tensor]:
    return p.natural_frequency**2, 2.0 * p.damping_rate


def _from_coordinates(q: Any, p: Any) -> dict[str, Tensor | None]:
    return {
        "natural_frequency": torch.sqrt(q.frequency_squared),
        "damping_rate": 0.5 * q.twice_damping_rate,
    }


class DampedOscillator(System):
    r"""A damped linear oscillator, the identifiable form of the mass-spring-damper.

    .. math:: \ddot x + 2 r \dot x + \omega^2 x = 0

    States: position x from rest, velocity :math:`\dot x`. Parameters: natural frequency
    :math:`\omega` (angular, undamped) and damping rate r; of a mass-spring-damper,
    :math:`\omega^2 = k/m` and r = c/(2m). The motion is underdamped for
    :math:`r < \omega`, critically damped at :math:`r = \omega` and overdamped beyond. The ranges
    correspond to those of the mass-spring-damper.

    The right-hand side is affine in q = (:math:`\omega^2`, 2 r). Closed form and invariant are
    those of :class:`~warp_phys.systems.MassSpringDamper`, in all three regimes.

    References:
        L. Meirovitch, Fundamentals of Vibrations, McGraw-Hill, 2001, sec. 2.2.

    Example:
        >>> DampedOscillator().free_names
        ('natural_frequency', 'damping_rate')
    """

    time_unit = "s"
    states = (
        State("position", "m", description="displacement from rest"),
        State("velocity", "m/s", description="rate of the displacement"),
    )
    parameters = (
        Parameter(
            "natural_frequency", "rad/s", "positive", (10.0, 28.0), description="undamped frequency"
        ),
        Parameter("damping_rate", "1/s", "positive", (0.1, 5.0), description="damping rate"),
    )
    default_initial_state = {"position": 1.0, "velocity": 0.0}
    default_times = tuple(step / 255 for step in range(256))
    reference = "Meirovitch 2001, Fundamentals of Vibrations, sec. 2.2"
    linear_form = LinearForm(
        names=("frequency_squared", "twice_damping_rate"),
        units=("rad2/s2", "1/s"),
        to_coordinates=_to_coordinates,
        from_coordinates=_from_coordinates,
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return velocity and acceleration."""
        position, velocity = y
        return velocity, -(p.natural_frequency**2) * position - 2.0 * p.damping_rate * velocity

    def linear_rhs(self, t: Any, y: Tensor, q: Any, p: Any) -> tuple[Tensor, Tensor]:
        """Return the same as a function of q."""
        position, velocity = y
        return velocity, -q.frequency_squared * position - q.twice_damping_rate * velocity

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return position and velocity in closed form."""
        position, velocity = y0
        squared = p.natural_frequency**2
        return damped_oscillation(t, position, velocity, squared, p.damping_rate)

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the scaled energy."""
        position, velocity = y
        squared = p.natural_frequency**2
        return {"scaled_energy": scaled_energy(t, position, velocity, squared, p.damping_rate)}
