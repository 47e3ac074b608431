r"""Recursive least squares on the weak form.

Two stacked linear recurrences, both with A = a, which is 1 or a forgetting factor. The first
accumulates, from increments that depend on the last four samples,

    Phi_t = a Phi_{t-1} + \int_{t-1}^t F,   b_t = a b_{t-1} + x_t - x_{t-1} - \int_{t-1}^t f0,

so that b_t = Phi_t q for any a, and with a < 1 old values of a changing parameter are forgotten on
both sides. With the log-difference drive, a positive state enters by its logarithm, with
log x_t - log x_{t-1} in place of x_t - x_{t-1}, and F / x, f0 / x in place of F, f0. The second
accumulates for each state s

    G_s = sum Phi_s^T Phi_s,   m_s = sum Phi_s^T b_s,   c_s = sum b_s^2.

The root solves (sum_s w_s G_s) q = sum_s w_s m_s, weighting each state by its own residual.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.models.regression.memory import RegressionMemory
from warp_phys.models.regression.normal_equations import Sums, drive_of_sums, solve
from warp_phys.models.regression.weak_form import (
    POINTS,
    compress,
    first_increments,
    increasing,
    increments,
    later_increments,
    pad_window,
)
from warp_phys.records.records import Records
from warp_phys.recurrence.linear_recurrence import linear_recurrence
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.identity import Identity
from warp_phys.recurrence.transitions.transition import Transition
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System

# Smallest state that enters by its logarithm: the square of a quotient by it is still finite.
_LEAST = 1e-150


class WeakFormRegression:
    """Least squares on the weak form of a system, at every sample of records or of sensors.

    Args:
        system: Affine in its coordinates, every state observed.
        forgetting: Weight of a sample against the next, 1 for plain least squares.
        known: (N, P), values of the fixed parameters where they differ between trajectories.
        logarithms: Whether states whose support is positive enter by their logarithms.
    """

    def __init__(
        self,
        system: System,
        forgetting: float,
        known: Tensor | None = None,
        *,
        logarithms: bool = False,
    ) -> None:
        form = system.affine_form
        if form is None:
            raise UsageError(f"the right-hand side of {system.name} is not affine in parameters")
        held = [entry.name for entry in system.inputs if entry.between == "held"]
        if held:
            raise UsageError(
                f"the regression head takes inputs to be linear between samples, but "
                f"{', '.join(held)} of {system.name} is held; use fit(...), or head='direct'"
            )
        self.system = system
        self.forgetting = forgetting
        self.known = known
        self.states = len(system.states)
        positive = [logarithms and state.support == "positive" for state in system.states]
        self.logarithmic = torch.tensor(positive)
        self.has_logarithms = any(positive)
        self.names = form.names
        self.units = form.units
        fixed = [torch.nan if p.fixed is None else p.fixed for p in system.parameters]
        self.fixed = torch.tensor(fixed, dtype=torch.float64)
        size = len(form.names)
        self.integrals = self.states * (size + 1)
        # Per state: G (Q x Q), m (Q) and c; and the total weight once.
        self.size = self.states * (size * size + size + 1) + 1

    def estimate(self, records: Records) -> Tensor:
        """Return q at every sample, (N, T, Q); a sample with a gap keeps the last estimate."""
        records = self.readable(records)
        valid = records.seen.all(dim=-1) & records.valid
        # Gaps are removed, so that quadratures run over the usable samples alone; estimates are
        # moved back to the original samples at the end.
        place, (times, states, inputs) = compress(
            valid, records.times, records.observed, records.inputs
        )
        count = place[:, -1]
        times = increasing(times, count)
        used = torch.arange(times.shape[1]) < count.unsqueeze(1)
        # Padding repeats the first state, at which the right-hand side can be evaluated.
        states = torch.where(used.unsqueeze(-1), states, states[:, :1])
        inputs = torch.where(used.unsqueeze(-1), inputs, 0.0)
        measured = self._measured(states)
        moved = measured.diff(dim=1, prepend=measured[:, :1])
        # First recurrence: b_t and Phi_t. Second recurrence: G, m, c. Both by `linear_recurrence`.
        drive = self.drive(increments(times, self.integrands(times, states, inputs)), moved)
        phi, target = self.rows(self._accumulated(drive))
        added = torch.where(used.unsqueeze(-1), drive_of_sums(phi, target), 0.0)
        sums = self._accumulated(added)
        solved = solve(Sums.from_flat(sums, self.states, len(self.names)))
        index = (place - 1).clamp_min(0).unsqueeze(-1).expand(-1, -1, len(self.names))
        return torch.where((place > 0).unsqueeze(-1), solved.gather(1, index), torch.nan)

    def readable(self, records: Records) -> Records:
        """Return the records with samples that have no logarithm marked as gaps."""
        return replace(records, observed=self._readable(records.observed))

    def _readable(self, observed: Tensor) -> Tensor:
        if not self.has_logarithms:
            return observed
        lacks = (self.logarithmic & (observed < _LEAST)).any(dim=-1, keepdim=True)
        return torch.where(lacks, torch.nan, observed)

    def _measured(self, states: Tensor) -> Tensor:
        """Return the values that the drive takes differences of, (..., S)."""
        if not self.has_logarithms:
            return states
        return torch.where(self.logarithmic, states.log(), states)

    def integrands(self, times: Tensor, states: Tensor, inputs: Tensor) -> Tensor:
        """Return f0 and F at samples, (N, T, S (Q + 1)), of states (N, T, S)."""
        fixed = self.fixed.unsqueeze(1) if self.known is None else self.known.T
        known = inputs.movedim(-1, 0) if self.system.inputs else None
        terms = self.system.affine_terms(
            times,
            states.movedim(-1, 0),
            fixed.unsqueeze(2).expand(-1, *times.shape),
            known,
        )
        if terms is None:
            raise UsageError(f"the right-hand side of {self.system.name} is not affine")
        offset, slope = terms  # (S, N, T), (S, Q, N, T)
        stacked = torch.cat([offset.unsqueeze(1), slope], dim=1)
        if self.has_logarithms:
            # d(log x)/dt = f / x.
            divisor = torch.where(self.logarithmic, states, 1.0)
            stacked = stacked / divisor.movedim(-1, 0).unsqueeze(1)
        return stacked.permute(2, 3, 0, 1).flatten(2)

    def drive(self, steps: Tensor, moved: Tensor) -> Tensor:
        """Return the drive of the first recurrence, (..., S (Q + 1)).

        Args:
            steps: Increments of the integrals of f0 and F, (..., S (Q + 1)).
            moved: x_t - x_{t-1}, or of its logarithm, (..., S).
        """
        split = steps.unflatten(-1, (self.states, len(self.names) + 1))
        # x_t - x_{t-1} - int f0 in the first column, then int F in the other Q columns.
        target = moved.unsqueeze(-1) - split[..., :1]
        return torch.cat([target, split[..., 1:]], dim=-1).flatten(-2)

    def rows(self, accumulated: Tensor) -> tuple[Tensor, Tensor]:
        """Return Phi (..., S, Q) and b (..., S) of the first recurrence's state."""
        split = accumulated.unflatten(-1, (self.states, len(self.names) + 1))
        return split[..., 1:], split[..., 0]

    def parameters(self, coordinates: Tensor) -> Tensor:
        """Return parameters (..., P) of q (..., Q), NaN where q does not determine them."""
        batch = coordinates.shape[:-1]
        fixed = self.fixed.view(-1, *[1] * len(batch)).expand(-1, *batch)
        found = self.system.parameters_from_coordinates(coordinates.movedim(-1, 0), fixed)
        return found.movedim(0, -1)

    def _accumulated(self, drive: Tensor) -> Tensor:
        """Return the states (N, T, D) of a recurrence from zero, driven by (N, T, D)."""
        size = drive.shape[-1]
        eye = torch.eye(size, dtype=drive.dtype)
        return linear_recurrence(self._transition(size), eye, drive, drive.new_zeros(size))

    def _transition(self, size: int) -> Transition:
        if self.forgetting == 1.0:
            return Identity(size)
        return Diagonal(torch.full((size,), self.forgetting, dtype=torch.float64))

    def start(self, sensors: int) -> RegressionMemory:
        """Return the memory of sensors before their first sample."""
        empty = torch.zeros(sensors, POINTS, dtype=torch.float64)
        return RegressionMemory(
            times=empty,
            integrands=empty.new_zeros(sensors, POINTS, self.integrals),
            first=empty.new_full((sensors, self.states), torch.nan),
            last=empty.new_full((sensors, self.states), torch.nan),
            accumulated=empty.new_zeros(sensors, self.integrals),
            sums=empty.new_zeros(sensors, self.size),
            count=torch.zeros(sensors, dtype=torch.int64),
        )

    def step(
        self, stream: RegressionMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[RegressionMemory, Tensor]:
        """Process one sample of every sensor, times (N,), observed (N, S); return q (N, Q)."""
        observed = self._readable(observed)
        usable = observed.isfinite().all(dim=-1)
        # A missing sample is evaluated at 1, where the right-hand side is finite; `keep_where` then
        # restores the memory of that sensor.
        states = torch.where(usable.unsqueeze(-1), observed, 1.0)
        now = self.integrands(times.unsqueeze(1), states.unsqueeze(1), inputs.unsqueeze(1))[:, 0]
        is_first = (stream.count == 0).unsqueeze(-1)
        moved = self._measured(states) - self._measured(stream.last)
        moved = torch.where(is_first, 0.0, moved)
        window = pad_window(stream.times, times), pad_window(stream.integrands, now)
        drive = self.drive(_newest_increment(*window, stream.count + 1), moved)
        accumulated = self._advanced(stream.accumulated, drive)
        sums = self._advanced(stream.sums, drive_of_sums(*self.rows(accumulated)))
        after = RegressionMemory(
            *window,
            first=torch.where(is_first, states, stream.first),
            last=states,
            accumulated=accumulated,
            sums=sums,
            count=stream.count + 1,
        )
        memory = after if usable.all() else stream.keep_where(usable, after)
        return memory, solve(Sums.from_flat(memory.sums, self.states, len(self.names)))

    def _advanced(self, state: Tensor, drive: Tensor) -> Tensor:
        """Return the next state (N, D) of a recurrence."""
        return self._transition(drive.shape[-1]).step(state, drive)


def _newest_increment(times: Tensor, integrands: Tensor, count: Tensor) -> Tensor:
    """Return the increments of the integrals at the newest sample, (N, S (Q + 1)).

    Args:
        times: (N, 4) of the last samples.
        integrands: (N, 4, S (Q + 1)).
        count: (N,) samples so far.
    """
    later = count > POINTS
    if later.all():
        return later_increments(times, integrands)[:, 0]
    added = torch.zeros_like(integrands[:, -1])
    # Sensors with fewer than five samples so far use the rules of `first_increments`.
    for few in range(2, POINTS + 1):
        chosen = count == few
        if chosen.any():
            added[chosen] = first_increments(times[chosen, -few:], integrands[chosen, -few:])[:, -1]
    if later.any():
        added[later] = later_increments(times[later], integrands[later])[:, 0]
    return added
