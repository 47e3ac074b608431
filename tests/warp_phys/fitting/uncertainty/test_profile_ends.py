"""Profiles along which another unknown leaves the end of its support, or runs off to infinity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq, least_squares, minimize_scalar
from torch import Tensor

import warp_phys as wp
from warp_phys.systems import Output, Parameter, State, System

TIMES = np.linspace(0.0, 5.0, 15)
# Indomethacin in the plasma of subject 1, mg/L at hours: the data set Indometh of R.
HOURS = np.array([0.25, 0.5, 0.75, 1.0, 1.25, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0])
PLASMA = np.array([1.5, 0.94, 0.78, 0.48, 0.37, 0.19, 0.12, 0.11, 0.08, 0.07, 0.05])


def data_of(times: Any, values: Any, output: str) -> xr.Dataset:
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), np.reshape(values, (1, -1, 1)))},
        coords={"time": times, "output": [output]},
    )


def allowed(least: float, freedom: int) -> float:
    """Return the sum of squares at the ends of a 95 % interval."""
    return least * (1.0 + float(stats.f.ppf(0.95, 1, freedom)) / freedom)


class Leak(System):
    """Decay with an inflow, which may be zero."""

    time_unit = "h"
    states = (State("amount", "mg"),)
    parameters = (
        Parameter("decay", "1/h", support="positive", range=(0.01, 10.0)),
        Parameter("inflow", "mg/h", support="positive", range=(1e-3, 10.0)),
    )
    default_initial_state = {"amount": 10.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rate."""
        return (p.inflow - p.decay * y[0],)


class TwoDecays(System):
    """A sum of two exponentials with logarithmic rates, as R's SSbiexp."""

    time_unit = "h"
    states = (State("unused", "1"),)
    outputs = (Output("plasma", "mg/L"),)
    parameters = (
        Parameter("a1", "mg/L", support="positive", range=(0.1, 10.0)),
        Parameter("lrc1", "1", range=(-3.0, 3.0)),
        Parameter("a2", "mg/L", support="positive", range=(0.01, 10.0)),
        Parameter("lrc2", "1", range=(-4.0, 2.0)),
    )
    default_initial_state = {"unused": 1.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return zero."""
        return (0.0 * y[0],)

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the sum."""
        t = torch.as_tensor(t)
        fast, slow = torch.exp(p.lrc1), torch.exp(p.lrc2)
        return (p.a1 * torch.exp(-fast * t) + p.a2 * torch.exp(-slow * t),)


def left(decay: float, inflow: float) -> NDArray[np.float64]:
    rest = inflow / decay
    return rest + (10.0 - rest) * np.exp(-decay * TIMES)


@pytest.mark.parametrize("low", [None, 0.5])
def test_an_unknown_leaves_the_end_of_its_support(low: float | None) -> None:
    values = left(0.5, 0.0) + 0.3 * np.random.default_rng(11).standard_normal(len(TIMES))
    fitted = wp.fit(
        Leak(),
        data_of(TIMES, values, "amount"),
        initial_state={"amount": 10.0},
        bounds={} if low is None else {"inflow": (low, None)},
        progress=False,
    ).isel(trajectory=0)
    assert fitted["on_bound"].values.tolist() == [0, 1]
    end = low or 0.0

    def least(decay: float) -> float:
        # Linear in the inflow: the best one, or the end.
        slope = (1.0 - np.exp(-decay * TIMES)) / decay
        best = float(slope @ (values - left(decay, 0.0)) / (slope @ slope))
        return float(((left(decay, max(best, end)) - values) ** 2).sum())

    found = minimize_scalar(least, bounds=(0.3, 0.9), options={"xatol": 1e-12})
    # An unknown at the end of its support is not counted: 15 values, one unknown.
    most = allowed(float(found.fun), 14)
    ends = [brentq(lambda x: least(x) - most, far, found.x) for far in (0.2, 2.0)]
    both = [float(fitted[f"parameters_{side}"][0]) for side in ("lower", "upper")]
    np.testing.assert_allclose(both, ends, rtol=1e-4)


def profile(place: int, start: Any, others: Any) -> Callable[[float], float]:
    """Return the least sum of squares with one unknown held, the best from several starts."""

    def residual(p: Any) -> Any:
        return p[0] * np.exp(-np.exp(p[1]) * HOURS) + p[2] * np.exp(-np.exp(p[3]) * HOURS) - PLASMA

    def of(value: float) -> float:
        free = np.delete(start, place)
        costs = []
        for other in others:
            free[-1] = other
            costs.append(least_squares(lambda z: residual(np.insert(z, place, value)), free).cost)
        return 2.0 * float(min(costs))

    return of


@pytest.mark.long
def test_an_unknown_runs_off_to_infinity() -> None:
    """At the lower end of the fast rate, the slow one is zero, its logarithm minus infinity."""
    fitted = wp.fit(
        TwoDecays(),
        data_of(HOURS, PLASMA, "plasma"),
        initial_state={"unused": 1.0},
        initial={"a1": 2.0, "lrc1": 0.6, "a2": 0.2, "lrc2": -1.8},
        starts=1,
        progress=False,
    ).isel(trajectory=0)
    best = fitted["parameters"].values
    # Values and errors as R prints them.
    np.testing.assert_allclose(best, [2.0293, 0.5794, 0.1916, -1.7878], rtol=1e-3)
    np.testing.assert_allclose(
        fitted["standard_errors"], [0.1099, 0.1247, 0.1106, 0.7871], rtol=2e-3
    )
    of = profile(1, best, (-1.8, -40.0))
    most = allowed(of(best[1]), 7)
    lower = brentq(lambda x: of(x) - most, 0.2, best[1])
    np.testing.assert_allclose(fitted["parameters_lower"][1], lower, rtol=1e-3)
    assert fitted["parameters_lower"][3] == -np.inf
