"""Masses and springs in a row between two walls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _states(masses: int) -> tuple[State, ...]:
    places = range(1, masses + 1)
    return (
        *(State(f"position_{i}", "m", description=f"displacement of mass {i}") for i in places),
        *(State(f"velocity_{i}", "m/s", description=f"velocity of mass {i}") for i in places),
    )


def _initial_state(masses: int) -> dict[str, float | tuple[float, float]]:
    """Return the first mass displaced and all others at rest in their places."""
    rest = dict.fromkeys((state.name for state in _states(masses)), 0.0)
    return {**rest, "position_1": (0.5, 1.5)}


class CoupledOscillators(System):
    r"""Equal masses in a row between two walls, joined by springs, with viscous damping.

    .. math::
        m \ddot x_i = \kappa_i (x_{i+1} - x_i) - \kappa_{i-1} (x_i - x_{i-1}) - c \dot x_i

    for i = 1 to n with :math:`x_0 = x_{n+1} = 0`, the walls. States: the displacements
    :math:`x_i`, then the velocities. Parameters: mass m of each (fixed at 1 kg unless freed);
    stiffness :math:`k = \kappa_0 = \kappa_n` of both springs at the walls; coupling
    :math:`\kappa = \kappa_1 = \ldots = \kappa_{n-1}` of the springs between masses; damping
    coefficient c of each mass. The number of masses is an option of the instance:
    `CoupledOscillators(masses=5)`; 2 or more, by default 3.

    The motion determines k/m, :math:`\kappa/m` and c/m. With :math:`k = \kappa` and no damping the
    modes have :math:`\omega_j = 2 \sqrt{k/m}\, \sin(j \pi / (2 n + 2))`. The energy of the motion
    divided by its decay :math:`e^{-rt}`, r = c/(2m), is constant, as for
    :class:`~warp_phys.systems.MassSpringDamper`. The right-hand side is affine in the parameters if
    m is fixed.

    Raises:
        UsageError: `masses` is not a whole number of 2 or more.

    References:
        L. Meirovitch, Fundamentals of Vibrations, McGraw-Hill, 2001, ch. 7.

    Example:
        >>> CoupledOscillators(masses=2).state_names
        ('position_1', 'position_2', 'velocity_1', 'velocity_2')
    """

    time_unit = "s"
    states = _states(3)
    parameters = (
        Parameter("mass", "kg", "positive", (0.5, 2.0), fixed=1.0, description="each mass"),
        Parameter("stiffness", "N/m", "positive", (1.0, 10.0), description="springs at the walls"),
        Parameter("coupling", "N/m", "positive", (0.5, 5.0), description="springs between masses"),
        Parameter("damping", "N s/m", "positive", (0.02, 0.4), description="of each mass"),
    )
    default_initial_state = _initial_state(3)
    default_times = tuple(0.1 * step for step in range(101))
    reference = "Meirovitch 2001, Fundamentals of Vibrations, ch. 7"

    def __init__(self, masses: int = 3, **fixed: float | tuple[float, float] | None) -> None:
        if not isinstance(masses, int) or masses < 2:
            raise UsageError(f"expected masses as a whole number of 2 or more, received {masses!r}")
        self.states = _states(masses)
        self.default_initial_state = _initial_state(masses)
        super().__init__(**fixed)
        self.options["masses"] = masses

    def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor:
        """Return velocities and accelerations."""
        velocities = y[len(self.states) // 2 :]
        tensions = self._springs(p) * self._stretches(y)
        forces = tensions[1:] - tensions[:-1] - p.damping * velocities
        return torch.cat([velocities, forces / p.mass])

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the energy of e^(c t / 2m) x, which is undamped."""
        positions, velocities = y.tensor_split(2)
        rate = 0.5 * p.damping / p.mass
        energy = (velocities**2 + 2.0 * rate * positions * velocities).sum(dim=0)
        energy = energy + (self._springs(p) * self._stretches(y) ** 2).sum(dim=0) / p.mass
        return {"scaled_energy": torch.exp(2.0 * rate * t) * energy}

    def _springs(self, p: Any) -> Tensor:
        """Return the stiffness of each spring, (n + 1, *batch)."""
        return torch.stack([p.stiffness, *[p.coupling] * (len(self.states) // 2 - 1), p.stiffness])

    def _stretches(self, y: Tensor) -> Tensor:
        """Return how much longer than at rest each spring is, (n + 1, *batch)."""
        positions = y[: len(self.states) // 2]
        wall = torch.zeros_like(positions[:1])
        return torch.cat([positions, wall]) - torch.cat([wall, positions])
