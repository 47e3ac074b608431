r"""The regression head: running sums behind least squares on the weak form.

Two stacked linear recurrences. The first has A = 1 and accumulates Phi_t = \int F and
\int f0 from increments that depend on the last four samples; the second, with A = 1 or a
forgetting factor, accumulates for each state s

    G_s = sum Phi_s^T Phi_s,   m_s = sum Phi_s^T b_s,   c_s = sum b_s^2,
    b = x_t - x_0 - \int f0.

The root solves (sum_s w_s G_s) q = sum_s w_s m_s, weighting each state by its own residual.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys._records import Records
from warp_phys._recurrence import linear_recurrence, recurrence_step
from warp_phys._transitions import Diagonal, Identity, Transition
from warp_phys._weak_form import (
    POINTS,
    compress,
    first_increments,
    increasing,
    increments,
    later_increments,
    outer,
    pad_window,
)
from warp_phys.systems._errors import UsageError
from warp_phys.systems._system import System

# Directions of the scaled normal equations weaker than this are round-off, not information.
_WEAKEST = 1e-13
# A coordinate with more than this share in such a direction is not determined.
_UNDETERMINED = 1e-6
# Residual variance relative to the data's below which round-off decides.
_ROUND_OFF = 1e-14
# A variance in place of zero whose inverse times a square is still finite.
_LEAST_VARIANCE = 1e-200


@dataclass(frozen=True)
class Sums:
    """Hidden state of the head for a batch (...): what the samples so far add up to.

    Attributes:
        gram: (..., S, Q, Q).
        moment: (..., S, Q).
        square: (..., S).
        count: (..., 1) weight of the samples behind them.
    """

    gram: Tensor
    moment: Tensor
    square: Tensor
    count: Tensor

    @classmethod
    def from_flat(cls, flat: Tensor, states: int, coordinates: int) -> Sums:
        """Split the state vector (..., D) of the second recurrence."""
        sizes = [states * coordinates**2, states * coordinates, states, 1]
        gram, moment, square, count = flat.split(sizes, dim=-1)
        return cls(
            gram.unflatten(-1, (states, coordinates, coordinates)),
            moment.unflatten(-1, (states, coordinates)),
            square,
            count,
        )


def drive_of_sums(phi: Tensor, target: Tensor) -> Tensor:
    """Return what one sample adds to the sums, (..., D), of Phi (..., S, Q) and b (..., S)."""
    parts = [
        outer(phi).flatten(-3),
        (phi * target.unsqueeze(-1)).flatten(-2),
        target.square(),
        torch.ones_like(target[..., :1]),
    ]
    return torch.cat(parts, dim=-1)


def solve(sums: Sums) -> Tensor:
    """Return q (..., Q), NaN where the samples so far do not determine it."""
    scale = sums.square / sums.count.clamp_min(1.0)
    first = _weighted_solution(sums, 1.0 / scale.clamp_min(_LEAST_VARIANCE))
    residual = (
        sums.square
        - 2.0 * (sums.moment * first.unsqueeze(-2)).sum(dim=-1)
        + (first[..., None, None, :] @ sums.gram @ first[..., None, :, None])[..., 0, 0]
    )
    floor = _ROUND_OFF * sums.square
    variance = torch.maximum(residual, floor) / sums.count.clamp_min(1.0)
    return _weighted_solution(sums, 1.0 / variance.clamp_min(_LEAST_VARIANCE))


def _weighted_solution(sums: Sums, weights: Tensor) -> Tensor:
    gram = (sums.gram * weights[..., None, None]).sum(dim=-3)
    moment = (sums.moment * weights[..., None]).sum(dim=-2)
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0).rsqrt()
    scaled = gram * outer(scale)
    finite = scaled.isfinite().all(dim=-1).all(dim=-1)
    values, vectors = torch.linalg.eigh(torch.where(finite[..., None, None], scaled, 0.0))
    strong = values > _WEAKEST * values[..., -1:]
    inverse = torch.where(strong, 1.0 / torch.where(strong, values, 1.0), 0.0)
    projected = (vectors.mT @ (moment * scale).unsqueeze(-1)).squeeze(-1)
    solution = (vectors @ (inverse * projected).unsqueeze(-1)).squeeze(-1) * scale
    lost = (vectors.square() * (~strong).unsqueeze(-2)).sum(dim=-1) > _UNDETERMINED
    return torch.where(lost | ~finite.unsqueeze(-1), torch.nan, solution)


class Regression:
    """The regression head of a system.

    Args:
        system: Affine in its coordinates, every state observed.
        forgetting: Weight of a sample against the next, 1 for plain least squares.
    """

    def __init__(self, system: System, forgetting: float) -> None:
        form = system.affine_form
        if form is None:
            raise UsageError(f"the right-hand side of {system.name} is not affine in parameters")
        self.system = system
        self.forgetting = forgetting
        self.states = len(system.states)
        self.names = form.names
        self.units = form.units
        size = len(form.names)
        self.integrals = self.states * (size + 1)
        self.size = self.states * (size * size + size + 1) + 1

    def estimate(self, records: Records) -> Tensor:
        """Return q at every sample, (N, T, Q); a sample with a gap keeps the last one's."""
        valid = records.seen.all(dim=-1) & records.valid
        place, (times, states, inputs) = compress(
            valid, records.times, records.observed, records.inputs
        )
        count = place[:, -1]
        times = increasing(times, count)
        used = torch.arange(times.shape[1]) < count.unsqueeze(1)
        states = torch.where(used.unsqueeze(-1), states, states[:, :1])
        inputs = torch.where(used.unsqueeze(-1), inputs, 0.0)
        drive = increments(times, self.integrands(times, states, inputs))
        zero = drive.new_zeros(self.integrals)
        eye = torch.eye(self.integrals, dtype=drive.dtype)
        integrals = linear_recurrence(Identity(self.integrals), eye, drive, zero)
        phi, target = self.rows(integrals, states - states[:, :1])
        added = torch.where(used.unsqueeze(-1), drive_of_sums(phi, target), 0.0)
        sums = linear_recurrence(
            self._transition(),
            torch.eye(self.size, dtype=drive.dtype),
            added,
            zero.new_zeros(self.size),
        )
        solved = solve(Sums.from_flat(sums, self.states, len(self.names)))
        index = (place - 1).clamp_min(0).unsqueeze(-1).expand(-1, -1, len(self.names))
        return torch.where((place > 0).unsqueeze(-1), solved.gather(1, index), torch.nan)

    def integrands(self, times: Tensor, states: Tensor, inputs: Tensor) -> Tensor:
        """Return f0 and F at samples, (N, T, S (Q + 1)), of states (N, T, S)."""
        template = torch.tensor(
            [1.0 if p.fixed is None else p.fixed for p in self.system.parameters],
            dtype=states.dtype,
        )
        known = inputs.movedim(-1, 0) if self.system.inputs else None
        terms = self.system.affine_terms(
            times,
            states.movedim(-1, 0),
            template.view(-1, 1, 1).expand(-1, *times.shape),
            known,
        )
        if terms is None:
            raise UsageError(f"the right-hand side of {self.system.name} is not affine")
        offset, slope = terms  # (S, N, T), (S, Q, N, T)
        stacked = torch.cat([offset.unsqueeze(1), slope], dim=1)
        return stacked.permute(2, 3, 0, 1).flatten(2)

    def rows(self, integrals: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return Phi (..., S, Q) and b (..., S) of running integrals and x_t - x_0."""
        split = integrals.unflatten(-1, (self.states, len(self.names) + 1))
        return split[..., 1:], moved - split[..., 0]

    def parameters(self, coordinates: Tensor) -> Tensor:
        """Return parameters (..., P) of q (..., Q), NaN where q does not determine them."""
        fixed = [torch.nan if p.fixed is None else p.fixed for p in self.system.parameters]
        template = torch.tensor(fixed, dtype=coordinates.dtype)
        batch = coordinates.shape[:-1]
        template = template.view(-1, *[1] * len(batch)).expand(-1, *batch)
        found = self.system.parameters_from_coordinates(coordinates.movedim(-1, 0), template)
        return found.movedim(0, -1)

    def _transition(self) -> Transition:
        if self.forgetting == 1.0:
            return Identity(self.size)
        return Diagonal(torch.full((self.size,), self.forgetting, dtype=torch.float64))

    def start(self, sensors: int) -> RegressionStream:
        """Return the memory of sensors before their first sample."""
        empty = torch.zeros(sensors, POINTS, dtype=torch.float64)
        return RegressionStream(
            times=empty,
            integrands=empty.new_zeros(sensors, POINTS, self.integrals),
            first=empty.new_full((sensors, self.states), torch.nan),
            integrals=empty.new_zeros(sensors, self.integrals),
            sums=empty.new_zeros(sensors, self.size),
            count=torch.zeros(sensors, dtype=torch.int64),
        )

    def step(
        self, stream: RegressionStream, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[RegressionStream, Tensor]:
        """Take in one sample of every sensor, times (N,), observed (N, S); return q (N, Q)."""
        usable = observed.isfinite().all(dim=-1)
        states = torch.where(usable.unsqueeze(-1), observed, 1.0)
        now = self.integrands(times.unsqueeze(1), states.unsqueeze(1), inputs.unsqueeze(1))[:, 0]
        first = torch.where((stream.count == 0).unsqueeze(-1), states, stream.first)
        moved = RegressionStream(
            times=pad_window(stream.times, times),
            integrands=pad_window(stream.integrands, now),
            first=first,
            integrals=stream.integrals,
            sums=stream.sums,
            count=stream.count + 1,
        )
        added = self._increment(moved)
        integrals = recurrence_step(
            Identity(self.integrals),
            torch.eye(self.integrals, dtype=added.dtype),
            added,
            stream.integrals,
        )
        phi, target = self.rows(integrals, states - first)
        sums = recurrence_step(
            self._transition(),
            torch.eye(self.size, dtype=added.dtype),
            drive_of_sums(phi, target),
            stream.sums,
        )
        after = RegressionStream(moved.times, moved.integrands, first, integrals, sums, moved.count)
        memory = stream.keep_where(usable, after)
        return memory, solve(Sums.from_flat(memory.sums, self.states, len(self.names)))

    def _increment(self, stream: RegressionStream) -> Tensor:
        """Return what the newest sample adds to the integrals, (N, S (Q + 1))."""
        added = torch.zeros_like(stream.integrals)
        for count in range(2, POINTS + 1):
            chosen = stream.count == count
            if chosen.any():
                steps = first_increments(
                    stream.times[chosen, -count:], stream.integrands[chosen, -count:]
                )
                added[chosen] = steps[:, -1]
        later = stream.count > POINTS
        if later.any():
            added[later] = later_increments(stream.times[later], stream.integrands[later])[:, 0]
        return added


@dataclass(frozen=True)
class RegressionStream:
    """What the head remembers of N sensors: the last four samples and the sums.

    Attributes:
        times: (N, 4).
        integrands: (N, 4, S (Q + 1)).
        first: (N, S), x_0.
        integrals: (N, S (Q + 1)), state of the first recurrence.
        sums: (N, D), state of the second.
        count: (N,) usable samples so far.
    """

    times: Tensor
    integrands: Tensor
    first: Tensor
    integrals: Tensor
    sums: Tensor
    count: Tensor

    def keep_where(self, usable: Tensor, after: RegressionStream) -> RegressionStream:
        """Return `after` for usable samples (N,) and this memory for the others."""

        def chosen(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(usable.view(-1, *[1] * (new.ndim - 1)), new, old)

        return RegressionStream(
            *(chosen(getattr(after, name), getattr(self, name)) for name in self.__annotations__)
        )
