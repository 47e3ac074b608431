"""From measurements to trajectories: which line of the measurement table goes where.

One trajectory is one experiment with one set of overrides. Lines of one experiment that cannot
stand in one trajectory, because an observable has other parameters or is measured again at the
same time, go to further trajectories of the same experiment.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from warp_phys.petab.tables import Measurement, Value
from warp_phys.systems.errors import UnsupportedError

Experiment = tuple[str | None, str, bool]
"""Condition that is equilibrated first, condition from time zero on, whether that is measured in
its own steady state."""


@dataclass
class Trajectory:
    """One trajectory.

    Attributes:
        label: Names the experiment.
        before: Identifier of the condition that is equilibrated before time zero, or None.
        condition: Identifier of the condition from time zero on.
        overrides: Values of the placeholders of each output that is measured.
        lines: Number and output of each measurement, and the measurement.
    """

    label: str
    before: str | None
    condition: str
    overrides: dict[int, tuple[Value, ...]] = field(default_factory=dict)
    lines: list[tuple[int, int, Measurement]] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """All trajectories of a problem.

    Attributes:
        outputs: Name and observable of each output. An observable whose lines have different noise
            parameters to be estimated is several outputs.
        trajectories: The trajectories.
        times: (N, T), padded by NaN.
        observed: (N, T, O), NaN where nothing was measured.
        cells: Trajectory, sample and output of each measurement of the tables, (M, 3).
        noise_values: The overrides of its noise placeholders.
    """

    outputs: tuple[tuple[str, str], ...]
    trajectories: tuple[Trajectory, ...]
    times: NDArray[np.float64]
    observed: NDArray[np.float64]
    cells: NDArray[np.int64]
    noise_values: tuple[tuple[Value, ...], ...]


def arrange(measurements: Sequence[Measurement], resolve: Callable[[Value], Value]) -> Layout:
    """Return the layout of the measurements.

    Args:
        measurements: The lines of the measurement tables.
        resolve: Returns a number for identifiers that stand for one.

    Raises:
        UnsupportedError: A steady state is measured after another one.
    """
    lines = [
        replace(
            line,
            observable_values=tuple(map(resolve, line.observable_values)),
            noise_values=tuple(map(resolve, line.noise_values)),
        )
        for line in measurements
    ]
    outputs = _outputs(lines)
    numbers = {key: place for place, key in enumerate(outputs)}
    trajectories: dict[tuple[Experiment, int], Trajectory] = {}
    placed: dict[tuple[Experiment, int], list[tuple[tuple[Value, ...], set[float]]]] = {}
    for number, line in enumerate(lines):
        line, experiment = _experiment(line)
        output = numbers[line.observable, _estimated(line.noise_values)]
        layer = _layer(placed.setdefault((experiment, output), []), line)
        trajectory = trajectories.setdefault(
            (experiment, layer), Trajectory("", experiment[0], experiment[1])
        )
        trajectory.overrides[output] = line.observable_values
        trajectory.lines.append((number, output, line))
    _label(trajectories)
    return _with_arrays(tuple(outputs.items()), tuple(trajectories.values()))


def _outputs(lines: Sequence[Measurement]) -> dict[tuple[str, tuple[str, ...]], str]:
    """Return the name of each output by its observable and its noise parameters to be estimated."""
    keys = dict.fromkeys((line.observable, _estimated(line.noise_values)) for line in lines)
    counts: dict[str, int] = {}
    for observable, _ in keys:
        counts[observable] = counts.get(observable, 0) + 1
    return {
        (observable, noise): "__".join((observable, *(noise if counts[observable] > 1 else ())))
        for observable, noise in keys
    }


def _estimated(values: tuple[Value, ...]) -> tuple[str, ...]:
    return tuple(value for value in values if isinstance(value, str))


def _experiment(line: Measurement) -> tuple[Measurement, Experiment]:
    """Return the experiment of a measurement; a steady state is measured at time zero."""
    if not math.isinf(line.time):
        return line, (line.before, line.condition, False)
    if line.before is not None and line.before != line.condition:
        raise UnsupportedError(
            f"observable {line.observable!r} is measured in the steady state of condition "
            f"{line.condition!r} after that of {line.before!r}, which is not supported"
        )
    return replace(line, time=0.0, before=line.condition), (line.condition, line.condition, True)


def _layer(placed: list[tuple[tuple[Value, ...], set[float]]], line: Measurement) -> int:
    """Return the number of the first trajectory of an experiment with room for a measurement."""
    for number, (values, times) in enumerate(placed):
        if values == line.observable_values and line.time not in times:
            times.add(line.time)
            return number
    placed.append((line.observable_values, {line.time}))
    return len(placed) - 1


def _label(trajectories: dict[tuple[Experiment, int], Trajectory]) -> None:
    counts: dict[Experiment, int] = {}
    for experiment, _ in trajectories:
        counts[experiment] = counts.get(experiment, 0) + 1
    for (experiment, layer), trajectory in trajectories.items():
        before, condition, steady = experiment
        name = condition if before is None or steady else f"{before} -> {condition}"
        name += " (steady state)" if steady else ""
        trajectory.label = name + (f" #{layer + 1}" if counts[experiment] > 1 else "")


def _with_arrays(
    outputs: tuple[tuple[tuple[str, tuple[str, ...]], str], ...],
    trajectories: tuple[Trajectory, ...],
) -> Layout:
    grids = [sorted({line.time for _, _, line in one.lines}) for one in trajectories]
    shape = (len(trajectories), max(map(len, grids)))
    times = np.full(shape, np.nan)
    observed = np.full((*shape, len(outputs)), np.nan)
    count = sum(len(one.lines) for one in trajectories)
    cells = np.zeros((count, 3), dtype=np.int64)
    noise: list[tuple[Value, ...]] = [()] * count
    for row, (trajectory, grid) in enumerate(zip(trajectories, grids, strict=True)):
        times[row, : len(grid)] = grid
        samples = {time: number for number, time in enumerate(grid)}
        for number, output, line in trajectory.lines:
            cell = (row, samples[line.time], output)
            observed[cell] = line.value
            cells[number] = cell
            noise[number] = line.noise_values
    names = tuple((name, observable) for (observable, _), name in outputs)
    return Layout(names, trajectories, times, observed, cells, tuple(noise))
