"""Exponential decay with amplitude and rate, both unknown; the fit problem of a few samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from warp_phys.data_gen import simulate
from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.estimator import InformationEstimator
from warp_phys.models.information.options import InformationOptions
from warp_phys.models.information.prior.moments import InCoordinates
from warp_phys.models.information.prior.prior import Prior
from warp_phys.records.records import read_records
from warp_phys.systems import Parameter, State, System

MEAN, SPREAD = np.array([0.0, -1.0]), np.array([1.0, 1.0])
PRIORS = {
    name: InCoordinates(*pair)
    for name, pair in zip(("amplitude", "rate"), zip(MEAN, SPREAD, strict=True), strict=True)
}
LEVEL = 0.15


class Decay(System):
    """A decay; the amplitude is the initial state."""

    time_unit = "s"
    states = (State("x", "m"),)
    parameters = (
        Parameter("amplitude", "m", "positive", (0.5, 2.0)),
        Parameter("rate", "1/s", "positive", (0.1, 1.0)),
    )

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (-p.rate * y[0],)

    def initial_state(self, p: Any) -> Any:
        return (p.amplitude,)

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return (y0[0] * torch.exp(-p.rate * t),)


def decays(count: int, samples: int, seed: int) -> xr.Dataset:
    times = np.linspace(0.5, 2.0, samples)
    return simulate(Decay(), count, times, noise=LEVEL, seed=seed, progress=False).assign_coords(
        time=times - times[0]
    )


def stated(data: xr.Dataset) -> tuple[FitProblem, Prior]:
    """Return the problem of records, with known noise, and its prior."""
    options = InformationOptions(priors=PRIORS, noise_sd={"x": LEVEL})
    estimator = InformationEstimator(Decay(), options, None, None)
    problem = estimator.problem(read_records(data, Decay()))
    return problem, estimator.recurrence(problem).prior


def log_posterior(z: NDArray[Any], times: NDArray[Any], observed: NDArray[Any]) -> NDArray[Any]:
    """Return it at coordinates (..., 2), without a constant."""
    amplitude, rate = np.exp(z[..., :1]), np.exp(z[..., 1:])
    residual = (observed - amplitude * np.exp(-rate * times)) / LEVEL
    away = (z - MEAN) / SPREAD
    found: NDArray[Any] = -0.5 * (np.square(residual).sum(-1) + np.square(away).sum(-1))
    return found


def quadrature(times: NDArray[Any], observed: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean and covariance of the posterior by sums over a dense grid."""
    line = [np.linspace(m - 6.0 * s, m + 6.0 * s, 401) for m, s in zip(MEAN, SPREAD, strict=True)]
    grid = np.stack(np.meshgrid(*line, indexing="ij"), axis=-1)
    density = log_posterior(grid, times, observed)
    density = np.exp(density - density.max())
    density /= density.sum()
    mean = (density[..., None] * grid).sum((0, 1))
    away = grid - mean
    return mean, np.einsum("ij,ija,ijb->ab", density, away, away)
