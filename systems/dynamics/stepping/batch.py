"""The state of a batch during adaptive integration, and the choice of the first step size."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Solution, Status
from warp_phys.systems.dynamics.stepping.methods import Stepper
from warp_phys.systems.dynamics.stepping.runge_kutta import largest
from warp_phys.systems.forcing.schedule import InputPiece

LANES = 32  # at least the number of elements in one pass of torch's vector loops


@dataclass
class Batch:
    """The trajectories being integrated, padded with copies of the last one to whole vectors.

    Tensors have the shape (n,), unless marked (S, n); n counts the copies, too.
    """

    problem: Problem
    stepper: Stepper
    out: Solution  # receives samples, statuses and error estimates
    scale: Tensor  # (S, n), atol / rtol, in the denominator of the error estimate
    count: int  # how many of the n rows are trajectories, not copies
    index: Tensor  # row of each trajectory in the solution
    t: Tensor
    end: Tensor
    brief: Tensor  # a time that is negligible compared with the whole span
    h: Tensor  # size of the next step
    y: Tensor  # (S, n), coarse solution
    f: Tensor  # (S, n), derivative at (t, y)
    fine: Tensor  # (S, n), fine solution
    fine_f: Tensor  # (S, n), derivative at (t, fine)
    piece: Tensor  # current piece of the schedule, which is also the number of the next stop
    sample: Tensor  # number of the next sample
    next_time: Tensor  # its time, infinite after the last
    tries: Tensor
    rejected: Tensor  # whether the last try was rejected
    stiff: Tensor  # score of the stiffness detection, see `step_control`
    status: Tensor
    running: Tensor
    # (S, n), largest distance of the two solutions at a sample so far, relative to the value there
    # if the problem asks for that
    gap: Tensor
    greatest: Tensor  # (S, n), largest absolute state at a sample so far

    def select(self, index: Tensor) -> Batch:
        """Return the batch of the trajectories `index` (m,), padded to whole vectors."""
        padded = _padded(index)
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        kept: dict[str, Any] = {
            name: value[..., padded] for name, value in values.items() if isinstance(value, Tensor)
        }
        # The copies never run: they would write the same samples again.
        kept["running"][index.numel() :] = False
        return replace(self, problem=self.problem.select(padded), count=index.numel(), **kept)

    def time_of(self, sample: Tensor) -> Tensor:
        """Return the times (n,) of samples given by number, infinite after the last sample."""
        counts = self.problem.counts
        found = self.problem.times.gather(1, sample.minimum(counts - 1)[:, None])[:, 0]
        return torch.where(sample < counts, found, torch.inf)

    def finish(self) -> None:
        """Write statuses and error estimates: max_i gap_i / (atol / rtol + max_t |y_i|)."""
        index = self.index[: self.count]
        sizes = 1.0 if self.problem.relative else self.scale + self.greatest
        estimate = (self.gap / sizes).amax(dim=0)
        self.out.error_estimate[index] = estimate[: self.count]
        self.out.status[index] = self.status[: self.count]


def begin(problem: Problem, stepper: Stepper, scale: Tensor, out: Solution) -> Batch:
    """Return a batch at the initial times, with the doses at these times applied."""
    count = problem.counts.numel()
    index = _padded(torch.arange(count, device=problem.counts.device))
    problem = problem.select(index)
    t, end, piece = problem.start, problem.end, problem.first_piece()
    y = problem.initial + problem.initial_jump()
    f = problem.derivative(t, y, problem.drive(piece))
    # A right-hand side that is not finite at the start cannot be fixed by any step size.
    defined = f.isfinite().all(dim=0)
    none = torch.zeros_like(t, dtype=torch.int64)
    return Batch(
        problem=problem,
        stepper=stepper,
        out=out,
        scale=scale[:, index],
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
    drive: InputPiece | None,
    t: Tensor,
    y: Tensor,
    f: Tensor,
    span: Tensor,
    stepper: Stepper,
) -> Tensor:
    """Return the first step size (n,), by Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4.

    With d_0 = |y_0|, d_1 = |f_0| and d_2 = |f(t_0 + h_0, y_0 + h_0 f_0) - f_0| / h_0, all in the
    scaled norm, h_0 = 0.01 d_0 / d_1 changes y by one percent at most; then h_1 satisfies
    h_1^(q + 1) max(d_1, d_2) = 0.01, and the step size is min(100 h_0, h_1).
    """
    scale = problem.atol + problem.rtol * y.abs()
    size, slope = largest(y / scale), largest(f / scale)
    # Without information on the scale of y or f the book starts from h_0 = 1e-6.
    tiny = (size < 1e-5) | (slope < 1e-5)
    trial = torch.where(tiny, 1e-6, 0.01 * size / slope).minimum(span)
    # One explicit Euler step estimates the second derivative. The trial step must not leave the
    # time span, after which the inputs are not defined.
    change = problem.derivative(t + trial, torch.addcmul(y, f, trial), drive) - f
    steepest = torch.maximum(slope, largest(change / scale) / trial)
    step = (0.01 / steepest) ** (1.0 / (stepper.error_order + 1))
    # Both derivatives vanish at an equilibrium: there the rule for h_1 would divide by zero.
    step = torch.where(steepest > 1e-15, step, torch.clamp(1e-3 * trial, min=1e-6))
    step = step.minimum(100.0 * trial).minimum(span)
    return torch.where(step.isfinite(), step, trial)


def _padded(index: Tensor) -> Tensor:
    """Repeat the last entry of an index until its length is a multiple of LANES.

    The scalar code for the tail of an array may round differently from the vector code (a fused
    multiply-add rounds once, a product and a sum twice). Without tails a trajectory has the same
    bits in any batch.
    """
    missing = -index.numel() % LANES
    return torch.cat([index, index[-1:].expand(missing)])
