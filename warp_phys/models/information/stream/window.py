r"""The kept samples of sensors whose older samples were dropped: a window of the record.

Nothing older than the window is linearized anew. At its start, the states y_w and their derivatives
S_w by the unknowns are kept with the coordinates z_w where they were computed, and so are the sums
H, g, q of the dropped samples. At other coordinates z the window starts from

    u(z) = u_w + (du_w/dz) (z - z_w),

in the unconstrained coordinates u of the states, so that positive states stay positive, and the
dropped samples have

    H(z) = H     g(z) = g - H (z - z_w)     q(z) = q - 2 (z - z_w)^T g + (z - z_w)^T H (z - z_w),

exact where the model is linear. Since H, g and q do not contain the noise level, it may still
change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.engines.engine import Sums as EngineSums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.models.information.interval import Intervals, Position
from warp_phys.models.information.marks.linearizer import Linearizer
from warp_phys.models.information.marks.marker import ROUNDS, SHORT, tested
from warp_phys.models.information.rows import Rows
from warp_phys.models.information.running import Recurrence, squares_at
from warp_phys.models.information.state import Running, Sums
from warp_phys.systems.model.supports import slope_of_physical, to_physical, to_unconstrained

# Steps at a mark, and the share of a step that is tried after it was refused.
_STEPS, _SHORTER = 6, 0.3


@dataclass(frozen=True)
class Window(Rows):
    """Where the kept samples of N sensors begin, and what the dropped ones said.

    Attributes:
        position: At the last dropped sample.
        point: (N, D), z_w.
        sensitivity: (N, S, D), derivatives of the states there by the coordinates.
        sums: The sums of the dropped samples at z_w.
        squares: (N, O), their sums of squares for the levels, where the loss is not squared.
    """

    position: Position
    point: Tensor
    sensitivity: Tensor
    sums: Sums
    squares: Tensor

    def at(self, z: Tensor, states: tuple[Unknown, ...]) -> tuple[Tensor, Tensor]:
        """Return the states (N, S) at coordinates z (N, D), and their derivatives (N, S, D)."""
        moved = (self.sensitivity @ (z - self.point).unsqueeze(2)).squeeze(2)
        found, slope = self.position.states + moved, torch.ones_like(moved)
        for place, state in enumerate(states):
            if state.support == "real":
                continue
            value = self.position.states[:, place]
            # A state at an end of its support has no coordinate and moves linearly.
            before = to_unconstrained(value, state.support)
            own = slope_of_physical(before, state.support)
            after = before + moved[:, place] / own
            usable = after.isfinite() & (own != 0.0)
            found[:, place] = torch.where(
                usable, to_physical(after, state.support), found[:, place]
            )
            changed = slope_of_physical(after, state.support) / own
            slope[:, place] = torch.where(usable, changed, 1.0)
        return found, self.sensitivity * slope.unsqueeze(2)

    def sums_at(self, z: Tensor) -> Sums:
        """Return the sums of the dropped samples at coordinates z (N, D)."""
        shift = z - self.point
        pulled = (self.sums.hessian @ shift[:, None, :, None]).squeeze(3)
        squares = squares_at(self.sums, shift)
        return replace(self.sums, gradient=self.sums.gradient - pulled, squares=squares)


class WindowLinearizer(Linearizer):
    """Linearizes the kept samples of N sensors.

    Args:
        problem: The kept samples.
        window: Where they begin.
        intervals: Of a problem with the same unknowns.
    """

    def __init__(self, problem: FitProblem, window: Window, intervals: Intervals) -> None:
        self.window, self.intervals = window, intervals
        super().__init__(problem, ending=True)
        count, samples, outputs = problem.records.observed.shape
        directions = len(intervals.entries)
        self.flow_sums = EngineSums.empty(count, outputs, directions)
        # The first sample is where the window begins.
        shape = (count, 1 + samples, outputs)
        self.flow_predicted = torch.full(shape, torch.nan, dtype=torch.float64)
        self.flow_jacobian = torch.zeros(*shape, directions, dtype=torch.float64)

    def _build(self) -> Engine:
        records = self.problem.records
        parameters = self.problem.unknowns.parameters
        problem = self.intervals.continued(
            self.window.position, parameters, records.times, records.inputs
        )
        return self.intervals.builder.build(problem, self.rows, problem.counts)

    def _empty_ending(self) -> Tensor:
        count, states = self.states.shape
        shape = (count, 1 + len(self.intervals.entries), states)
        return torch.full(shape, torch.nan, dtype=torch.float64)

    def evaluate(self, z: Tensor, rows: Tensor, samples: int) -> None:
        """Linearize the first samples of some sensors (n,) at coordinates z (n, D)."""
        states = self.intervals.entries[len(self.intervals.places) :]
        start, derivative = self.window.select(rows).at(z, states)
        unknowns = self.problem.unknowns
        self.parameters[rows] = unknowns.physical(z, rows)[0]
        self.initial[rows] = start
        self.flow_predicted[rows, : 1 + samples] = torch.nan
        self.engine.evaluate(
            Evaluation(
                rows,
                self.parameters,
                self.initial,
                self.flow_sums,
                predicted=self.flow_predicted,
                jacobian=self.flow_jacobian,
                ending=self.ending,
                limit=self.problem.counts.clamp_max(samples) + 1,
            )
        )
        chain = self.intervals.by_coordinates(unknowns.slopes(z), derivative)
        jacobian = self.flow_jacobian[rows, 1 : 1 + samples]
        self.predicted[rows, :samples] = self.flow_predicted[rows, 1 : 1 + samples]
        self.jacobian[rows, :samples] = (jacobian.flatten(1, 2) @ chain).view(
            *jacobian.shape[:3], -1
        )
        if self.ending is not None:
            ending = self.ending[rows]
            self._end(rows, samples, ending[:, 0], ending[:, 1:].mT @ chain)
        self._scale(None, rows, samples)


class WindowMarker:
    """Linearizes the kept samples of N sensors anew, by a few steps without other candidates.

    Args:
        linearizer: Linearizes the kept samples; keeps the result.
        recurrence: The recurrence.
    """

    def __init__(self, linearizer: WindowLinearizer, recurrence: Recurrence) -> None:
        self.linearizer, self.recurrence = linearizer, recurrence
        self.every, self.samples = linearizer.rows, linearizer.residual.shape[1]

    def mark(self, state: Running) -> Running:
        """Return the state, linearized near the estimate, at a point no worse than before."""
        share = torch.ones(len(self.every), 1, dtype=torch.float64)
        refused, rows = torch.zeros(len(self.every), dtype=torch.bool), self.every
        for _ in range(_STEPS):
            mine = state.select(rows)
            z = mine.point + share[rows] * mine.belief.delta
            found = self._linearized(mine, z, rows)
            lost = (found.sums.count < mine.sums.count).any(dim=1)
            good = ~lost & self.recurrence.no_worse(found, mine)
            state = state.replaced(rows[good], found.select(good))
            refused[rows] = ~good
            share[rows] = torch.where(good.unsqueeze(1), 1.0, _SHORTER * share[rows])
            rows = rows[~good | (found.belief.decrement > SHORT**2)]
            if not rows.numel():
                return state
        back = refused.nonzero()[:, 0]
        if back.numel():
            mine = state.select(back)
            state = state.replaced(back, self._linearized(mine, mine.point, back))
        return state

    def confirm(self, state: Running) -> Running:
        """Linearize suspicious records anew, and set alarms where their residuals stay large."""
        return tested(self.recurrence, self.mark(state))

    def _linearized(self, state: Running, z: Tensor, rows: Tensor) -> Running:
        self.linearizer.evaluate(z, rows, self.samples)
        window = self.linearizer.window.select(rows)
        dropped, noise, belief = window.sums_at(z), self.recurrence.noise, state.belief
        for _ in range(ROUNDS):
            weight, squares = None, None
            if not noise.is_squared:
                scores = self.linearizer.scores(rows, self.samples, belief)
                variance = (2.0 * belief.log_level).exp()
                squares = window.squares + variance * self.recurrence.terms(scores).nansum(dim=1)
                weight = self.recurrence.weight(scores)
            sums = dropped.plus(self.linearizer.total(rows, self.samples, weight))
            belief = self.recurrence.solve(z, state.base, sums, state.size, belief, squares)
        return replace(state, point=z, sums=sums, belief=belief)


def window_at(
    linearizer: Linearizer,
    recurrence: Recurrence,
    state: Running,
    samples: int,
    before: Window | None,
) -> Window:
    """Return the window that is left without the first samples, linearized at the state's point.

    Args:
        linearizer: Linearizes the kept samples.
        recurrence: The recurrence.
        state: What is known.
        samples: How many samples are dropped.
        before: The window so far; None where nothing was dropped before.
    """
    rows, records = linearizer.rows, linearizer.problem.records
    linearizer.evaluate(state.point, rows, samples)
    weight, squares = None, torch.zeros_like(state.size)
    if not recurrence.noise.is_squared:
        scores = linearizer.scores(rows, samples, state.belief)
        weight = recurrence.weight(scores)
        variance = (2.0 * state.belief.log_level).exp()
        squares = variance * recurrence.terms(scores).nansum(dim=1)
    sums = linearizer.total(rows, samples, weight)
    if before is not None:
        sums, squares = before.sums_at(state.point).plus(sums), before.squares + squares
    place = samples - 1
    position = Position(records.times[:, place], linearizer.states, records.inputs[:, place])
    return Window(position, state.point, linearizer.sensitivity, sums, squares)
