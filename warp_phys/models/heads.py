"""Heads: what the hidden state is, and how it becomes a distribution over the unknowns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, cast

import torch
from torch import Tensor, nn

from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.recurrence.networks.evaluate import evaluate

HeadName = Literal["direct", "weights", "readout", "regression"]


class Head(nn.Module):
    """A map from hidden states to normal distributions over Q coordinates.

    Attributes:
        size: The size D of the hidden state.
    """

    size: int

    def base(self) -> Tensor:
        """Return the hidden state (D,) to start training from."""
        raise NotImplementedError

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:
        """Decode hidden states (..., D) at scaled times (...)."""
        raise NotImplementedError


class Direct(Head):
    """The hidden state is the unknowns themselves, with their scales and couplings."""

    def __init__(self, coordinates: int) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.size = state_size(coordinates)

    def base(self) -> Tensor:
        """Return the prior: mean 0, scale 1, no coupling, in standardized coordinates."""
        return torch.zeros(self.size)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:  # noqa: ARG002 (Head's own)
        """Read the unknowns off the state."""
        return Gaussian.from_state(theta, self.coordinates)


class Weights(Head):
    """The hidden state is the weights of a small network of time that emits the unknowns."""

    def __init__(self, coordinates: int, *, width: int) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.root = WeightNetwork([1, width, width, state_size(coordinates)])
        self.size = self.root.size

    def base(self) -> Tensor:
        """Return weights drawn as a network of its own would draw them, but quiet at the end."""
        return self.root.draw(last_gain=0.1)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:
        """Evaluate the network of weights `theta` at the time of each state."""
        return self.read(self.root(theta, elapsed.unsqueeze(-1)))

    def read(self, values: Tensor) -> Gaussian:
        """Return the distribution that the root's outputs (..., state_size(Q)) describe."""
        return Gaussian.from_state(values, self.coordinates)


class Readout(Head):
    """A control, not WARP-Phys: a linear state read by a fixed network."""

    def __init__(self, coordinates: int, *, size: int, width: int) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.size = size
        self.network = nn.Sequential(
            nn.Linear(size, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, state_size(coordinates)),
        )

    def base(self) -> Tensor:
        """Return zeros."""
        return torch.zeros(self.size)

    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:  # noqa: ARG002 (Head's own)
        """Read the state with the fixed network."""
        return self.read(self.network(theta))

    def read(self, values: Tensor) -> Gaussian:
        """Return the distribution that the network's outputs (..., state_size(Q)) describe."""
        return Gaussian.from_state(values, self.coordinates)


class WeightNetwork(nn.Module):
    """A perceptron whose weights and biases are given with every call, as one vector.

    Args:
        widths: Input width, hidden widths, output width.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.shapes = [(out, into) for into, out in pairwise(widths)]
        self.size = sum(out * into + out for out, into in self.shapes)

    def draw(self, *, last_gain: float = 1.0) -> Tensor:
        """Draw weights (D,) with the variance 1 / fan-in and biases that spread the kinks."""
        parts = []
        for layer, (out, into) in enumerate(self.shapes):
            gain = last_gain if layer == len(self.shapes) - 1 else 1.0
            parts.append(gain * torch.randn(out * into) / math.sqrt(into))
            parts.append(gain * (2.0 * torch.rand(out) - 1.0) / math.sqrt(into))
        return torch.cat(parts)

    def forward(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """Evaluate networks (..., D) at inputs (..., width of the input)."""
        if theta.ndim == 2 and len(theta) == len(inputs) and not torch.is_grad_enabled():
            return self._of_rows(theta, inputs)
        return evaluate(self.shapes, theta, inputs)

    def _of_rows(self, theta: Tensor, inputs: Tensor) -> Tensor:
        """The same of networks (N, D), by products from the left, which take half the time."""
        hidden, offset = inputs.unsqueeze(1), 0
        for layer, (out, into) in enumerate(self.shapes):
            middle = offset + out * into
            weight = theta[:, offset:middle].unflatten(1, (out, into))
            offset = middle + out
            hidden = torch.tanh(hidden) if layer else hidden
            hidden = torch.baddbmm(theta[:, None, middle:offset], hidden, weight.mT)
        return hidden.squeeze(1)


class InitialState(nn.Module):
    """theta_0: learned and shared by all trajectories, or phi(x_0) of the first sample.

    Args:
        signal: Width of the first sample's signal.
        base: (D,) where training starts from.
        width: Hidden width of phi; 0 for the shared, learned theta_0.
    """

    def __init__(self, signal: int, base: Tensor, *, width: int) -> None:
        super().__init__()
        self.base = nn.Parameter(base.clone())
        self.phi: nn.Module | None = None
        if width:
            last = nn.Linear(width, base.numel(), bias=False)
            nn.init.normal_(last.weight, std=0.01)
            self.phi = nn.Sequential(nn.Linear(signal, width), nn.SiLU(), last)

    def forward(self, signal: Tensor) -> Tensor:
        """Return theta_0 (N, D) for first signals (N, C)."""
        shared = self.base.expand(signal.shape[0], -1)
        return shared if self.phi is None else shared + cast(Tensor, self.phi(signal))
