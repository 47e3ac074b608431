"""The engine without a compiler: the same steps and sums as the compiled one.

Systems that can be traced are evaluated by NumPy. The others are evaluated by PyTorch with its
forward-mode derivatives, one call after the other, which is slower still.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Evaluation
from warp_phys.likelihood.engines.sample_sums import normal_equations, terms_of
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.numpy_code import NumericFunction
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.compiling.tracing import TracedFunction
from warp_phys.systems.dynamics.problem import Status
from warp_phys.systems.dynamics.stepping.planned import (
    Plan,
    Planned,
    Position,
    Tolerance,
    drive_between,
)
from warp_phys.systems.dynamics.stepping.tableaus import RK45_TABLEAU
from warp_phys.systems.errors import UsageError
from warp_phys.systems.forcing.schedule import InputPiece
from warp_phys.systems.model.system import System


class TorchEngine:
    """Evaluates lanes with NumPy or PyTorch; see `Engine`."""

    def __init__(self, problem: FitProblem, rows: Tensor, limit: Tensor) -> None:
        self.problem = problem
        self.rows = rows
        self.limit = limit
        length = problem.records.times.shape[1]
        self.plan = Plan.empty(len(rows), length, len(problem.system.states))
        graph = translated(problem.system)
        self.functions = {
            (name, size): NumericFunction(traced, problem.unknowns.flow_directions()[:size])
            for name, traced in (vars(graph).items() if graph is not None else ())
            if isinstance(traced, TracedFunction)
            # Each function twice: alone, and with derivatives along all directions.
            for size in {0, len(problem.unknowns.flow_directions())}
        }

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        chosen, sums, predicted = wanted.chosen, wanted.sums, wanted.predicted
        run = _Run(self, wanted)
        run.go()
        status = run.at.status
        # An infinite loss means that the minimizer rejects the step, as for a failed integration.
        good = (status == 0) & run.squares.isfinite().all(dim=1)
        status = torch.where(~good & (status == 0), int(Status.DIVERGED), status)
        sums.status[chosen] = status.to(sums.status.dtype)
        sums.squares[chosen] = torch.where(good.unsqueeze(1), run.squares, torch.inf)
        if predicted is not None:
            seen = run.predicted.isfinite()
            predicted[chosen] = torch.where(seen, run.predicted, predicted[chosen])
        if wanted.sensitivities:
            sums.counted[chosen] = run.counted
            sums.gradient[chosen] = run.gradient
            sums.hessian[chosen] = run.hessian


class _Run:
    """Integrates n lanes along their records once.

    Points have the shape (1 + D, S, n): the state y, then its sensitivities dy/dtheta_d, which are
    integrated with it by the variational equations dS_d/dt = (df/dy) S_d + df/dtheta_d.
    """

    def __init__(self, engine: TorchEngine, wanted: Evaluation) -> None:
        self.problem, self.functions = engine.problem, engine.functions
        chosen = wanted.chosen
        limit = engine.limit if wanted.limit is None else wanted.limit
        self.rows, self.limit = engine.rows[chosen], limit[chosen]
        records = self.problem.records
        self.times, self.observed = records.times[self.rows], records.observed[self.rows]
        self.inputs = records.inputs[self.rows] if self.problem.system.inputs else None
        held = [entry.between == "held" for entry in self.problem.system.inputs]
        self.held = torch.tensor(held, dtype=torch.bool).unsqueeze(1)
        self.jumps = None if self.problem.jumps is None else self.problem.jumps[self.rows]
        self.given = wanted.parameters[chosen]
        own = self.problem.unknowns.of_system
        self.p = self.given[:, :own].T.contiguous()
        self.directions = self.problem.unknowns.flow_directions() if wanted.sensitivities else ()
        self.precision = None if wanted.precision is None else wanted.precision[chosen]
        self.lanes, self.jacobian, self.ending = chosen, wanted.jacobian, wanted.ending
        count, outputs = len(chosen), len(records.outputs)
        size = len(self.problem.unknowns.directions()) if wanted.sensitivities else 0
        zeros = self.p.new_zeros
        self.squares, self.counted = zeros(count, outputs), zeros(count, outputs)
        self.gradient = zeros(count, outputs, size)
        self.hessian = zeros(count, outputs, size * (size + 1) // 2)
        self.predicted = torch.full((count, *records.observed.shape[1:]), torch.nan).to(self.p)
        none = torch.zeros(count, dtype=torch.int64)
        self.start = self.problem.start[self.rows]  # of a closed form: the start, or the last jump
        self.initial = self._begin(wanted.initial[chosen].T.contiguous(), self.start)
        self.at = Position(self.start, self.initial, status=none, steps=none)
        self.planned = Planned(
            RK45_TABLEAU,
            self._slope,
            engine.plan,
            chosen,
            Tolerance(self.problem.rtol, self.problem.range, self.problem.max_steps),
        )

    def go(self) -> None:
        """Integrate to all samples in order."""
        at, system = self.at, self.problem.system
        if not system.has_solution:
            self.planned.begin(at, self._drive(0, self.times[:, 0]))
        for sample in range(int(self.limit.max())):
            here = sample < self.limit
            # Lanes with fewer samples stay where they are.
            end = torch.where(here, self.times[:, sample], at.t)
            moving = here & (at.status == 0) & (end > at.t)
            if system.has_solution:
                at.point = self._solution(end)
                at.t = torch.where(moving, end, at.t)
            else:
                self.planned.advance(at, sample, end, self._drive(sample, end), moving)
            if self.jumps is not None:
                self._jump(end, torch.where(here, self.jumps[:, sample].T, 0.0))
            self._observe(sample, end, here & (at.status == 0))
            if bool((at.status != 0).all()):
                break
        if not system.has_solution:
            self.planned.finish(at)

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
            name: Name of the traced function, see `SystemGraph`.
            function: The same function in PyTorch, for systems that cannot be traced.
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
        # One Jacobian-vector product per direction, (df/dy) S_d + (df/dp) e_d, where e_d is the
        # unit vector of a parameter, or zero for an initial state.
        for place, direction in enumerate(self.directions):
            along = torch.zeros_like(self.p)
            if direction >= 0:
                along[direction] = 1.0
            pair = torch.func.jvp(function, (y, self.p), (tangents[place].contiguous(), along))
            value = pair[0]
            rows.append(pair[1])
        return torch.stack([value, *rows])

    def _begin(self, initial: Tensor, t: Tensor) -> Tensor:
        tangents = initial.new_zeros(len(self.directions), *initial.shape)
        for place, direction in enumerate(self.directions):
            if direction < 0:
                # dy_0/dy_0 = 1; the derivative by a parameter is zero, or comes from
                # `initial_state`.
                tangents[place, -1 - direction] = 1.0
        system = self.problem.system
        if system.has_initial_state:
            point = torch.cat([initial.unsqueeze(0), tangents])
            return self._along("initial_state", lambda _, p: _implied(system, p), t, point)
        return torch.cat([initial.unsqueeze(0), tangents])

    def _solution(self, end: Tensor) -> Tensor:
        elapsed = end - self.start
        system = self.problem.system
        return self._along(
            "solution", lambda y, p: system.solution_at(elapsed, y, p), elapsed, self.initial
        )

    def _drive(self, sample: int, end: Tensor) -> InputPiece | None:
        """Return the inputs between the last sample and this one; held before the first sample."""
        if self.inputs is None:
            return None
        after = self.inputs[:, sample].T
        before = self.inputs[:, sample - 1].T if sample > 0 else after
        return drive_between(self.at.t, end, before, after, self.held)

    def _slope(self, t: Tensor, point: Tensor, drive: InputPiece | None) -> Tensor:
        u = None if drive is None else drive.at(t)
        system = self.problem.system
        return self._along("rhs", lambda y, p: system.derivative(t, y, p, u), t, point, u)

    def _jump(self, at: Tensor, rise: Tensor) -> None:
        """Add the doses at this time, (S, n).

        A dose is a known constant, so that the sensitivities do not change.
        """
        after = self.at.point.clone()
        after[0] += rise
        self.at.point = after
        if self.problem.system.has_solution:
            # The closed form restarts from the state after the jump.
            hit = (rise != 0.0).any(dim=0)
            self.initial = torch.where(hit, after, self.initial)
            self.start = torch.where(hit, at, self.start)

    def _observe(self, sample: int, at: Tensor, here: Tensor) -> None:
        u = None if self.inputs is None else self.inputs[:, sample].T
        system = self.problem.system
        out = self._along(
            "observe", lambda y, p: system.outputs_at(at, y, p, u), at, self.at.point, u
        )[:, self.problem.seen]
        value, slopes = out[0], out[1:].transpose(0, 1)  # (O, n), (O, D, n)
        self.predicted[here, sample] = value.T[here]
        if self.jacobian is not None and self.directions:
            self.jacobian[self.lanes[here], sample] = slopes.permute(2, 0, 1)[here]
        if self.ending is not None:
            self.ending[self.lanes[here]] = self.at.point.permute(2, 0, 1)[here]
        seen = torch.where(here.unsqueeze(1), self.observed[:, sample], torch.nan)
        precision = torch.ones_like(seen)
        if self.problem.weights is not None:
            precision = self.problem.weights[self.rows, sample]
        if self.precision is not None:
            precision = precision * self.precision
        flags = self.problem.records.censored
        flags = None if flags is None else flags[self.rows, sample]
        terms = terms_of(self.problem, seen, value.T, precision, self.given, flags)
        used = seen.isfinite()
        self.squares += torch.where(used, terms.loss, 0.0)
        if self.directions:
            self.counted += used.to(value.dtype)
            slopes = slopes.permute(2, 0, 1)
            found = normal_equations(self.problem, terms, slopes, used)
            self.gradient += found.gradient
            self.hessian += found.hessian


def _implied(system: System, parameters: Tensor) -> Tensor:
    states = system.initial_state_at(parameters)
    if states is None:
        raise UsageError(f"{system.name}.initial_state returned None for some parameters")
    return states
