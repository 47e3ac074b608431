"""A model that is linear in its unknowns, and the exact posterior of linear regression."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.data_gen import normal, simulate
from warp_phys.models.information.prior.moments import InCoordinates
from warp_phys.systems import Output, Parameter, State, System

NAMES = ("a", "b", "c")
MEAN, SPREAD = np.array([1.0, -0.5, 0.3]), np.array([2.0, 0.7, 1.5])
PRIORS = {name: InCoordinates(mean, sd) for name, mean, sd in zip(NAMES, MEAN, SPREAD, strict=True)}
LEVELS = {"line": 0.3, "curve": 0.8}
TIMES = np.linspace(0.0, 3.0, 25)


class Line(System):
    """A line a + b t, and a curve b + c t^2 beside it."""

    time_unit = "s"
    states = (State("position", "m"),)
    outputs = (Output("line", "m"), Output("curve", "m"))
    parameters = tuple(Parameter(name, "1", "real", (-2.0, 2.0)) for name in NAMES)

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.b + 0.0 * y[0],)

    def initial_state(self, p: Any) -> Any:
        return (p.a,)

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return (y0[0] + p.b * t,)

    def observe(self, t: Any, y: Any, p: Any) -> Any:
        return y[0], p.b + p.c * t**2


def lines(count: int, seed: int, **options: Any) -> xr.Dataset:
    """Return records whose parameters follow the prior."""
    drawn: dict[str, Any] = {
        name: normal(mean, sd) for name, mean, sd in zip(NAMES, MEAN, SPREAD, strict=True)
    }
    known: dict[str, Any] = {"times": TIMES, "noise": LEVELS, "missing": 0.2}
    return simulate(Line(), count, parameters=drawn, seed=seed, progress=False, **(known | options))


def posterior(
    times: NDArray[Any], observed: NDArray[Any], levels: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return mean (3,) and covariance (3, 3) of the parameters given values (T, 2), some NaN."""
    one, zero = np.ones_like(times), np.zeros_like(times)
    line = np.stack([one, times, zero], axis=1)
    curve = np.stack([zero, one, times**2], axis=1)
    rows = np.concatenate([line / levels[0], curve / levels[1]])
    values = np.concatenate([observed[:, 0] / levels[0], observed[:, 1] / levels[1]])
    seen = np.isfinite(values)
    precision = np.diag(SPREAD**-2.0) + rows[seen].T @ rows[seen]
    covariance = np.linalg.inv(precision)
    return covariance @ (SPREAD**-2.0 * MEAN + rows[seen].T @ values[seen]), covariance
