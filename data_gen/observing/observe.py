"""Adds noise and removes missing values, as in a measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.quantity import Floats, Recipe, draw, rows_of
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.noise.by_output import NoiseByOutput
from warp_phys.systems.noise.noise import Noise

NoiseLevel: TypeAlias = float | Mapping[str, Recipe]
Missing: TypeAlias = float | Mapping[str, float]


def noise_levels(
    noiseless: Floats,
    outputs: Sequence[str],
    known: Sequence[str],
    noise: NoiseLevel,
    distribution: Noise,
    streams: Streams,
) -> Floats:
    """Return the standard deviation of each trajectory's noise on each output, (N, O).

    Args:
        noiseless: Outputs before noise, (N, T, O), NaN for missing values.
        outputs: Names of the O outputs observed.
        known: Names of all outputs of the system.
        noise: A number: relative to the output's standard deviation along its own trajectory,
            or the level itself where the noise is relative, as log-normal noise is. A mapping from
            output to number, range, distribution or array (N,): absolute; 0 for those left out.
        distribution: The noise model.
        streams: The random streams, from the first of these trajectories on.
    """
    n = len(noiseless)
    if isinstance(noise, Mapping):
        for name in noise:
            if name not in known:
                raise unknown_name("output", name, known)
        columns = [
            draw(streams, f"noise level {name}", noise.get(name, 0.0), n) for name in outputs
        ]
        levels = np.stack(columns, axis=1)
    else:
        share = _number("noise", noise)
        spread = np.zeros((n, len(outputs)))
        if share > 0 and not distribution.relative:
            spread = _spread(noiseless)
        models = [distribution.of(place) for place in range(len(outputs))]
        columns = [
            np.zeros(n) if one.level_name is None else one.relative_level(share, spread[:, place])
            for place, one in enumerate(models)
        ]
        levels = np.stack(columns, axis=1)
    if not (levels >= 0).all():
        trajectory, column = np.argwhere(~(levels >= 0))[0]
        raise UsageError(
            f"expected noise levels of 0 or more, got {levels[trajectory, column]:.10g} for output "
            f"{outputs[column]!r} of trajectory {streams.first + trajectory}"
        )
    return levels


def check_samples(
    grid: Floats,
    outputs: Sequence[str],
    noise: NoiseLevel,
    distribution: Noise,
    first: int = 0,
) -> None:
    """Check that trajectories have a spread if the noise level is relative to it.

    Args:
        grid: Sample times, (T,) or (N, T) padded with NaN.
        outputs: Names of the outputs observed.
        noise: See `noise_levels`.
        distribution: See `noise_levels`.
        first: Number of the first trajectory.

    Raises:
        UsageError: A trajectory has a single sample, or the noise model has no level.
    """
    for place, name in enumerate(outputs):
        one = distribution.of(place)
        given = noise.get(name, 0.0) if isinstance(noise, Mapping) else noise
        mixed = not isinstance(noise, Mapping) and distribution.level_name is not None
        if one.level_name is None and not mixed and not _is_zero(given):
            raise UsageError(f"{one.label} noise of {name!r} has no level; leave out noise")
    if isinstance(noise, Mapping) or distribution.relative or _number("noise", noise) == 0:
        return
    single = np.atleast_1d(np.isfinite(grid).sum(axis=-1) < 2)
    if single.any():
        whose = f", trajectory {first + single.argmax()} has one" if grid.ndim == 2 else ""
        raise UsageError(
            f"a relative noise level needs at least two samples{whose}; give an absolute one, "
            f"noise={{{outputs[0]!r}: ...}}"
        )


def noise_of(noise: NoiseLevel, n: int, first: int, count: int) -> NoiseLevel:
    """Return the noise of trajectories first to first + count of n, with arrays sliced."""
    if not isinstance(noise, Mapping):
        return noise
    return {
        name: rows_of(f"noise level {name}", recipe, n, first, count)
        for name, recipe in noise.items()
    }


def add_noise(
    noiseless: Floats,
    levels: Floats,
    outputs: Sequence[str],
    distribution: Noise,
    streams: Streams,
) -> Floats:
    """Return outputs with noise, whose level is that of each trajectory and output, (N, T, O).

    A value to which the noise cannot be added becomes NaN, such as a value that is not positive
    with log-normal noise.
    """
    n, samples, _ = noiseless.shape
    observed = noiseless.copy()
    for column, name in enumerate(outputs):
        model = distribution.of(column)
        if _is_silent(model, levels[:, column]).all():
            continue
        # One stream for each output: observing fewer outputs does not change the noise of the
        # others.
        uniform = streams.uniform(f"noise {name}", n, samples)
        observed[:, :, column] = model.draw(
            noiseless[:, :, column], levels[:, column, None], uniform
        )
    observed[_noiseless_only(noiseless, levels, distribution)] = np.nan
    return observed


def cannot_be_noisy(noiseless: Floats, levels: Floats, distribution: Noise) -> NDArray[np.bool_]:
    """Return which trajectories, (N,), contain a value to which the noise cannot be added."""
    return np.any(_noiseless_only(noiseless, levels, distribution), axis=(1, 2))


def remove_missing(
    observed: Floats,
    outputs: Sequence[str],
    known: Sequence[str],
    missing: Missing,
    streams: Streams,
) -> Floats:
    """Return the values, each replaced by NaN with a given probability.

    Args:
        observed: Values, (N, T, O).
        outputs: Names of the O outputs observed.
        known: Names of all outputs of the system.
        missing: The probability that a value is missing, or one for each named output.
        streams: The random streams.
    """
    if isinstance(missing, Mapping):
        for name in missing:
            if name not in known:
                raise unknown_name("output", name, known)
        shares = [_number("missing", missing.get(name, 0.0)) for name in outputs]
    else:
        shares = [_number("missing", missing)] * len(outputs)
    if not any(shares):
        return observed
    n, samples, _ = observed.shape
    kept = observed.copy()
    for column, (name, share) in enumerate(zip(outputs, shares, strict=True)):
        if share >= 1:
            raise UsageError(f"expected missing as a fraction from 0 to below 1, got {share:g}")
        if share > 0:
            gone = streams.uniform(f"missing {name}", n, samples) < share
            kept[:, :, column][gone] = np.nan
    return kept


def _spread(noiseless: Floats) -> Floats:
    """Return the standard deviation over time, (N, O), of finite values; 0 if there are none."""
    columns = [_spread_of(column.copy(order="C")) for column in noiseless.transpose(2, 0, 1)]
    return np.stack(columns, axis=1)


def _spread_of(values: Floats) -> Floats:
    """Return the standard deviation of each row of values (N, T), which are overwritten."""
    present = np.isfinite(values)
    values[~present] = 0.0
    # Scaled by the largest absolute value, so that squares do not overflow for a trajectory that
    # diverges.
    scale = np.maximum(values.max(axis=1), -values.min(axis=1))
    values /= np.where(scale > 0, scale, 1.0)[:, None]
    count = np.maximum(present.sum(axis=1), 1)
    # Two passes, the mean first: sum x^2 - n mean^2 would lose the digits of a small variance
    # (Higham, Accuracy and Stability of Numerical Algorithms, sec. 1.9).
    values -= (values.sum(axis=1) / count)[:, None]
    values[~present] = 0.0
    return scale * np.sqrt(np.einsum("nt,nt->n", values, values) / count)


def not_noisy_error(
    noiseless: Floats, levels: Floats, outputs: Sequence[str], distribution: Noise, first: int
) -> UsageError:
    """Return the error that names the first value to which the noise cannot be added."""
    bad = _noiseless_only(noiseless, levels, distribution)
    trajectory, sample, column = np.argwhere(bad)[0]
    model = distribution.of(int(column))
    wanted = model.wanted
    return UsageError(
        f"{model.label} noise needs {wanted} outputs, got {outputs[column]!r} = "
        f"{noiseless[trajectory, sample, column]:.10g} at sample {sample} of trajectory "
        f"{first + trajectory}, and no trajectory without such values; "
        f'use distribution="normal", or name in noise={{...}} only outputs that stay {wanted}'
    )


def _noiseless_only(noiseless: Floats, levels: Floats, distribution: Noise) -> NDArray[np.bool_]:
    bad = np.zeros(noiseless.shape, dtype=bool)
    for column in range(noiseless.shape[2]):
        model = distribution.of(column)
        noisy = ~_is_silent(model, levels[:, column])
        bad[:, :, column] = model.undefined(noiseless[:, :, column]) & noisy[:, None]
    return bad


def _is_silent(model: Noise, levels: Floats) -> NDArray[np.bool_]:
    """Return for which levels (N,) there is no noise."""
    # Counts scatter without a level, and beside an additive part of zero there may be another.
    return (levels == 0.0) & (model.level_name is not None) & (not model.level_is_joint)


def check_known(distribution: Noise) -> Noise:
    """Return noise that can be drawn; raise UsageError where a parameter of it is not known."""
    models = distribution.models if isinstance(distribution, NoiseByOutput) else (distribution,)
    for one in models:
        for parameter in one.unknown:
            name = type(one).__name__
            raise UsageError(
                f"{one.label} noise is drawn with a known {parameter.name}: "
                f"distribution={name}({parameter.name}=...)"
            )
    return distribution


def _is_zero(given: object) -> bool:
    return isinstance(given, int | float) and given == 0


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise UsageError(
            f"expected {what} as a number, or a mapping from output to its own, got {value!r}"
        )
    number = float(value)
    if not 0 <= number < np.inf:
        raise UsageError(f"expected {what} of 0 or more, got {number:g}")
    return number
