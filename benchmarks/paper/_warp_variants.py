"""Variants of WARP for the ablations: the paper's auto-regression, and no root network at all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import warp_phys as wp
from benchmarks.paper._sequence import TIME_FEATURES, Contexts, SequenceModel, time_features
from warp_phys.models.initial_state import InitialState
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.recurrence.layer import LinearRecurrence
from warp_phys.recurrence.linear_recurrence import Mode

_ROOT_WIDTH = 16
_WIDTH = 128
_STATES = 850  # as many as the root network of the other rows has weights


class WarpAutoregressive(SequenceModel):
    """WARP as the paper runs it: theta goes on being driven, by differences of its own outputs.

    The root reads the time and the previous sample. It is trained free running behind the
    context, where the paper's sees a true sample with probability 0.25.

    Args:
        clip: Keeps every weight within +-clip, as the paper does for images.
    """

    def __init__(self, clip: float | None = None) -> None:
        super().__init__()
        self.clip = clip

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _FreeRunning(outputs, self.clip)


class WarpLinear(SequenceModel):
    r"""WARP without its root network: every output is linear in the state.

    .. math:: y(\tau) = \sum_k \phi_k(\tau) C_k \theta, \qquad \phi: time, its sines and cosines
    """

    def build(self, outputs: int) -> nn.Module:
        """Return a new network."""
        return _LinearReadout(outputs)


class _FreeRunning(nn.Module):
    """A root network of time and the previous sample, its weights driven by differences."""

    def __init__(self, outputs: int, clip: float | None) -> None:
        super().__init__()
        self.clip = clip
        self.root = WeightNetwork([TIME_FEATURES + outputs, _ROOT_WIDTH, _ROOT_WIDTH, outputs])
        self.initial = InitialState(outputs, self.root.draw(), width=_WIDTH)
        self.recurrence = LinearRecurrence(self.root.size, outputs, structure="diagonal")

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        samples, first = contexts.samples, contexts.first
        A, B = self.recurrence.transition(), self.recurrence.input_matrix
        theta = self.initial(samples[:, 0])
        if first > 1:
            differences = samples[:, :first].diff(dim=1)
            mode: Mode = "auto" if self.clip is None else "recurrent"
            theta = wp.linear_recurrence(A, B, differences, theta, mode, clip=self.clip)[:, -1]
        feedback = _Feedback(self.root, contexts)
        steps = len(contexts.times) - first
        last = samples[:, first - 1]
        wp.autoregressive_recurrence(A, B, feedback, last, theta, steps, clip=self.clip)
        return torch.stack(feedback.predicted, dim=1)


class _Feedback:
    """What drives theta behind the shortest context: samples while there are, then predictions.

    Attributes:
        predicted: The root's outputs (N, O), one a step.
    """

    def __init__(self, root: WeightNetwork, contexts: Contexts) -> None:
        self._root, self._contexts = root, contexts
        self._points = time_features(contexts.times)
        self._previous = contexts.samples[:, contexts.first - 1]
        self.predicted: list[Tensor] = []

    def __call__(self, theta: Tensor, step: int) -> Tensor:
        """Return the sample (N, O) at a step from theta (N, D)."""
        contexts = self._contexts
        place = contexts.first + step - 1
        point = self._points[place].expand(len(theta), -1)
        output = self._root(theta, torch.cat([point, self._previous], dim=1))
        self.predicted.append(output)
        known = contexts.known[:, place, None]
        self._previous = torch.where(known, contexts.samples[:, place], output)
        return self._previous


class _LinearReadout(nn.Module):
    """A linear recurrence and linear coefficients of the time features."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.initial = InitialState(outputs, torch.zeros(_STATES), width=_WIDTH)
        self.recurrence = LinearRecurrence(_STATES, outputs, structure="diagonal", input_scale=1.0)
        self.coefficients = nn.Linear(_STATES, TIME_FEATURES * outputs)

    def forward(self, contexts: Contexts) -> Tensor:
        """Return the outputs from `contexts.first` on."""
        longest = int(contexts.lengths.max())
        samples = contexts.samples[:, :longest]
        theta = self.initial(samples[:, 0])
        if longest > 1:
            later = self.recurrence(samples.diff(dim=1), theta)
            theta = contexts.at_end(torch.cat([theta.unsqueeze(1), later], dim=1))
        coefficients = self.coefficients(theta).unflatten(1, (TIME_FEATURES, self.outputs))
        return time_features(contexts.times[contexts.first :]) @ coefficients
