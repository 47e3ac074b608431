"""The Duffing oscillator under a periodic force."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Duffing(System):
    r"""An oscillator with a cubic spring under a periodic force.

    .. math:: \ddot x + \delta \dot x + \alpha x + \beta x^3 = \gamma \cos \omega t

    States: displacement x and its rate. Parameters, each for a unit of mass: damping
    :math:`\delta`; stiffness :math:`\alpha`, negative for a buckled beam, which then rests in one
    of two wells at :math:`\pm\sqrt{-\alpha/\beta}`; cubic stiffness :math:`\beta`; amplitude
    :math:`\gamma` and angular frequency :math:`\omega` of the force. The phase of the force is that
    of the time t itself, whatever the initial time. The ranges lie around Holmes's beam,
    :math:`\alpha = -1` and :math:`\beta = 1`, on which a force with :math:`\delta = 0.3`,
    :math:`\gamma = 0.5` and :math:`\omega = 1.2` acts chaotically.

    The right-hand side is affine in the parameters if :math:`\omega` is fixed. There is neither
    a closed form nor an invariant.

    References:
        G. Duffing, Erzwungene Schwingungen bei veraenderlicher Eigenfrequenz, Vieweg, 1918.
        P. Holmes, Phil. Trans. R. Soc. A 292 (1979) 419-448, doi:10.1098/rsta.1979.0068.

    Example:
        >>> Duffing(frequency=1.2).affine_form.names
        ('damping', 'stiffness', 'cubic', 'amplitude')
    """

    time_unit = "s"
    states = (
        State("position", "m", description="displacement"),
        State("velocity", "m/s", description="rate of the displacement"),
    )
    parameters = (
        Parameter("damping", "1/s", "positive", (0.1, 0.5), description="damping rate"),
        Parameter("stiffness", "1/s2", "real", (-1.5, -0.5), description="linear stiffness"),
        Parameter("cubic", "1/m2/s2", "positive", (0.5, 1.5), description="cubic stiffness"),
        Parameter("amplitude", "m/s2", "positive", (0.2, 0.6), description="greatest force"),
        Parameter("frequency", "rad/s", "positive", (0.8, 1.6), description="of the force"),
    )
    default_initial_state = {"position": (-1.5, 1.5), "velocity": (-0.5, 0.5)}
    default_times = tuple(0.2 * step for step in range(151))
    reference = "Holmes 1979, doi:10.1098/rsta.1979.0068"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return velocity and acceleration."""
        position, velocity = y
        force = p.amplitude * torch.cos(p.frequency * t)
        spring = p.stiffness * position + p.cubic * position**3
        return velocity, force - p.damping * velocity - spring
