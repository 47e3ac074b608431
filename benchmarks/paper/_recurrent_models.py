"""Rivals that read the context sample by sample: GRU, LSTM, a diagonal state-space model."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from benchmarks.paper._sequence import Contexts, FrozenDecoder, SequenceModel
from warp_phys.recurrence.layer import LinearRecurrence

_HIDDEN = 128
_BLOCKS = 2
# Of the moduli a state-space model starts from, and up to which angle its states turn a step.
_SMALLEST, _LARGEST = 0.9, 0.999
_FASTEST = math.pi / 10


class Gru(SequenceModel):
    """A gated recurrent unit over the context, its last state decoded at every later time."""

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _Gated(nn.GRU(outputs + 1, _HIDDEN, batch_first=True), outputs)


class Lstm(SequenceModel):
    """Long short-term memory over the context, its last state decoded at every later time."""

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _Gated(nn.LSTM(outputs + 1, _HIDDEN, batch_first=True), outputs)


class StateSpace(SequenceModel):
    r"""A stack of diagonal linear state-space layers over the context, decoded likewise.

    .. math::
        x_t = \mathrm{diag}(a) x_{t-1} + B u_t, \qquad y_t = C x_t + D u_t, \qquad |a_j| < 1

    with complex a, and between the layers a gate, a residual and a normalization.

    References:
        Orvieto et al., Resurrecting recurrent neural networks for long sequences,
        arXiv 2303.06349.
    """

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _Stack(outputs)


class GruAutoregressive(SequenceModel):
    """A GRU that predicts the next sample, and behind the context reads its own predictions.

    It is trained as it forecasts: with its own outputs fed back, backwards through all of it.
    """

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _FreeRunning(outputs)


class _Gated(nn.Module):
    """A recurrent layer of torch and a decoder of its state at the end of the context."""

    def __init__(self, layer: nn.GRU | nn.LSTM, outputs: int) -> None:
        super().__init__()
        self.layer = layer
        self.decoder = FrozenDecoder(_HIDDEN, outputs)

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        states, _ = self.layer(contexts.readings())
        decoded: Tensor = self.decoder(contexts.at_end(states), contexts.times[contexts.first :])
        return decoded


class _Stack(nn.Module):
    """State-space blocks and a decoder of what they say at the end of the context."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.project = nn.Linear(outputs + 1, _HIDDEN)
        self.blocks = nn.Sequential(*(_Block() for _ in range(_BLOCKS)))
        self.norm = nn.LayerNorm(_HIDDEN)
        self.decoder = FrozenDecoder(_HIDDEN, outputs)

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        features = self.blocks(self.project(contexts.readings()))
        state = self.norm(contexts.at_end(features))
        decoded: Tensor = self.decoder(state, contexts.times[contexts.first :])
        return decoded


class _Block(nn.Module):
    """u + GLU(GELU(C x + D norm(u))), x the states of a diagonal recurrence over norm(u)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(_HIDDEN)
        self.recurrence = _turning_recurrence()
        self.read = nn.Linear(_HIDDEN, _HIDDEN, bias=False)
        self.skip = nn.Parameter(torch.randn(_HIDDEN))
        self.gate = nn.Linear(_HIDDEN, 2 * _HIDDEN)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (N, C, 128) to the same shape."""
        scaled = self.norm(inputs)
        states = self.recurrence(scaled, scaled.new_zeros(_HIDDEN))
        mixed = nn.functional.gelu(self.read(states) + self.skip * scaled)
        return inputs + nn.functional.glu(self.gate(mixed), dim=-1)


def _turning_recurrence() -> LinearRecurrence:
    """Return a stable recurrence of 64 conjugate pairs spread over a ring in the unit disk."""
    layer = LinearRecurrence(
        _HIDDEN, _HIDDEN, structure="complex", stable=True, input_scale=1.0 / math.sqrt(_HIDDEN)
    )
    real, imag = layer.get_parameter("real"), layer.get_parameter("imag")
    pairs = len(imag)
    modulus = torch.empty(pairs).uniform_(_SMALLEST**2, _LARGEST**2).sqrt()
    with torch.no_grad():
        real.copy_(modulus.atanh())
        imag.uniform_(0.0, _FASTEST)
        # So that states driven by white noise have the variance of the noise, however slow.
        layer.input_matrix.mul_((1.0 - modulus.square()).sqrt().repeat(2).unsqueeze(1))
    return layer


class _FreeRunning(nn.Module):
    """x_{t+1} = x_t + MLP(h_t), h the states of a GRU that reads x_t and t."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.layer = nn.GRU(outputs + 1, _HIDDEN, batch_first=True)
        last = nn.Linear(_HIDDEN, outputs)
        # Quiet at the start, for the steps add up to the end of the record.
        nn.init.normal_(last.weight, std=0.1 / math.sqrt(_HIDDEN))
        nn.init.zeros_(last.bias)
        self.step = nn.Sequential(nn.Linear(_HIDDEN, _HIDDEN), nn.SiLU(), last)

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        first, known = contexts.first, contexts.known
        _, hidden = self.layer(contexts.readings()[:, :first])
        current = contexts.samples[:, first - 1]
        predicted = []
        for place in range(first, len(contexts.times)):
            following = current + self.step(hidden[0])
            predicted.append(following)
            current = torch.where(known[:, place, None], contexts.samples[:, place], following)
            time = contexts.times[place].expand(len(current), 1)
            _, hidden = self.layer(torch.cat([current, time], dim=1).unsqueeze(1), hidden)
        return torch.stack(predicted, dim=1)
