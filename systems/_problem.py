"""What is to be integrated, and what comes back: the data every method takes and returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

if TYPE_CHECKING:
    from warp_phys.systems._system import System


class Status(IntEnum):
    """How the integration of one trajectory ended.

    Attributes:
        CONVERGED: Every sample was reached within the tolerance.
        DIVERGED: The solution left the finite numbers, or its step size fell to nothing.
        TOO_MANY_STEPS: The step limit was reached, or the system proved stiff.
        INVALID: An initial state, parameter or input is not a finite number.
    """

    CONVERGED = 0
    DIVERGED = 1
    TOO_MANY_STEPS = 2
    INVALID = 3


@dataclass(frozen=True)
class Solution:
    """Trajectories of a system.

    Attributes:
        states: (N, T, S); NaN after the point where a trajectory failed and where times are padded.
        error_estimate: (N,), relative; how it is made depends on the method, see `integrate`.
        status: (N,), integers as in `Status`.
    """

    states: Tensor
    error_estimate: Tensor
    status: Tensor

    @property
    def converged(self) -> Tensor:
        """(N,), True where every sample was reached."""
        return self.status == Status.CONVERGED

    def __repr__(self) -> str:
        counts = {member.name.lower(): int((self.status == member).sum()) for member in Status}
        text = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        known = self.error_estimate[~self.error_estimate.isnan()]
        worst = f"{float(known.max()):.1e}" if known.numel() else "not estimated"
        shape = tuple(self.states.shape)
        return f"Solution(states {shape}: {text or 'none'}; largest error estimate {worst})"


@dataclass(frozen=True)
class Problem:
    """N initial-value problems of one system, checked and in the layout of right-hand sides.

    Attributes:
        system: The system.
        times: (N, T), strictly increasing; infinite behind the last sample of a trajectory.
        counts: (N,), how many samples each trajectory has, at least one.
        start: (N,), initial times, none after the first sample.
        initial: (S, N), the states at the initial times.
        parameters: (P, N).
        inputs: (I, N, T) at the sample times, or None.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        max_steps: Steps after which a trajectory is given up.
    """

    system: System
    times: Tensor
    counts: Tensor
    start: Tensor
    initial: Tensor
    parameters: Tensor
    inputs: Tensor | None
    rtol: float
    atol: float
    max_steps: int

    @property
    def end(self) -> Tensor:
        """(N,), the last sample time of each trajectory."""
        return self.times.gather(1, self.counts[:, None] - 1)[:, 0]

    @property
    def backward_mode(self) -> bool:
        """Whether gradients are wanted."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self._tensors())

    @property
    def forward_mode(self) -> bool:
        """Whether derivatives are carried along, as by torch.func.jvp."""
        return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in self._tensors())

    def _tensors(self) -> list[Tensor]:
        tensors = [self.initial, self.parameters, self.times, self.start]
        return tensors if self.inputs is None else [*tensors, self.inputs]

    def select(self, index: Tensor | slice) -> Problem:
        """Return the problem of some trajectories."""
        return replace(
            self,
            times=self.times[index],
            counts=self.counts[index],
            start=self.start[index],
            initial=self.initial[:, index],
            parameters=self.parameters[:, index],
            inputs=None if self.inputs is None else self.inputs[:, index],
        )

    def detach(self) -> Problem:
        """Return the same problem without gradients."""
        return self._map(Tensor.detach)

    def to(self, dtype: torch.dtype, device: torch.device) -> Problem:
        """Return the same problem in another precision, on another device."""
        moved = self._map(lambda tensor: tensor.to(dtype=dtype, device=device))
        return replace(moved, counts=self.counts.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Problem:
        return replace(
            self,
            times=change(self.times),
            start=change(self.start),
            initial=change(self.initial),
            parameters=change(self.parameters),
            inputs=None if self.inputs is None else change(self.inputs),
        )

    def derivative(self, t: Tensor, y: Tensor) -> Tensor:
        """Return dy/dt (S, N) at t (N,) and y (S, N)."""
        return self.system.derivative(t, y, self.parameters, self.inputs_at(t))

    def inputs_at(self, t: Tensor) -> Tensor | None:
        """Return inputs (I, N) at t (N,): linear between samples, held before and after them."""
        if self.inputs is None:
            return None
        if self.times.shape[1] == 1:
            return self.inputs[:, :, 0]
        right = torch.searchsorted(self.times.detach(), t.detach()[:, None], right=True)
        right = right.minimum(self.counts[:, None] - 1).clamp(min=1)
        left = right - 1
        t_left, t_right = self.times.gather(1, left)[:, 0], self.times.gather(1, right)[:, 0]
        weight = ((t - t_left) / (t_right - t_left)).clamp(0.0, 1.0)
        index = torch.stack([left, right]).squeeze(2).expand(self.inputs.shape[0], 2, -1)
        u_left, u_right = self.inputs.gather(2, index.transpose(1, 2)).unbind(2)
        return torch.where(weight > 0.0, torch.lerp(u_left, u_right, weight), u_left)


def scatter(parts: list[tuple[Tensor, Solution]], problem: Problem) -> Solution:
    """Put solutions of some trajectories each, (index, solution), in their places.

    Trajectories that no part covers are INVALID, with NaN states.
    """
    n_trajectories, n_times = problem.times.shape
    like = problem.initial
    states = like.new_full((n_trajectories, n_times, like.shape[0]), torch.nan)
    error = like.new_full((n_trajectories,), torch.nan)
    status = torch.full((n_trajectories,), int(Status.INVALID), device=like.device)
    for index, part in parts:
        states = states.index_copy(0, index, part.states)
        error = error.index_copy(0, index, part.error_estimate)
        status = status.index_copy(0, index, part.status)
    return Solution(states, error, status)


def blank_failures(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return states (N, T, S) with NaN from the first non-finite sample on, and which are intact.

    To be called where padding has not been written yet.
    """
    finite = states.isfinite().all(dim=2).long().cumprod(dim=1).bool()
    return states.masked_fill(~finite[:, :, None], torch.nan), finite[:, -1]


def difference(states: Tensor, others: Tensor, problem: Problem) -> Tensor:
    """Return how far two solutions (N, T, S) differ, (N,), by the scale of `integrate`.

    Only samples that both reached count.
    """
    gaps = (states - others).abs().nan_to_num(nan=0.0).amax(dim=1)
    greatest = states.abs().nan_to_num(nan=0.0).amax(dim=1)
    return (gaps / (problem.atol / problem.rtol + greatest)).amax(dim=1)
