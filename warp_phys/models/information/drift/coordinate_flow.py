"""The flow from sample to sample in unconstrained coordinates of parameters and current states."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.models.information.interval import Intervals, Moved, Position
from warp_phys.models.information.residual_scale import scaled
from warp_phys.models.information.rows import Rows
from warp_phys.systems.noise.location_scale import LocationScale


@dataclass(frozen=True)
class Observed(Rows):
    """What is known at one sample of N records; or at n of them, then with a second dimension n.

    Attributes:
        time: (N,), NaN where a record has no such sample.
        values: (N, O), NaN where nothing was observed.
        inputs: (N, I).
        weights: (N, O), one over the known variance of each value; 1 where it is unknown.
        jumps: (N, S), amounts that doses add to the states before the values are observed.
    """

    time: Tensor
    values: Tensor
    inputs: Tensor
    weights: Tensor
    jumps: Tensor

    @classmethod
    def of(cls, problem: FitProblem) -> Observed:
        """Return all samples of the records of a problem."""
        records = problem.records
        shape = (*records.times.shape, len(problem.system.states))
        weights, jumps, inputs = problem.weights, problem.jumps, records.inputs
        if not problem.system.inputs:
            # A fine grid leaves out the times of inputs that do not exist.
            inputs = torch.zeros(*records.times.shape, 0, dtype=torch.float64)
        return cls(
            records.times,
            records.observed,
            inputs,
            torch.ones_like(records.observed) if weights is None else weights,
            torch.zeros(shape, dtype=torch.float64) if jumps is None else jumps,
        )

    def at(self, sample: int) -> Observed:
        """Return one of n samples."""
        return self._made(lambda part: part[:, sample])

    def between(self, first: int, last: int) -> Observed:
        """Return the samples from `first` on, before `last`."""
        return self._made(lambda part: part[:, first:last])


@dataclass(frozen=True)
class Place(Rows):
    """Where N records are: time (N,), inputs (N, I), and known parameter values (N, P)."""

    time: Tensor
    inputs: Tensor
    parameters: Tensor


@dataclass(frozen=True)
class Interval(Rows):
    """One interval and the sample at its end, linearized where it begins.

    With F parameters that are estimated, S states and K = F + S; derivatives are by the coordinates
    before the interval.

    Attributes:
        origin: (N, K), coordinates before it.
        time: (N,), when it begins.
        inputs: (N, I), inputs at that time.
        after: (N, K), coordinates after it.
        transition: (N, K, K), their derivatives; the identity for records without the sample.
        residual: (N, O), on the scale of the noise; NaN where nothing was observed.
        jacobian: (N, O, K), minus the derivative of the residual.
        predicted: (N, O), outputs.
        span: (N,), its duration.
        failed: (N,), whether there is no finite result.
    """

    origin: Tensor
    time: Tensor
    inputs: Tensor
    after: Tensor
    transition: Tensor
    residual: Tensor
    jacobian: Tensor
    predicted: Tensor
    span: Tensor
    failed: Tensor


class CoordinateFlow:
    """Moves records from sample to sample.

    Args:
        problem: Tells system, unknown parameters, outputs and tolerance.
        noise: The noise model.
    """

    def __init__(self, problem: FitProblem, noise: LocationScale) -> None:
        self.problem, self.noise = problem, noise
        self.intervals = Intervals(problem)
        self.entries = current_entries(problem)
        self.free = len(self.entries) - len(problem.system.states)
        nothing = torch.zeros(0, dtype=torch.float64)
        self.unknowns = Unknowns(self.entries, nothing, nothing)

    def physical(self, x: Tensor, place: Place) -> tuple[Tensor, Tensor]:
        """Return parameters (N, P) and states (N, S) at coordinates x (N, K)."""
        values, parameters = self.unknowns.values(x), place.parameters.clone()
        parameters[:, self.intervals.free] = values[:, : self.free]
        return parameters, values[:, self.free :]

    def move(self, x: Tensor, place: Place, sample: Observed) -> tuple[Interval, Place]:
        """Move records from coordinates x (N, K) to their next sample."""
        here = sample.time.isfinite()
        # A record that has ended stays where it is.
        times = torch.where(here, sample.time, place.time)
        inputs = torch.where(here.unsqueeze(1), sample.inputs, place.inputs)
        parameters, states = self.physical(x, place)
        moved = self.intervals.move(
            Position(place.time, states, place.inputs), parameters, times, inputs
        )
        if sample.jumps.any():
            moved = self._jumped(moved, parameters, sample.jumps.nan_to_num(0.0))
        interval = self._interval(x, place, moved, sample)
        # A record without the sample stays where it is, and so does one that cannot be moved.
        interval = self._held(replace(interval, failed=interval.failed & here), x, here)
        return interval, replace(place, time=times, inputs=inputs)

    def _jumped(self, moved: Moved, parameters: Tensor, jumps: Tensor) -> Moved:
        """Return where records are after a dose, with the outputs there."""
        at = replace(moved.position, states=moved.position.states + jumps)
        there = self.intervals.move(at, parameters, at.time, at.inputs)
        by_parameters = there.jacobian[:, :, : self.free]
        jacobian = there.jacobian[:, :, self.free :] @ moved.transition
        jacobian[:, :, : self.free] += by_parameters
        return replace(moved, position=at, predicted=there.predicted, jacobian=jacobian)

    def _interval(self, x: Tensor, place: Place, moved: Moved, sample: Observed) -> Interval:
        slopes = self.unknowns.slopes(x)
        states = moved.position.states
        moving = [
            entry.coordinate(states[:, number])
            for number, entry in enumerate(self.entries[self.free :])
        ]
        after = torch.cat([x[:, : self.free], torch.stack(moving, dim=1)], dim=1)
        transition = torch.eye(x.shape[1], dtype=torch.float64).repeat(len(x), 1, 1)
        steep = self.unknowns.slopes(after)[:, self.free :]
        transition[:, self.free :] = moved.transition * slopes.unsqueeze(1) / steep.unsqueeze(2)
        residual, jacobian = scaled(
            self.noise,
            sample.values,
            moved.predicted,
            moved.jacobian,
            sample.weights,
            slopes.unsqueeze(1),
        )
        finite = after.isfinite().all(dim=1) & transition.isfinite().flatten(1).all(dim=1)
        return Interval(
            x,
            place.time,
            place.inputs,
            after,
            transition,
            residual,
            jacobian,
            moved.predicted,
            moved.position.time - place.time,
            ~finite,
        )

    def _held(self, interval: Interval, x: Tensor, here: Tensor) -> Interval:
        """Return the interval in which records that are not moved stay at x (N, K)."""
        well = here & ~interval.failed
        if bool(well.all()):
            return interval
        eye = torch.eye(x.shape[1], dtype=torch.float64)
        return replace(
            interval,
            after=torch.where(well.unsqueeze(1), interval.after, x),
            transition=torch.where(well[:, None, None], interval.transition, eye),
            residual=torch.where(well.unsqueeze(1), interval.residual, torch.nan),
            jacobian=torch.where(well[:, None, None], interval.jacobian, 0.0),
        )

    def predicted(self, interval: Interval, delta: Tensor, weights: Tensor) -> Tensor:
        """Return the outputs (N, O), by the linearization, at x + delta (N, K)."""
        moved = (interval.jacobian @ delta.unsqueeze(2)).squeeze(2) / weights.sqrt()
        return torch.as_tensor(self.noise.moved(interval.predicted.numpy(), moved.numpy()))


def current_entries(problem: FitProblem) -> tuple[Unknown, ...]:
    """Return what is unknown at the current time: the free parameters, and all states.

    Later states depend on the parameters, so that they are unknown even where those at the start
    are known.
    """
    entries = problem.unknowns.entries
    parameters = [entry for entry in entries if entry.kind == "parameter"]
    given = {entry.index: entry for entry in entries if entry.kind == "initial_state"}
    states = [
        given.get(place)
        or Unknown("initial_state", state.name, state.unit, place, state.support, (1.0, 2.0))
        for place, state in enumerate(problem.system.states)
    ]
    return (*parameters, *states)
