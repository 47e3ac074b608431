"""Records of damped oscillators for the tests of `fit`, and their fits by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import least_squares

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import DampedOscillator, System

Floats = NDArray[np.float64]
CONVERGED, DIVERGED, TOO_FEW_VALUES, INVALID_DATA, OUT_OF_TIME = 0, 3, 4, 5, 6
OSCILLATOR = DampedOscillator()
TIMES = np.linspace(0.0, 1.0, 31)
SD = np.array([0.02, 0.7])


def fit(system: System, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.fit(system, data, progress=False, **options)


def oscillations(n: int = 3, noise: float = 0.05, **options: Any) -> xr.Dataset:
    return simulate(
        OSCILLATOR,
        n,
        TIMES,
        parameters={"natural_frequency": (12.0, 20.0), "damping_rate": (1.0, 3.0)},
        noise=noise,
        seed=3,
        **options,
    )


def oscillation(t: Floats, unknowns: Any) -> Any:
    """Return position and velocity (T, 2) in closed form; unknowns may be complex."""
    frequency, rate, position, velocity = unknowns
    shifted = np.sqrt(frequency**2 - rate**2)
    cosine, sine = np.cos(shifted * t), np.sin(shifted * t) / shifted
    x = position * cosine + (velocity + rate * position) * sine
    v = velocity * cosine - (frequency**2 * position + rate * velocity) * sine
    return np.exp(-rate * t)[:, None] * np.stack([x, v], axis=1)


def residuals(record: xr.Dataset, sd: Any = 1.0) -> Callable[[Any], Any]:
    """Return the weighted residuals of one record's seen values as a function of unknowns."""
    observed = record["observed"].values
    seen = np.isfinite(observed)
    t = record["time"].values
    return lambda unknowns: ((oscillation(t, unknowns) - observed) / sd)[seen]


def truth_of(record: xr.Dataset) -> Floats:
    return np.concatenate([record["true_parameters"].values, record["true_initial_state"].values])


def by_scipy(residual: Callable[[Any], Any], start: Any, **options: Any) -> Any:
    exact = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "x_scale": "jac", "jac": "cs"}
    return least_squares(residual, start, **{**exact, **options})


def found(fitted: xr.Dataset, row: int = 0) -> Floats:
    one = fitted.isel(trajectory=row)
    return np.concatenate([one["parameters"].values, one["initial_state"].values])


def same_bits(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in ("parameters", "standard_errors", "predicted", "initial_state", "status"):
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


def oscillations_on(times: Floats) -> xr.Dataset:
    return simulate(OSCILLATOR, len(times), times, noise=0.05, seed=3)


def own_residuals(data: xr.Dataset, row: int) -> Callable[[Any], Any]:
    observed, t = data["observed"].values[row], data["time"].values[row]
    seen = np.isfinite(t)
    elapsed = t[seen] - t[0]
    return lambda unknowns: (oscillation(elapsed, unknowns) - observed[seen]).ravel()
