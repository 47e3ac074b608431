"""The methods of torchdiffeq, which are differentiable: "rk4" and adaptive "torchdiffeq".

Every interval between samples is rescaled to [0, 1] for each trajectory, so that trajectories with
different time grids can be integrated together: with t = t_0 + x h, dy/dx = h f(t_0 + x h, y).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torchdiffeq
from torch import Tensor

from warp_phys.systems.dynamics.intervals import walk
from warp_phys.systems.dynamics.problem import (
    Problem,
    Solution,
    Status,
    blank_failures,
    difference,
    scatter,
)
from warp_phys.systems.dynamics.stepping.choose import solve_stepwise
from warp_phys.systems.dynamics.switch_times import with_switch_stops
from warp_phys.systems.forcing.schedule import InputPiece

# Maps the derivative in rescaled time and the states (S, N) to the states at the interval's end.
_Interval = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Tensor]


def solve_rk4(problem: Problem, substeps: int) -> Solution:
    """Integrate by the fourth-order Runge-Kutta method, `substeps` steps in each interval.

    There is no error estimate (NaN). Trajectories that fail do not take part in gradients: their
    samples are constants.
    """
    problem = with_switch_stops(problem)
    grid = torch.linspace(0.0, 1.0, substeps + 1, dtype=problem.initial.dtype)
    grid = grid.to(problem.initial.device)

    def interval(derivative: Callable[[Tensor, Tensor], Tensor], y: Tensor) -> Tensor:
        options = {"grid_constructor": lambda *_: grid}
        return torchdiffeq.odeint(derivative, y, grid[[0, -1]], method="rk4", options=options)[-1]

    solution = _chain(problem, interval)
    intact = solution.status == Status.CONVERGED
    if bool(intact.all()) or not (problem.backward_mode or problem.forward_mode):
        return solution
    # One infinite state would make the gradient of everything shared NaN (0 times infinity in the
    # chain rule). The others are therefore integrated again without the failed ones.
    good, bad = intact.nonzero()[:, 0], (~intact).nonzero()[:, 0]
    constant = Solution(
        solution.states.detach()[bad],
        solution.error_estimate[bad],
        solution.status[bad],
        solution.engine,
    )
    return scatter([(good, _chain(problem.select(good), interval)), (bad, constant)], problem)


def solve_torchdiffeq(problem: Problem) -> Solution:
    """Integrate adaptively with gradients, by dopri8 (dopri5 in float32).

    torchdiffeq takes the same steps for all trajectories. The norm of its step-size control is the
    largest error of any state of any trajectory, so that a bad trajectory cannot hide in a mean. A
    first run by the package's own "dop853" finds the trajectories that fail: they keep its result
    as constants and its status. For the others the error estimate is the distance of the two
    methods.
    """
    first = solve_stepwise(problem.detach(), "dop853")
    intact = first.status == Status.CONVERGED
    good, bad = intact.nonzero()[:, 0], (~intact).nonzero()[:, 0]
    failed = Solution(first.states[bad], first.error_estimate[bad], first.status[bad], first.engine)
    parts = [(bad, failed)] if bad.numel() else []
    if good.numel():
        chosen = with_switch_stops(problem.select(good))
        solution = _chain(chosen, _adaptive_interval(chosen))
        gap = difference(solution.states.detach(), first.states[good], chosen)
        parts.append((good, Solution(solution.states, gap, solution.status, solution.engine)))
    return scatter(parts, problem)


def _adaptive_interval(problem: Problem) -> _Interval:
    like = problem.initial
    ends = torch.tensor([0.0, 1.0], dtype=like.dtype, device=like.device)
    method = "dopri8" if like.dtype == torch.float64 else "dopri5"
    # A step must end exactly at the end of the interval, where torchdiffeq would otherwise evaluate
    # its dense output, whose order is lower.
    options = {"norm": _largest, "step_t": ends[1:]}

    def interval(derivative: Callable[[Tensor, Tensor], Tensor], y: Tensor) -> Tensor:
        return torchdiffeq.odeint(
            derivative,
            y,
            ends,
            rtol=problem.rtol,
            atol=problem.atol,
            method=method,
            options=options,
        )[-1]

    return interval


def _largest(error: Tensor) -> Tensor:
    return error.abs().max()


def _chain(problem: Problem, interval: _Interval) -> Solution:
    """Integrate each interval between samples, rescaled to [0, 1]; mark failures and padding."""

    def move(drive: InputPiece | None, start: Tensor, length: Tensor, y: Tensor) -> Tensor:
        return interval(_rescaled(problem, drive, start, length), y)

    return _collect(problem, walk(problem, move))


def _rescaled(
    problem: Problem, drive: InputPiece | None, start: Tensor, length: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    def derivative(part: Tensor, y: Tensor) -> Tensor:
        return length * problem.derivative(start + part * length, y, drive)

    return derivative


def _collect(problem: Problem, states: Tensor) -> Solution:
    """Mark failures and padding in states (N, T, S)."""
    states, intact = blank_failures(states)
    # Only now: `blank_failures` would take padding for failures.
    padding = problem.times.isinf()
    return Solution(
        states=states.masked_fill(padding[:, :, None], torch.nan),
        error_estimate=torch.full_like(states[:, 0, 0], torch.nan).detach(),
        status=torch.where(intact, int(Status.CONVERGED), int(Status.DIVERGED)),
        engine="torchdiffeq",
    )
