"""Chains of compartments that are empty until a dose or an input fills them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import expm
from scipy.optimize import least_squares
from torch import Tensor

from tests.warp_phys.fitting.fit_records import CONVERGED, fit
from warp_phys.systems import Input, Output, Parameter, State, System

TRANSIT = 8
TIMES = np.linspace(0.0, 12.0, 25)
EMPTY = {f"c{place}": 0.0 for place in range(TRANSIT + 1)}
AMOUNT, TRUTH = 100.0, (5.0, 0.4)


class Chain(System):
    """A delay as compartments in a row, of which the last one is measured."""

    time_unit = "h"
    states = tuple(State(name, "mg") for name in EMPTY)
    outputs = (Output("plasma", "mg"),)
    inputs = (Input("infusion", "mg/h", between="held"),)
    parameters = (
        Parameter("rate", "1/h", support="positive", range=(0.1, 100.0)),
        Parameter("elimination", "1/h", support="positive", range=(0.01, 10.0)),
    )
    default_initial_state = EMPTY

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rates."""
        flow = [p.rate * amount for amount in y[:TRANSIT]]
        steps = [before - after for before, after in itertools.pairwise(flow)]
        return p.infusion - flow[0], *steps, flow[-1] - p.elimination * y[TRANSIT]

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the amount in the last compartment."""
        return (y[TRANSIT],)


def plasma(rate: float, elimination: float, first: float, infusion: float) -> NDArray[np.float64]:
    """Return the solution by the exponential of the matrix of rates."""
    size = TRANSIT + 1
    matrix = np.zeros((size + 1, size + 1))
    for place in range(TRANSIT):
        matrix[place, place], matrix[place + 1, place] = -rate, rate
    matrix[TRANSIT, TRANSIT], matrix[0, size] = -elimination, infusion
    begin = np.zeros(size + 1)
    begin[0], begin[size] = first, 1.0
    return np.array([(expm(matrix * t) @ begin)[TRANSIT] for t in TIMES])


def record(first: float, infusion: float, unit: float = 1.0) -> xr.Dataset:
    noise = 0.3 * np.random.default_rng(0).standard_normal(len(TIMES))
    values = unit * (plasma(*TRUTH, first, infusion) + noise)
    return xr.Dataset(
        {
            "observed": (("trajectory", "time", "output"), values.reshape(1, -1, 1)),
            "inputs": (
                ("trajectory", "time", "input"),
                np.full((1, len(TIMES), 1), unit * infusion),
            ),
            "dose_amount": (("trajectory", "dose"), [[unit * first]]),
            "dose_time": (("trajectory", "dose"), [[0.0]]),
        },
        coords={
            "time": TIMES,
            "output": ["plasma"],
            "input": ["infusion"],
            "dose_state": ("dose", ["c0"]),
        },
    )


@pytest.mark.parametrize(("first", "infusion"), [(AMOUNT, 0.0), (0.0, 10.0)])
@pytest.mark.parametrize("unit", [1.0, 1e-12])
def test_as_by_scipy(first: float, infusion: float, unit: float) -> None:
    data = record(first, infusion)
    observed = data["observed"].values[0, :, 0]
    best = least_squares(
        lambda logs: plasma(*np.exp(logs), first, infusion) - observed,
        np.log(TRUTH),
        jac="3-point",
        xtol=1e-12,
    )
    found = fit(Chain(), record(first, infusion, unit), initial_state=EMPTY)
    assert found["status"] == CONVERGED
    np.testing.assert_allclose(found["parameters"][0], np.exp(best.x), rtol=1e-5)


@pytest.mark.parametrize(("first", "infusion"), [(AMOUNT, 0.0), (0.0, 10.0)])
def test_without_a_compiler(first: float, infusion: float, monkeypatch: pytest.MonkeyPatch) -> None:
    start = {"rate": TRUTH[0], "elimination": TRUTH[1]}
    options: dict[str, Any] = {"initial_state": EMPTY, "initial": start, "max_iterations": 0}
    data = record(first, infusion)
    compiled = fit(Chain(), data, **options)
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    other = fit(Chain(), data, **options)
    np.testing.assert_allclose(other["predicted"], compiled["predicted"], rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(
        compiled["predicted"][0, :, 0], plasma(*TRUTH, first, infusion), rtol=1e-6, atol=1e-6
    )
