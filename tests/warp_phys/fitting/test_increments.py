"""Outputs that are increases of a total since the previous sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import CONVERGED, fit
from warp_phys.data_gen import simulate
from warp_phys.likelihood.engines import choose
from warp_phys.systems import Output, Parameter, State, System, UsageError


class Epidemic(System):
    """Susceptible and infectious shares, and all cases so far; new cases and the ill are seen."""

    time_unit = "d"
    states = (State("susceptible", "1"), State("infectious", "1"), State("total", "1"))
    parameters = (
        Parameter("contact", "1/d", support="positive", range=(0.3, 1.0)),
        Parameter("recovery", "1/d", support="positive", range=(0.1, 0.5)),
        Parameter("reported", "1", support="positive", range=(100.0, 1000.0)),
    )
    outputs = (Output("new_cases", "1", kind="increment"), Output("ill", "1"))
    default_initial_state = {"susceptible": 0.99, "infectious": 0.01, "total": 0.0}
    default_times = tuple(float(day) for day in range(0, 60, 3))

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        susceptible, infectious, _ = y
        new = p.contact * susceptible * infectious
        return -new, new - p.recovery * infectious, new

    def observe(self, t: Any, y: Any, p: Any) -> Any:
        return p.reported * y[2], 100.0 * y[1]


TRUTH = np.array([0.6, 0.25, 500.0])
START = {"susceptible": 0.99, "infectious": 0.01, "total": 0.0}


def course(q: Any, times: Any, start: float = 0.0) -> Any:
    """Return new cases since the time before (since the start), and the ill, (T, 2), by SciPy."""

    def rhs(_: float, y: Any) -> list[float]:
        new = q[0] * y[0] * y[1]
        return [-new, new - q[1] * y[1], new]

    solution = solve_ivp(
        rhs, (start, times[-1]), [0.99, 0.01, 0.0], t_eval=times, rtol=1e-11, atol=1e-13
    )
    new = q[2] * np.diff(solution.y[2], prepend=0.0)
    return np.stack([new, 100.0 * solution.y[1]], axis=1)


def records() -> xr.Dataset:
    times = np.arange(3.0, 60.0, 3.0)
    noise = np.random.default_rng(0).standard_normal((2, len(times), 2)) * [1.0, 0.3]
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), course(TRUTH, times) + noise)},
        coords={"time": times, "output": ["new_cases", "ill"]},
    )


def by_scipy(observed: Any, times: Any) -> Any:
    seen = np.isfinite(observed)
    best = least_squares(
        lambda line: (course(np.exp(line), times) - observed)[seen],
        np.log(TRUTH) + 0.05,
        xtol=1e-13,
        ftol=1e-14,
        x_scale="jac",
    )
    variance = 2.0 * best.cost / (seen.sum() - 3)
    errors = np.sqrt(variance * np.linalg.inv(best.jac.T @ best.jac).diagonal())
    return np.exp(best.x), errors * np.exp(best.x)


class TestFit:
    @pytest.mark.parametrize("engine", ["compiled", "numpy"])
    def test_is_the_least_squares_fit(self, engine: str, monkeypatch: Any) -> None:
        if engine == "numpy":
            monkeypatch.setattr(choose, "library_of", lambda problem: None)
        data = records()
        # A missing count still ends its interval.
        data["observed"][0, 7, 0] = np.nan
        fitted = fit(
            Epidemic(), data, initial_state=START, initial_time=0.0, noise_sd="common", starts=2
        )
        assert (fitted["status"] == CONVERGED).all()
        for row in range(2):
            values, errors = by_scipy(data["observed"].values[row], data["time"].values)
            np.testing.assert_allclose(fitted["parameters"][row], values, rtol=2e-5)
            np.testing.assert_allclose(fitted["standard_errors"][row], errors, rtol=1e-4)
            predicted = course(values, data["time"].values)
            np.testing.assert_allclose(fitted["predicted"][row], predicted, rtol=1e-4)

    def test_robust(self) -> None:
        """One gross outlier among the counts moves a robust fit by less than an error."""
        given: dict[str, Any] = {"initial_state": START, "initial_time": 0.0}
        clean = fit(Epidemic(), records(), **given)
        data = records()
        data["observed"][:, 6, 0] += 60.0
        fitted = fit(Epidemic(), data, loss="huber", **given)
        off = abs(fitted["parameters"] - clean["parameters"]) / clean["standard_errors"]
        assert float(off.max()) < 1.5
        linear = fit(Epidemic(), data, **given)
        off = abs(linear["parameters"] - clean["parameters"]) / clean["standard_errors"]
        assert float(off.max()) > 3.0

    def test_several_counts_at_one_time(self) -> None:
        data = records()
        twice = xr.Dataset(
            {
                "observed": (
                    ("trajectory", "time", "output"),
                    np.repeat(data["observed"].values, 2, axis=1),
                )
            },
            coords={"time": np.repeat(data["time"].values, 2), "output": data["output"]},
        )
        given: dict[str, Any] = {"initial_state": START, "initial_time": 0.0, "noise_sd": "common"}
        one, other = fit(Epidemic(), data, **given), fit(Epidemic(), twice, **given)
        np.testing.assert_allclose(one["parameters"], other["parameters"], rtol=1e-6)


class TestSimulateAndForecast:
    def test_simulate(self) -> None:
        times = np.arange(0.0, 30.0, 3.0)
        parameters = dict(zip(("contact", "recovery", "reported"), TRUTH, strict=True))
        data = simulate(Epidemic(), 2, times, parameters=parameters, initial_states=START)
        expected = course(TRUTH, times)
        np.testing.assert_allclose(data["noiseless"][0], expected, rtol=1e-6, atol=1e-6)
        assert data["noiseless"].values[0, 0, 0] == 0.0

    def test_forecast_counts_from_the_last_sample(self) -> None:
        data = records()
        fitted = fit(Epidemic(), data, initial_state=START, initial_time=0.0)
        after = np.array([60.0, 66.0])
        ahead = wp.forecast(fitted, after, system=Epidemic(), draws=100, progress=False)
        q = fitted["parameters"].values[0]
        whole = course(q, np.array([*data["time"].values, *after]))
        np.testing.assert_allclose(ahead["predicted"][0], whole[-2:], rtol=1e-3)
        assert (ahead["predicted_lower"] < ahead["predicted"]).all()
        begin = wp.forecast(fitted, [0.0, 3.0], system=Epidemic(), draws=100, progress=False)
        np.testing.assert_allclose(begin["predicted"][0, 0, 0], 0.0, atol=1e-9)
        np.testing.assert_allclose(
            begin["predicted"][0, 1, 0], fitted["predicted"][0, 0, 0], rtol=1e-4
        )

    def test_an_estimate_refuses_them(self) -> None:
        with pytest.raises(UsageError, match="is an increase since the previous sample"):
            wp.WarpPhys(Epidemic())

    def test_another_kind(self) -> None:
        with pytest.raises(UsageError, match="expected kind='value' or 'increment'"):
            Output("cases", "1", kind="total")  # type: ignore[arg-type]


def test_is_seen_without_a_trace() -> None:
    """The instantaneous output is the running total."""
    y = torch.tensor([0.5, 0.1, 0.4], dtype=torch.float64)
    p = torch.tensor([0.6, 0.25, 500.0], dtype=torch.float64)
    assert Epidemic().outputs_at(0.0, y, p).tolist() == [200.0, 10.0]
