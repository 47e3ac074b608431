"""A sine wave of known frequency and unknown phase."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Output, Parameter, State
from warp_phys.systems.model.system import System


class Sine(System):
    r"""A sine wave of known frequency and unknown phase.

    .. math:: y(t) = \sin(2 \pi f t + \phi)

    State: the angle :math:`\theta` in the sine, :math:`\dot\theta = 2\pi f` with
    :math:`\theta(0) = \phi`, so that t counts from the initial time. Output: the value
    :math:`\sin\theta`. Parameters: phase :math:`\phi` at the initial time, frequency f
    (fixed at 1 Hz unless freed). The initial state follows from the phase, which does not enter the
    right-hand side. Closed form: :math:`\theta(t) = \theta_0 + 2\pi f t`. Phase range, frequency
    and times are those of the WARP paper's SINE data.

    References:
        R. D. Nzoyem et al., arXiv:2506.01153 (data set SINE).

    Example:
        >>> import math
        >>> import torch
        >>> sine = Sine()
        >>> p = torch.tensor([math.pi / 2, 1.0])
        >>> sine.outputs_at(0.0, sine.initial_state_at(p), p)
        tensor([1.])
    """

    time_unit = "s"
    states = (State("angle", "rad", description="phase plus what time has added"),)
    outputs = (Output("value", "1", description="sine of the angle"),)
    parameters = (
        Parameter(
            "phase", "rad", "real", (-math.pi / 6, math.pi / 6), description="angle at the start"
        ),
        Parameter("frequency", "Hz", "positive", (0.5, 2.0), fixed=1.0, description="frequency"),
    )
    default_times = tuple(step / 15 for step in range(16))
    reference = "arXiv:2506.01153, data set SINE"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        """Return the angular frequency."""
        return (2.0 * math.pi * p.frequency,)

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        """Return the sine of the angle."""
        return (torch.sin(y[0]),)

    def initial_state(self, p: Any) -> tuple[Tensor]:
        """Return the phase."""
        return (p.phase,)

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor]:
        """Return the angle in closed form."""
        return (y0[0] + 2.0 * math.pi * p.frequency * t,)
