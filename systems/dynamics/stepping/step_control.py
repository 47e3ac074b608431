"""Which steps are taken, how long the next ones are, and which trajectories are given up."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Status
from warp_phys.systems.dynamics.stepping.batch import Batch
from warp_phys.systems.dynamics.stepping.methods import STEPPERS
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, largest

# Smaller steps than with the usual safety of 0.9 cost no more time, as fewer are refused.
SAFETY, SHRINK, GROW = 0.7, 0.2, 5.0
# How much larger than tolerated a local error may be by what the halves say of it.
ALLOWANCE = 10.0
# A trajectory is given up as stiff after so many tries if, of late, this many more steps were at
# the limit of stability than three times those that were not.
STIFF_AFTER, STIFF_COUNT = 100, 50


def with_local_tolerances(problem: Problem, method: str) -> Problem:
    """Return the problem with the tolerances that a method holds its local errors to."""
    share = STEPPERS[method].share
    least = 100.0 * torch.finfo(problem.initial.dtype).eps
    rtol = max(share * problem.rtol, least)
    return replace(problem, rtol=rtol, atol=share * problem.atol)


def discrepancy(batch: Batch, step: Step, second: Step) -> Tensor:
    """Return what the halves say of a step's local error, over what is allowed, (n,).

    The distance that was there before is carried along and may grow, too. Infinite where the halves
    are not finite.
    """
    problem = batch.problem
    scale = problem.atol + problem.rtol * torch.maximum(batch.y.abs(), step.y.abs())
    carried = (batch.y - batch.fine) / scale
    local = (step.y - second.y) / scale - carried
    norm = largest(local) / (ALLOWANCE * largest(carried).clamp(min=1.0))
    finite = (second.y + second.f).isfinite().all(dim=0) & norm.isfinite()
    return torch.where(finite, norm, torch.inf)


def choose_step(batch: Batch, step: Step, h: Tensor, accepted: Tensor, last: Tensor) -> None:
    """Set the size of every trajectory's next step."""
    factor = SAFETY * step.error_norm ** (-1.0 / (batch.stepper.error_order + 1))
    factor = factor.clamp(SHRINK, GROW)
    factor = torch.where(batch.rejected, factor.clamp(max=1.0), factor)
    proposed = h * factor
    # A step cut short by its target says nothing against the size it was cut from.
    batch.h = torch.where(accepted & last, proposed.maximum(batch.h), proposed)
    batch.rejected = ~accepted


def retire(batch: Batch, step: Step, accepted: Tensor) -> None:
    """Give a status to trajectories that cannot go on, and stop those and the finished ones."""
    batch.tries = batch.tries + 1
    pressed = accepted & (step.stiffness > batch.stepper.stability)
    batch.stiff = torch.where(pressed, batch.stiff + 1, (batch.stiff - 3).clamp(min=0))
    stiff = (batch.stiff >= STIFF_COUNT) & (batch.tries >= STIFF_AFTER)
    ahead = batch.running & (batch.t < batch.end)
    too_many = ahead & ((batch.tries >= batch.problem.max_steps) | stiff)
    batch.status = torch.where(too_many, int(Status.TOO_MANY_STEPS), batch.status)
    vanishing = batch.h < 10.0 * torch.finfo(batch.t.dtype).eps * batch.t.abs().maximum(batch.brief)
    vanished = ahead & ~accepted & vanishing
    batch.status = torch.where(vanished, int(Status.DIVERGED), batch.status)
    batch.running = ahead & ~too_many & ~vanished
