"""Trajectories on their way: where each is, and how far it may step."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Solution, Status
from warp_phys.systems.dynamics.stepping.methods import Stepper
from warp_phys.systems.dynamics.stepping.runge_kutta import largest
from warp_phys.systems.forcing.schedule import Drive

LANES = 32  # numbers that torch's vector loops take at once, at most


@dataclass
class Batch:
    """Trajectories on their way, then copies of the last one that fill up whole vectors.

    All of shape (n,) but those marked (S, n).
    """

    problem: Problem
    stepper: Stepper
    out: Solution  # where samples, status and error estimate are written
    scale: float  # atol / rtol, of the error estimate
    count: int  # how many are no copies
    index: Tensor  # place among the trajectories of the solution
    t: Tensor
    end: Tensor
    brief: Tensor  # a time that is nothing beside the whole
    h: Tensor  # size of the next step
    y: Tensor  # (S, n), coarse
    f: Tensor  # (S, n), derivative at (t, y)
    fine: Tensor  # (S, n)
    fine_f: Tensor  # (S, n)
    piece: Tensor  # of the schedule, and number of the next stop
    sample: Tensor  # number of the next sample
    next_time: Tensor  # its time, infinite after the last
    tries: Tensor
    rejected: Tensor  # whether the last try was
    stiff: Tensor  # score of stiffness
    status: Tensor
    running: Tensor
    gap: Tensor  # (S, n), greatest distance of both solutions at a sample
    greatest: Tensor  # (S, n), greatest absolute state at a sample

    def select(self, index: Tensor) -> Batch:
        """Return some of the trajectories."""
        padded = _padded(index)
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        kept: dict[str, Any] = {
            name: value[..., padded] for name, value in values.items() if isinstance(value, Tensor)
        }
        kept["running"][index.numel() :] = False
        return replace(self, problem=self.problem.select(padded), count=index.numel(), **kept)

    def time_of(self, sample: Tensor) -> Tensor:
        """Return the times of samples, infinite behind the last."""
        counts = self.problem.counts
        found = self.problem.times.gather(1, sample.minimum(counts - 1)[:, None])[:, 0]
        return torch.where(sample < counts, found, torch.inf)

    def finish(self) -> None:
        """Write status and error estimate of the trajectories."""
        index = self.index[: self.count]
        estimate = (self.gap / (self.scale + self.greatest)).amax(dim=0)
        self.out.error_estimate[index] = estimate[: self.count]
        self.out.status[index] = self.status[: self.count]


def begin(problem: Problem, stepper: Stepper, scale: float, out: Solution) -> Batch:
    """Return trajectories at their initial times; doses there have acted."""
    count = problem.counts.numel()
    index = _padded(torch.arange(count, device=problem.counts.device))
    problem = problem.select(index)
    t, end, piece = problem.start, problem.end, problem.first_piece()
    y = problem.initial + problem.initial_jump()
    f = problem.derivative(t, y, problem.drive(piece))
    defined = f.isfinite().all(dim=0)
    none = torch.zeros_like(t, dtype=torch.int64)
    return Batch(
        problem=problem,
        stepper=stepper,
        out=out,
        scale=scale,
        count=count,
        index=index,
        t=t,
        end=end,
        brief=1e-6 * (end - t),
        h=_first_step(problem, problem.drive(piece), t, y, f, end - t, stepper),
        y=y,
        f=f,
        fine=y,
        fine_f=f,
        piece=piece,
        sample=none,
        next_time=problem.times[:, 0],
        tries=none,
        rejected=torch.zeros_like(defined),
        stiff=none,
        status=torch.where(defined, int(Status.CONVERGED), int(Status.DIVERGED)),
        running=defined & (t < end) & (torch.arange(t.numel(), device=t.device) < count),
        gap=torch.zeros_like(y),
        greatest=torch.zeros_like(y),
    )


def _first_step(
    problem: Problem,
    drive: Drive | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    span: Tensor,
    stepper: Stepper,
) -> Tensor:
    """Choose the first step as Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4, do."""
    scale = problem.atol + problem.rtol * y.abs()
    size, slope = largest(y / scale), largest(f / scale)
    tiny = (size < 1e-5) | (slope < 1e-5)
    trial = torch.where(tiny, 1e-6, 0.01 * size / slope).minimum(span)
    change = problem.derivative(t + trial, torch.addcmul(y, f, trial), drive) - f
    steepest = torch.maximum(slope, largest(change / scale) / trial)
    step = (0.01 / steepest) ** (1.0 / (stepper.error_order + 1))
    step = torch.where(steepest > 1e-15, step, torch.clamp(1e-3 * trial, min=1e-6))
    step = step.minimum(100.0 * trial).minimum(span)
    return torch.where(step.isfinite(), step, trial)


def _padded(index: Tensor) -> Tensor:
    """Repeat the last entry up to whole vectors.

    Vector units round the tail of an array differently (multiply and add in one rounding or two).
    Without tails a trajectory has the same bits in any batch.
    """
    missing = -index.numel() % LANES
    return torch.cat([index, index[-1:].expand(missing)])
