"""A neural ODE: the context is read to a latent state, which a learned flow carries on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchdiffeq import odeint

from benchmarks.paper._sequence import Contexts, SequenceModel

_HIDDEN = 128
_LATENT = 16
_WIDTH = 64
# Steps of the solver within a record, as near as a whole number of samples a step allows.
_STEPS = 64
# Records last so many units of the flow's time: weights of order one turn it a few times within.
_DURATION = 10.0


class NeuralOde(SequenceModel):
    r"""A latent ordinary differential equation from the end of the context on.

    .. math::
        z(t_c) = W h_c, \qquad \frac{dz}{dt} = \mathrm{MLP}(z), \qquad y(t) = \mathrm{MLP}(z(t))

    with h_c the state of a GRU at the end of the context, by the Runge-Kutta method of order 4.

    References:
        Rubanova et al., Latent ODEs for irregularly-sampled time series, arXiv 1907.03907.
        R. T. Q. Chen, torchdiffeq, github.com/rtqichen/torchdiffeq.
    """

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _LatentFlow(outputs)


class _LatentFlow(nn.Module):
    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.GRU(outputs + 1, _HIDDEN, batch_first=True)
        self.project = nn.Linear(_HIDDEN, _LATENT)
        self.rate = nn.Sequential(nn.Linear(_LATENT, _WIDTH), nn.Tanh(), nn.Linear(_WIDTH, _LATENT))
        self.decoder = nn.Sequential(
            nn.Linear(_LATENT, _WIDTH), nn.SiLU(), nn.Linear(_WIDTH, outputs)
        )

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on; the samples are equally spaced."""
        states, _ = self.layer(contexts.readings())
        latent = self.project(contexts.at_end(states))
        first, length = contexts.first, len(contexts.times)
        # Contexts end at different samples: all flows run as long as that of the shortest.
        elapsed = _DURATION * torch.arange(length - first + 1) / (length - 1)
        every = max(1, round(length / _STEPS))
        flow = odeint(
            lambda _time, state: self.rate(state),
            latent,
            elapsed,
            method="rk4",
            options={"step_size": _DURATION * every / (length - 1), "interp": "cubic"},
        )
        places = torch.arange(first, length) - (contexts.lengths.unsqueeze(1) - 1)
        rows = torch.arange(len(latent)).unsqueeze(1)
        decoded: Tensor = self.decoder(flow[places.clamp_min(0), rows])
        return decoded
