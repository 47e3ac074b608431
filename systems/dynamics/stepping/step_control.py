"""Step-size control: accept or reject steps, choose the next step size, detect stiffness."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Status
from warp_phys.systems.dynamics.stepping.batch import Batch
from warp_phys.systems.dynamics.stepping.methods import STEPPERS
from warp_phys.systems.dynamics.stepping.runge_kutta import Step, largest

# h_new = h min(GROW, max(SHRINK, SAFETY err^(-1 / (q + 1)))), with q the order of the error
# estimate (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.4). The safety factor is below the
# usual 0.9: the steps are smaller, but fewer are rejected, and a rejected step here costs the whole
# batch a step. Measured, the smaller factor takes no more time.
SAFETY, SHRINK, GROW = 0.7, 0.2, 5.0
# The factor by which the local error according to the two halves may exceed the tolerance. It is
# well above 1, as the halves only have to catch estimates that vanish by chance.
ALLOWANCE = 10.0
# A trajectory is given up as stiff after at least STIFF_AFTER tries when its score reaches
# STIFF_COUNT. A step limited by stability adds 1 to the score and any other step subtracts 3, so
# that only a run in which more than three steps of four are limited by stability gets there.
STIFF_AFTER, STIFF_COUNT = 100, 50


def with_local_tolerances(problem: Problem, method: str) -> Problem:
    """Return the problem with the tolerances for the local errors of a method."""
    share = STEPPERS[method].share
    # A tolerance near the unit roundoff would make the error estimate pure rounding error, which
    # does not decrease with the step size.
    least = 100.0 * torch.finfo(problem.initial.dtype).eps
    rtol = max(share * problem.rtol, least)
    return replace(problem, rtol=rtol, atol=share * problem.atol)


def discrepancy(batch: Batch, step: Step, second: Step) -> Tensor:
    """Return the local error of a step by its two halves, over the allowed one, (n,).

    With e_0 and e_1 the scaled distances of the coarse and the fine solution before and after the
    step, it is |e_1 - e_0| / (ALLOWANCE max(1, |e_0|)) in the maximum norm. The distance e_0 is
    propagated by the flow and may grow within a step, hence the factor |e_0|. The result is
    infinite if the halves are not finite.
    """
    problem = batch.problem
    scale = problem.atol + problem.rtol * torch.maximum(batch.y.abs(), step.y.abs())
    carried = (batch.y - batch.fine) / scale
    local = (step.y - second.y) / scale - carried
    norm = largest(local) / (ALLOWANCE * largest(carried).clamp(min=1.0))
    finite = (second.y + second.f).isfinite().all(dim=0) & norm.isfinite()
    return torch.where(finite, norm, torch.inf)


def choose_step(batch: Batch, step: Step, h: Tensor, accepted: Tensor, last: Tensor) -> None:
    """Set the size of every trajectory's next step, after an accepted or a rejected one."""
    # The local error grows as h^(q + 1). A norm of 0 gives an infinite factor and an infinite norm
    # a factor of 0: the clamp turns them into GROW and SHRINK.
    factor = SAFETY * step.error_norm ** (-1.0 / (batch.stepper.error_order + 1))
    factor = factor.clamp(SHRINK, GROW)
    # No growth right after a rejection (sec. II.4), which would often end in another one.
    factor = torch.where(batch.rejected, factor.clamp(max=1.0), factor)
    proposed = h * factor
    # An accepted step that was cut short to end at its target gives no reason to reduce the step
    # size that was proposed before it was cut.
    batch.h = torch.where(accepted & last, proposed.maximum(batch.h), proposed)
    batch.rejected = ~accepted


def retire(batch: Batch, step: Step, accepted: Tensor) -> None:
    """Set the status of trajectories that have failed, and stop those and the finished ones."""
    batch.tries = batch.tries + 1
    # h |lambda| above the limit of stability: accuracy would allow longer steps than stability does
    # (Hairer, Wanner, Solving ODEs II, sec. IV.2).
    pressed = accepted & (step.stiffness > batch.stepper.stability)
    batch.stiff = torch.where(pressed, batch.stiff + 1, (batch.stiff - 3).clamp(min=0))
    stiff = (batch.stiff >= STIFF_COUNT) & (batch.tries >= STIFF_AFTER)
    ahead = batch.running & (batch.t < batch.end)
    too_many = ahead & ((batch.tries >= batch.problem.max_steps) | stiff)
    batch.status = torch.where(too_many, int(Status.TOO_MANY_STEPS), batch.status)
    # Below ten units in the last place of t the next step would hardly change t. The lower bound
    # `brief` takes the place of |t| near t = 0, where the spacing of the numbers vanishes.
    vanishing = batch.h < 10.0 * torch.finfo(batch.t.dtype).eps * batch.t.abs().maximum(batch.brief)
    # Only a rejection counts as a failure: an accepted step, however small, is progress.
    vanished = ahead & ~accepted & vanishing
    batch.status = torch.where(vanished, int(Status.DIVERGED), batch.status)
    batch.running = ahead & ~too_many & ~vanished
