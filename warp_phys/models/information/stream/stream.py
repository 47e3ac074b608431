"""The information recurrence of sensors, one sample of all of them at a time.

Between marks one interval is integrated from the last sample on, and the sensitivities by the
unknowns follow by the chain rule, with dy/dz of the last sample,

    dy_t/dz = (dy_t/dy_{t-1}) dy_{t-1}/dz + (dy_t/dp) dp/dz.

At marks the kept samples are linearized anew, as those of a whole record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.estimator import StreamEstimate
from warp_phys.models.information.interval import Intervals, Position
from warp_phys.models.information.marks.linearizer import Linearizer
from warp_phys.models.information.marks.marker import Candidates, Marker, in_doubt
from warp_phys.models.information.marks.schedule import is_mark
from warp_phys.models.information.physical import physical_values, t_quantile
from warp_phys.models.information.prior.points import prior_mean
from warp_phys.models.information.residual_scale import sample_of, scaled
from warp_phys.models.information.rows import Rows
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Running
from warp_phys.models.information.stream.about import about_sensors
from warp_phys.models.information.stream.memory import InformationMemory
from warp_phys.models.information.stream.window import (
    Window,
    WindowLinearizer,
    WindowMarker,
    window_at,
)
from warp_phys.records.records import Records
from warp_phys.systems.model.system import System

# Samples of all sensors that are linearized in one pass: enough that the cost of a call does not
# matter, few enough for the memory.
_TOGETHER = 200_000
# Sensors in one pass.
_SENSORS = 1000
# Squared length of a step, in standard deviations, from which on the samples in a window are
# linearized anew at once.
_STALE = 4.0


@dataclass(frozen=True)
class _Linearized(Rows):
    """N sensors that were linearized anew: what is known, and the states at the last sample."""

    running: Running
    states: Tensor
    sensitivity: Tensor


def sensor_records(system: System, sensors: int, outputs: tuple[str, ...]) -> Records:
    """Return records of one sample for which the problem of sensors can be stated.

    Their values have no meaning; the sensors' samples take their place.
    """
    return Records(
        observed=torch.ones(sensors, 1, len(outputs), dtype=torch.float64),
        times=torch.zeros(sensors, 1, dtype=torch.float64),
        inputs=torch.zeros(sensors, 1, len(system.inputs), dtype=torch.float64),
        outputs=outputs,
        labels=tuple(range(sensors)),
        own_grids=True,
    )


class SensorStream:
    """Estimates of N sensors, sample by sample, equal to those of `track` for the record so far.

    Args:
        problem: The likelihood problem of the sensors, with records from `sensor_records`.
        recurrence: The recurrence.
        level: Probability inside the band of each unknown.
        start: Returns candidates of a trained model for the problem of the kept samples.
    """

    def __init__(
        self,
        problem: FitProblem,
        recurrence: Recurrence,
        level: float,
        start: Callable[[FitProblem], Candidates] | None = None,
    ) -> None:
        self.problem, self.recurrence = problem, recurrence
        self.level, self.start = level, start
        self.intervals = Intervals(problem)
        self.every = torch.arange(len(problem))

    def begin(self, keep: int) -> InformationMemory:
        """Return the memory before the first sample, to keep at most so many samples."""
        states = torch.full_like(self.problem.unknowns.initial_state, torch.nan)
        inputs = self.problem.records.inputs[:, 0]
        point = self.recurrence.prior.mean.expand(len(self.problem), -1)
        return InformationMemory(
            self.recurrence.start(point, len(self.problem.records.outputs)),
            Position(torch.full_like(states[:, 0], torch.nan), states, inputs),
            states.unsqueeze(2).repeat(1, 1, point.shape[1]),
            kept=(),
            window=None,
            count=0,
            keep=keep,
            about=about_sensors(self.problem, self.recurrence.prior, {}),
        )

    def step(
        self, memory: InformationMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[InformationMemory, StreamEstimate]:
        """Process one sample of every sensor; see `Estimator.step`."""
        if len(memory.kept) == memory.keep:
            memory = self._shortened(memory)
        kept = (*memory.kept, torch.cat([times.unsqueeze(1), observed, inputs], dim=1))
        memory = replace(memory, kept=kept, count=memory.count + 1)
        if memory.count == 1:
            memory = self._begun(memory)
        else:
            memory = self._moved(memory, times, observed, inputs)
        memory = self._marked(memory) if is_mark(memory.count) else self._confirmed(memory)
        return memory, self._estimate(memory.running)

    def _begun(self, memory: InformationMemory) -> InformationMemory:
        """Return the memory with the first sample of every sensor."""
        problem = self._problem(memory.kept, self.every)
        point = prior_mean(problem, self.recurrence.prior)
        linearizer = Linearizer(problem, ending=True)
        linearizer.evaluate(point, self.every, 1)
        state = self.recurrence.start(point, memory.shape[1])
        state = self.recurrence.advance(state, linearizer.sample(0))
        records = problem.records
        position = Position(records.times[:, 0], linearizer.states, records.inputs[:, 0])
        return replace(memory, running=state, position=position, sensitivity=linearizer.sensitivity)

    def _moved(
        self, memory: InformationMemory, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> InformationMemory:
        """Return the memory with the next sample of every sensor."""
        problem, running = self.problem, memory.running
        parameters, _ = problem.unknowns.physical(running.point, self.every)
        moved = self.intervals.move(memory.position, parameters, times, inputs)
        chain = self.intervals.by_coordinates(
            problem.unknowns.slopes(running.point), memory.sensitivity
        )
        weights = None if problem.weights is None else problem.weights[:, 0]
        noise = self.recurrence.noise
        residual, jacobian = scaled(
            noise, observed, moved.predicted, moved.jacobian @ chain, weights
        )
        return replace(
            memory,
            running=self.recurrence.advance(
                running, sample_of(noise, observed, residual, jacobian)
            ),
            position=moved.position,
            sensitivity=moved.transition @ chain,
        )

    def _marked(self, memory: InformationMemory) -> InformationMemory:
        """Return the memory, its kept samples linearized anew."""
        return self._linearized(memory, self.every, suspect=False)

    def _confirmed(self, memory: InformationMemory) -> InformationMemory:
        """Return the memory, the kept samples of some sensors linearized anew between marks."""
        running = memory.running
        suspect = in_doubt(running)
        if suspect.any():
            memory = self._linearized(memory, suspect.nonzero()[:, 0], suspect=True)
        if memory.window is not None:
            # Once samples were dropped, no search makes up for a linearization that was far away.
            stale = (running.belief.decrement > _STALE) & ~suspect
            if stale.any():
                memory = self._linearized(memory, stale.nonzero()[:, 0], suspect=False)
        return memory

    def _linearized(
        self, memory: InformationMemory, rows: Tensor, *, suspect: bool
    ) -> InformationMemory:
        """Return the memory, the kept samples of some sensors (n,) linearized anew."""
        parts = self._parts(rows, memory)
        found = _Linearized.joined([self._relinearized(memory, part, suspect) for part in parts])
        if len(rows) < len(self.every):
            whole = _Linearized(memory.running, memory.position.states, memory.sensitivity)
            found = whole.replaced(rows, found)
        return replace(
            memory,
            running=found.running,
            position=replace(memory.position, states=found.states),
            sensitivity=found.sensitivity,
        )

    def _relinearized(self, memory: InformationMemory, rows: Tensor, suspect: bool) -> _Linearized:
        problem, state = self._problem(memory.kept, rows), memory.running.select(rows)
        if memory.window is not None:
            linearizer = WindowLinearizer(problem, memory.window.select(rows), self.intervals)
            marker = WindowMarker(linearizer, self.recurrence)
            state = marker.confirm(state) if suspect else marker.mark(state)
            return _Linearized(state, linearizer.states, linearizer.sensitivity)
        whole = Linearizer(problem, ending=True)
        start = None if self.start is None else self.start(problem)
        search = Marker(whole, self.recurrence, start)
        treat = search.confirm if suspect else search.mark
        state = treat(state, memory.count, memory.count)
        return _Linearized(state, whole.states, whole.sensitivity)

    def _shortened(self, memory: InformationMemory) -> InformationMemory:
        """Return the memory without the older half of its samples.

        Dropping half of them at a time makes the cost of a step, on average, independent of how
        many are kept.
        """
        if not is_mark(memory.count):
            memory = self._marked(memory)
        drop = (len(memory.kept) + 1) // 2
        windows = [self._window(memory, rows, drop) for rows in self._parts(self.every, memory)]
        return replace(memory, window=Window.joined(windows), kept=memory.kept[drop:])

    def _window(self, memory: InformationMemory, rows: Tensor, drop: int) -> Window:
        problem = self._problem(memory.kept, rows)
        before = None if memory.window is None else memory.window.select(rows)
        if before is None:
            linearizer = Linearizer(problem, ending=True)
        else:
            linearizer = WindowLinearizer(problem, before, self.intervals)
        return window_at(linearizer, self.recurrence, memory.running.select(rows), drop, before)

    def _problem(self, kept: tuple[Tensor, ...], rows: Tensor) -> FitProblem:
        """Return the problem of some sensors' kept samples."""
        problem = self.problem if len(rows) == len(self.every) else self.problem.select(rows)
        samples = torch.stack([sample[rows] for sample in kept], dim=1)
        times, values = samples[..., 0].contiguous(), samples[..., 1:]
        observed, inputs = values.split(
            [len(problem.records.outputs), len(problem.system.inputs)], 2
        )
        records = replace(problem.records, observed=observed, times=times, inputs=inputs)
        weights = None
        if problem.weights is not None:
            weights = problem.weights.expand(-1, len(kept), -1)
        return replace(problem, records=records, start=times[:, 0], weights=weights)

    def _parts(self, rows: Tensor, memory: InformationMemory) -> Iterator[Tensor]:
        """Return the rows in parts that are linearized in one pass each."""
        yield from rows.split(max(1, min(_SENSORS, _TOGETHER // len(memory.kept))))

    def _estimate(self, running: Running) -> StreamEstimate:
        belief = running.belief
        delta, covariance = running.correction.applied(belief.delta, belief.covariance)
        wide = t_quantile(self.recurrence.freedom(running), self.level)
        half_width = wide * covariance.diagonal(dim1=1, dim2=2).sqrt()
        problem = self.problem
        z = running.point + delta
        # One call for estimate and both ends: calls dominate the time of few sensors.
        ends = torch.stack([z, z - half_width, z + half_width], dim=1)
        parameters, initial = physical_values(problem.system, problem.unknowns, ends)
        low, high = parameters[:, 1], parameters[:, 2]
        return StreamEstimate(
            parameters[:, 0],
            # The bijection of a support with an upper bound alone decreases.
            torch.minimum(low, high),
            torch.maximum(low, high),
            initial[:, 0],
            described=~running.innovations.alarm,
            status=running.status,
        )
