"""The engine without a compiler: the same steps and sums as the compiled one.

Systems that can be traced are computed by NumPy, the others by PyTorch with its forward
derivatives, call by call, which is slower again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.numpy_code import NumericFunction
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.compiling.tracing import TracedFunction
from warp_phys.systems.dynamics.stepping.tableaus import RK45_TABLEAU
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System

# The constants of `steps.cpp`, which says what they mean.
_SAFETY, _SLACK, _FLOOR = 1.15, 1.0 / 128.0, 1e-2
_MOST_IN_INTERVAL, _HOPELESS = 1 << 16, 4096
_NOT_FINITE, _TOO_MANY_STEPS = 1, 2


class TorchEngine:
    """See `Engine`."""

    def __init__(self, problem: FitProblem, rows: Tensor, limit: Tensor) -> None:
        self.problem = problem
        self.rows = rows
        self.limit = limit
        length = problem.records.times.shape[1]
        self.plan = torch.ones(len(rows), length, dtype=torch.int64)
        graph = translated(problem.system)
        self.functions = {
            (name, size): NumericFunction(traced, problem.unknowns.directions()[:size])
            for name, traced in (vars(graph).items() if graph is not None else ())
            if isinstance(traced, TracedFunction)
            for size in {0, len(problem.unknowns)}
        }

    def evaluate(
        self,
        chosen: Tensor,
        parameters: Tensor,
        initial: Tensor,
        sums: Sums,
        *,
        sensitivities: bool = True,
        precision: Tensor | None = None,
        predicted: Tensor | None = None,
    ) -> None:
        """See `Engine.evaluate`."""
        held = None if precision is None else precision[chosen]
        run = _Run(self, chosen, parameters[chosen].T, initial[chosen].T, held, sensitivities)
        run.go()
        good = (run.status == 0) & run.squares.isfinite().all(dim=0)
        run.status[~good & (run.status == 0)] = _NOT_FINITE
        sums.status[chosen] = run.status.to(sums.status.dtype)
        sums.squares[chosen] = torch.where(good, run.squares, torch.inf).T
        if predicted is not None:
            seen = run.predicted.isfinite()
            predicted[chosen] = torch.where(seen, run.predicted, predicted[chosen])
        if sensitivities:
            sums.counted[chosen] = run.counted.T
            sums.gradient[chosen] = run.gradient.permute(2, 0, 1)
            sums.hessian[chosen] = run.hessian.permute(2, 0, 1)


class _Run:
    """One pass of n lanes along their records; points (1 + D, S, n) are states and derivatives."""

    def __init__(
        self,
        engine: TorchEngine,
        chosen: Tensor,
        parameters: Tensor,
        initial: Tensor,
        precision: Tensor | None,
        sensitivities: bool,
    ) -> None:
        self.problem, self.plan, self.chosen = engine.problem, engine.plan, chosen
        self.functions = engine.functions
        self.rows, self.limit = engine.rows[chosen], engine.limit[chosen]
        records = self.problem.records
        self.times, self.observed = records.times[self.rows], records.observed[self.rows]
        self.inputs = records.inputs[self.rows] if self.problem.system.inputs else None
        held = [entry.between == "held" for entry in self.problem.system.inputs]
        self.held = torch.tensor(held, dtype=torch.bool).unsqueeze(1)
        self.jumps = None if self.problem.jumps is None else self.problem.jumps[self.rows]
        self.p = parameters.contiguous()
        self.directions = self.problem.unknowns.directions() if sensitivities else ()
        self.precision = precision
        count, outputs, size = len(chosen), len(records.outputs), len(self.directions)
        zeros = self.p.new_zeros
        self.squares, self.counted = zeros(outputs, count), zeros(outputs, count)
        self.gradient = zeros(outputs, size, count)
        self.hessian = zeros(outputs, size * (size + 1) // 2, count)
        self.predicted = torch.full((count, *records.observed.shape[1:]), torch.nan).to(self.p)
        self.status = torch.zeros(count, dtype=torch.int64)
        self.steps = torch.zeros(count, dtype=torch.int64)
        self.t = self.problem.start[self.rows].clone()
        self.start = self.t.clone()
        self.initial = self._begin(initial.contiguous())
        self.point = self.initial
        self.greatest = self.point[0].abs()

    def go(self) -> None:
        """Pass all samples."""
        if not self.problem.system.has_solution:
            first = self.times[:, 0]
            begin = torch.cat([self.point[:1], self._slope(0, self.t, first, self.point)[:1]])
            # From what is not finite no number of steps leads on.
            self.status[~begin.isfinite().all(dim=1).all(dim=0)] = _NOT_FINITE
        for sample in range(int(self.limit.max())):
            here = sample < self.limit
            end = torch.where(here, self.times[:, sample], self.t)
            if self.problem.system.has_solution:
                self.point = self._solution(end)
            else:
                self._advance(sample, end, here & (self.status == 0) & (end > self.t))
            if self.jumps is not None:
                self._jump(end, torch.where(here, self.jumps[:, sample].T, 0.0))
            self._observe(sample, end, here & (self.status == 0))
            if bool((self.status != 0).all()):
                break

    def _along(
        self,
        name: str,
        function: Callable[[Tensor, Tensor], Tensor],
        t: Tensor,
        point: Tensor,
        u: Tensor | None = None,
    ) -> Tensor:
        """Return values and derivatives (1 + D, ..., n) of a function of state and parameters.

        Args:
            name: Of the traced function, see `SystemGraph`.
            function: The same in PyTorch, for what cannot be traced.
            t: (n,).
            point: (1 + D, S, n).
            u: (I, n).
        """
        y, tangents = point[0], point[1:]
        traced = self.functions.get((name, len(self.directions)))
        if traced is not None:
            return traced(t, y, self.p, u, tangents)
        if not self.directions:
            return function(y, self.p).unsqueeze(0)
        value, rows = y, []
        for place, direction in enumerate(self.directions):
            along = torch.zeros_like(self.p)
            if direction >= 0:
                along[direction] = 1.0
            pair = torch.func.jvp(function, (y, self.p), (tangents[place].contiguous(), along))
            value = pair[0]
            rows.append(pair[1])
        return torch.stack([value, *rows])

    def _begin(self, initial: Tensor) -> Tensor:
        tangents = initial.new_zeros(len(self.directions), *initial.shape)
        for place, direction in enumerate(self.directions):
            if direction < 0:
                tangents[place, -1 - direction] = 1.0
        system = self.problem.system
        if system.has_initial_state:
            point = torch.cat([initial.unsqueeze(0), tangents])
            return self._along("initial_state", lambda _, p: _implied(system, p), self.t, point)
        return torch.cat([initial.unsqueeze(0), tangents])

    def _solution(self, end: Tensor) -> Tensor:
        elapsed = end - self.start
        system = self.problem.system
        return self._along(
            "solution", lambda y, p: system.solution_at(elapsed, y, p), elapsed, self.initial
        )

    def _input_at(self, sample: int, t: Tensor, end: Tensor) -> Tensor | None:
        if self.inputs is None:
            return None
        after = self.inputs[:, sample].T
        before = self.inputs[:, sample - 1].T if sample > 0 else after
        length = end - self.t
        part = torch.where(length > 0.0, (t - self.t) / length, 0.0)
        return before + torch.where(self.held, 0.0, part * (after - before))

    def _jump(self, at: Tensor, rise: Tensor) -> None:
        """Add what doses at this time add, (S, n); derivatives stay as they are."""
        after = self.point.clone()
        after[0] += rise
        self.point = after
        if self.problem.system.has_solution:
            # The closed form goes on from here.
            hit = (rise != 0.0).any(dim=0)
            self.initial = torch.where(hit, after, self.initial)
            self.start = torch.where(hit, at, self.start)

    def _slope(self, sample: int, t: Tensor, end: Tensor, point: Tensor) -> Tensor:
        u = self._input_at(sample, t, end)
        system = self.problem.system
        return self._along("rhs", lambda y, p: system.derivative(t, y, p, u), t, point, u)

    def _advance(self, sample: int, end: Tensor, moving: Tensor) -> None:
        planned = self.plan[self.chosen, sample].clamp_min(1)
        count = torch.where(moving, planned, 0)
        before, greatest_before = self.point, self.greatest
        while True:
            self.point, self.greatest = before, greatest_before
            error = self._march(sample, end, count)
            busy = moving & (self.status == 0)
            settled = torch.where(busy, _next_count(count, error), count)
            again = busy & ~(error <= 1.0)
            lost = again & (
                (settled <= count)
                | (self.steps + settled > self.problem.max_steps)
                | (~error.isfinite() & (count >= _HOPELESS))
            )
            reason = torch.where(error.isfinite(), _TOO_MANY_STEPS, _NOT_FINITE)
            self.status = torch.where(lost, reason, self.status)
            count = torch.where(lost, 0, torch.where(again, settled, count))
            if not bool((again & ~lost).any()):
                break
        self.steps += count
        kept = moving & (self.status == 0)
        self.plan[self.chosen[kept], sample] = settled[kept]
        self.t = torch.where(moving, end, self.t)

    def _march(self, sample: int, end: Tensor, count: Tensor) -> Tensor:
        h = torch.where(count > 0, (end - self.t) / count.clamp_min(1), 0.0)
        worst = torch.zeros_like(h)
        slope = self._slope(sample, self.t, end, self.point)
        for step in range(int(count.max())):
            going = step < count
            t = self.t + step * h
            after, last, error, size = self._step(sample, t, torch.where(going, h, 0.0), end, slope)
            worst = torch.where(going, torch.maximum(worst, error), worst)
            self.greatest = torch.where(going, size, self.greatest)
            self.point = torch.where(going, after, self.point)
            slope = torch.where(going, last, slope)
        return worst

    def _step(
        self, sample: int, t: Tensor, h: Tensor, end: Tensor, slope: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the point a step later, its slope, the error in tolerances, the greatest size."""
        stages = [slope]
        for weights, node in zip(RK45_TABLEAU.stages, RK45_TABLEAU.nodes, strict=True):
            stage = self.point + h * _weighted(weights, stages)
            stages.append(self._slope(sample, t + node * h, end, stage))
        after = self.point + h * _weighted(RK45_TABLEAU.weights, stages)
        last = self._slope(sample, t + h, end, after)
        stages.append(last)
        error = (h * _weighted(RK45_TABLEAU.errors[0], [k[0] for k in stages])).abs()
        size = torch.maximum(self.point[0].abs(), after[0].abs())
        greatest = torch.maximum(self.greatest, size.nan_to_num(0.0))
        ratio = error / (self.problem.rtol * (size + _FLOOR * greatest))
        ratio = torch.where(error == 0.0, 0.0, ratio)
        fine = ratio.isfinite() & after[0].isfinite()
        return after, last, torch.where(fine, ratio, torch.inf).amax(dim=0), greatest

    def _observe(self, sample: int, at: Tensor, here: Tensor) -> None:
        u = None if self.inputs is None else self.inputs[:, sample].T
        system = self.problem.system
        out = self._along(
            "observe", lambda y, p: system.outputs_at(at, y, p, u), at, self.point, u
        )[:, self.problem.seen]
        value, slopes = out[0], out[1:].transpose(0, 1)  # (O, n), (O, D, n)
        self.predicted[here, sample] = value.T[here]
        seen = torch.where(here, self.observed[:, sample].T, torch.nan)
        used = seen.isfinite()
        precision = torch.ones_like(value)
        if self.problem.weights is not None:
            precision = self.problem.weights[self.rows, sample].T
        if self.precision is not None:
            precision = precision * self.precision.T
        residual, stretch, loss, score, information = self.problem.distribution.terms(
            seen, value, precision
        )
        slopes = slopes * stretch.unsqueeze(1)
        self.squares += torch.where(used, loss, 0.0)
        if self.directions:
            exact = (slopes == 0.0).all(dim=1) & (residual == 0.0)
            self.counted += (used & ~exact).to(value.dtype)
            slopes = torch.where(used.unsqueeze(1), slopes, 0.0)
            self.gradient += torch.where(used, score, 0.0).unsqueeze(1) * slopes
            pulled = torch.where(used, information, 0.0).unsqueeze(1) * slopes
            rows, columns = torch.tril_indices(len(self.directions), len(self.directions))
            self.hessian += pulled[:, rows] * slopes[:, columns]


def _implied(system: System, parameters: Tensor) -> Tensor:
    states = system.initial_state_at(parameters)
    if states is None:
        raise UsageError(f"{system.name}.initial_state returned None for some parameters")
    return states


def _weighted(weights: tuple[float, ...], stages: list[Tensor]) -> Tensor:
    total = torch.zeros_like(stages[0])
    for weight, stage in zip(weights, stages, strict=False):
        if weight != 0.0:
            total = total + weight * stage
    return total


def _next_count(count: Tensor, error: Tensor) -> Tensor:
    """Return how many steps an interval should have had, see `next_count` in the kernel."""
    factor = torch.where(error.isfinite(), _SAFETY * error.clamp_min(1.0) ** 0.2, 4.0)
    more = (count * factor.clamp(max=8.0)).ceil().clamp(max=_MOST_IN_INTERVAL).long()
    fewer = torch.where((error <= _SLACK) & (count > 1), count // 2, count)
    return torch.where(error > 1.0, more, fewer)
