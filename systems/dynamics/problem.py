"""The data that every method takes and returns: `Problem`, `Solution` and `Status`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd import forward_ad

from warp_phys.systems.forcing.schedule import InputPiece, Schedule

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


class Status(IntEnum):
    """How the integration of one trajectory ended.

    Attributes:
        CONVERGED: Every sample was reached within the tolerance.
        DIVERGED: The solution left the finite numbers, or the step size became negligible.
        TOO_MANY_STEPS: The step limit was reached, or the system turned out to be stiff.
        INVALID: An initial state, parameter or input is not a finite number.
        TOO_MANY_EVENTS: Events followed each other without end, see `Event`.
    """

    CONVERGED = 0
    DIVERGED = 1
    TOO_MANY_STEPS = 2
    INVALID = 3
    TOO_MANY_EVENTS = 5  # 4 is taken in data sets, see `SimulationStatus`


@dataclass(frozen=True)
class Solution:
    """Trajectories of a system.

    Attributes:
        states: (N, T, S); NaN after the point where a trajectory failed and where times are padded.
        error_estimate: (N,), relative; its definition depends on the method, see `integrate`.
        status: (N,), integers as in `Status`.
        engine: What computed it: "compiled", "torch", "scipy" or "torchdiffeq"; more than one where
            trajectories needed different methods.
        compile_seconds: Time spent compiling its code; 0 if the library was in the cache.
    """

    states: Tensor
    error_estimate: Tensor
    status: Tensor
    engine: str = "torch"
    compile_seconds: float = 0.0

    def select(self, rows: Tensor) -> Solution:
        """Return the solution of some trajectories."""
        return replace(
            self,
            states=self.states[rows],
            error_estimate=self.error_estimate[rows],
            status=self.status[rows],
        )

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
        compiling = f", compiled in {self.compile_seconds:.1f} s" if self.compile_seconds else ""
        return (
            f"Solution(states {shape}: {text or 'none'}; largest error estimate {worst}; "
            f"{self.engine}{compiling})"
        )


@dataclass(frozen=True)
class Problem:
    """N initial-value problems of one system, checked and in the layout of right-hand sides.

    Attributes:
        system: The system.
        times: (N, T), strictly increasing; infinite after the last sample of a trajectory. The rows
            share their memory if all trajectories share a grid.
        counts: (N,), how many samples each trajectory has, at least one.
        start: (N,), initial times, not after the first sample.
        initial: (S, N), the states at the initial times.
        parameters: (P, N).
        schedule: Inputs and doses, or None.
        rtol: Relative tolerance.
        atol: (S, N), absolute tolerance of each state.
        max_steps: Number of attempted steps after which a trajectory is given up.
        relative: Whether errors are estimated relative to each value, instead of each state's
            largest one.
    """

    system: System
    times: Tensor
    counts: Tensor
    start: Tensor
    initial: Tensor
    parameters: Tensor
    schedule: Schedule | None
    rtol: float
    atol: Tensor
    max_steps: int
    relative: bool = False

    @property
    def end(self) -> Tensor:
        """(N,), the last sample time of each trajectory."""
        return self.times.gather(1, self.counts[:, None] - 1)[:, 0]

    @property
    def backward_mode(self) -> bool:
        """Whether gradients are required."""
        return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in self._tensors())

    @property
    def forward_mode(self) -> bool:
        """Whether forward-mode derivatives are propagated, as by torch.func.jvp."""
        return any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in self._tensors())

    @property
    def transformed(self) -> bool:
        """Whether torch.func (grad, vmap) transforms the problem, which hides the plain numbers."""
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor
        return any(wrapped(tensor) for tensor in self._tensors())

    def _tensors(self) -> list[Tensor]:
        tensors = [self.initial, self.parameters, self.times, self.start]
        if self.schedule is None:
            return tensors
        return tensors + self.schedule.tensors()

    def select(self, index: Tensor | slice) -> Problem:
        """Return the problem of some trajectories."""
        return replace(
            self,
            times=self.times[index],
            counts=self.counts[index],
            start=self.start[index],
            initial=self.initial[:, index],
            parameters=self.parameters[:, index],
            atol=self.atol[:, index],
            schedule=None if self.schedule is None else self.schedule.select(index),
        )

    def detach(self) -> Problem:
        """Return the same problem without gradients."""
        return self._map(Tensor.detach)

    def to(self, dtype: torch.dtype, device: torch.device) -> Problem:
        """Return the same problem in another precision and on another device."""
        moved = self._map(lambda tensor: tensor.to(dtype=dtype, device=device))
        return replace(moved, counts=self.counts.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Problem:
        return replace(
            self,
            times=change(self.times),
            start=change(self.start),
            initial=change(self.initial),
            parameters=change(self.parameters),
            atol=change(self.atol),
            schedule=None if self.schedule is None else self.schedule.map(change),
        )

    def derivative(self, t: Tensor, y: Tensor, drive: InputPiece | None) -> Tensor:
        """Return dy/dt (S, N) at t (N,) and y (S, N), with the inputs of one piece."""
        return self.system.derivative(t, y, self.parameters, None if drive is None else drive.at(t))

    def drive(self, piece: Tensor) -> InputPiece | None:
        """Return the inputs on piece (N,) of the schedule."""
        return None if self.schedule is None else self.schedule.drive(piece)

    def first_piece(self) -> Tensor:
        """Return the piece of the schedule (N,) that follows the initial time."""
        if self.schedule is None:
            return torch.zeros_like(self.counts)
        return (self.schedule.stops <= self.start[:, None]).sum(dim=1)

    def initial_jump(self) -> Tensor | float:
        """Return what doses at the initial time add to the states (S, N)."""
        if self.schedule is None or self.schedule.jumps is None:
            return 0.0
        # Several doses may share the initial time, hence the sum over all stops.
        now = self.schedule.stops == self.start[:, None]
        return torch.where(now, self.schedule.jumps, 0.0).sum(dim=2)


def scatter(parts: list[tuple[Tensor, Solution]], problem: Problem) -> Solution:
    """Merge solutions of subsets of trajectories, (index, solution), into one solution.

    Parts are written in order: a later part replaces the rows of an earlier one.

    Trajectories that no part covers are INVALID, with NaN states.
    """
    n_trajectories, n_times = problem.times.shape
    like = problem.initial
    if len(parts) == 1 and parts[0][0].numel() == n_trajectories:
        return parts[0][1]
    states = like.new_full((n_trajectories, n_times, like.shape[0]), torch.nan)
    error = like.new_full((n_trajectories,), torch.nan)
    status = torch.full((n_trajectories,), int(Status.INVALID), device=like.device)
    for index, part in parts:
        states = states.index_copy(0, index, part.states)
        error = error.index_copy(0, index, part.error_estimate)
        status = status.index_copy(0, index, part.status)
    engines = dict.fromkeys(part.engine for _, part in parts)
    seconds = sum(part.compile_seconds for _, part in parts)
    return Solution(states, error, status, " and ".join(engines) or "torch", seconds)


def blank_failures(states: Tensor) -> tuple[Tensor, Tensor]:
    """Return states (N, T, S), NaN from the first non-finite sample on, and which are intact (N,).

    It must be called before padding is written, which would count as failures.
    """
    # The cumulative product is 1 up to the first sample that is not finite, and 0 from there on: an
    # integration that failed may return finite numbers after that, which mean nothing.
    finite = states.isfinite().all(dim=2).long().cumprod(dim=1).bool()
    return states.masked_fill(~finite[:, :, None], torch.nan), finite[:, -1]


def difference(states: Tensor, others: Tensor, problem: Problem) -> Tensor:
    """Return the distance (N,) of two solutions: max_s |y - z| / (atol / rtol + max_t |y|).

    This is the scale of the error estimates of `integrate`. Only samples reached by both count.
    """
    sizes = states.abs().nan_to_num(nan=0.0)
    if not problem.relative:
        sizes = sizes.amax(dim=1, keepdim=True)
    gaps = (states - others).abs().nan_to_num(nan=0.0)
    return (gaps / ((problem.atol / problem.rtol).T.unsqueeze(1) + sizes)).amax(dim=(1, 2))
