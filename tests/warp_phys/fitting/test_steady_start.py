"""Fits of records that begin at a steady state, against SciPy and closed forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import warp_phys as wp
from tests.systems.dynamics.resting_systems import Birth, Receptor, Turnover
from tests.warp_phys.fitting.fit_records import CONVERGED, fit
from tests.warp_phys.fitting.test_mistakes import refuses
from warp_phys.systems import Parameter, UsageError
from warp_phys.systems.schema.flags import FitStatus

BEFORE, AFTER = np.array([0.5, 1.0, 2.0]), np.array([3.0, 0.2, 0.0])
TIMES = np.linspace(0.0, 3.0, 16)
RATES = np.array([1.0, 2.0, 3.0, 4.0])
SHARED = ["on", "off", "make", "lose"]


def binding(q: Any, before: float, after: float) -> Any:
    """Return the states (T, 3) of a receptor after its ligand has changed, by SciPy."""
    on, off, make, lose = q
    bound = 2.0 * on * before / (on * before + off)
    start = [2.0 - bound, bound, make * (1.0 + bound) / lose]

    def rhs(_: float, y: Any) -> list[float]:
        flow = on * after * y[0] - off * y[1]
        return [-flow, flow, make * (1.0 + y[1]) - lose * y[2]]

    return solve_ivp(rhs, (0.0, 3.0), start, t_eval=TIMES, rtol=1e-10, atol=1e-12).y.T


def bindings() -> xr.Dataset:
    noise = 0.02 * np.random.default_rng(0).standard_normal((3, 16, 3))
    curves = [binding(RATES, *pair) for pair in zip(BEFORE, AFTER, strict=True)]
    return xr.Dataset(
        {
            "observed": (("trajectory", "time", "output"), np.stack(curves) + noise),
            "input_table": (
                ("trajectory", "knot", "input"),
                np.stack([BEFORE, AFTER], 1)[..., None],
            ),
            "input_time": (("trajectory", "knot"), np.array([[-1.0, 0.0]] * 3)),
        },
        coords={"time": TIMES, "output": ["free", "bound", "product"], "input": ["u"]},
    )


class TestReceptor:
    def test_is_the_stacked_problem(self) -> None:
        """The inputs before the initial time give the steady state, those after it the record."""
        data = bindings()
        fitted = fit(
            Receptor(), data, initial_state="steady_state", shared=SHARED, noise_sd="common"
        )
        observed = data["observed"].values

        def residual(line: Any) -> Any:
            pairs = zip(BEFORE, AFTER, strict=True)
            curves = [binding(np.exp(line), *pair) for pair in pairs]
            return (np.stack(curves) - observed).ravel()

        best = least_squares(residual, np.log(RATES) + 0.1, xtol=1e-12, ftol=1e-14, x_scale="jac")
        variance = 2.0 * best.cost / (observed.size - 4)
        errors = np.sqrt(variance * np.linalg.inv(best.jac.T @ best.jac).diagonal())
        assert (fitted["status"] == CONVERGED).all()
        np.testing.assert_allclose(fitted["parameters"][0], np.exp(best.x), rtol=1e-5)
        np.testing.assert_allclose(fitted["standard_errors"][0], errors * np.exp(best.x), rtol=1e-4)
        on, off, make, lose = fitted["parameters"].values[0]
        bound = 2.0 * on * BEFORE / (on * BEFORE + off)
        np.testing.assert_allclose(fitted["initial_state"][:, 1], bound, rtol=1e-10)
        np.testing.assert_allclose(
            fitted["initial_state"][:, 2], make * (1.0 + bound) / lose, rtol=1e-10
        )
        slopes = bound * off / (on * BEFORE + off)
        gradient = np.stack([slopes / on, -slopes / off], axis=1)
        part = fitted["covariance"].values[0][:2, :2]
        expected = np.sqrt(np.einsum("ni,ij,nj->n", gradient, part, gradient))
        np.testing.assert_allclose(
            fitted["initial_state_standard_errors"][:, 1], expected, rtol=1e-8
        )

    def test_totals_that_follow_from_parameters(self) -> None:
        class Sized(Receptor):
            parameters = (
                *Receptor.parameters,
                Parameter("total", "1", support="positive", range=(0.5, 5.0)),
            )

            def initial_state(self, p: Any) -> Any:
                return p.total, 0.0 * p.total, 0.0 * p.total

        given = {"initial_state": "steady_state", "shared": SHARED, "noise_sd": "common"}
        known = fit(Sized(), bindings(), **given, fixed={"total": 2.0})
        plain = fit(Receptor(), bindings(), **given)
        np.testing.assert_allclose(known["parameters"][:, :4], plain["parameters"], rtol=1e-8)
        free = fit(Sized(), bindings(), **given | {"shared": [*SHARED, "total"]})
        assert (free["status"] == CONVERGED).all()
        off = abs(free["parameters"][0, 4] - 2.0) / free["standard_errors"][0, 4]
        assert float(off) < 3.0
        total = free["initial_state"][:, :2].sum("state")
        np.testing.assert_allclose(total, free["parameters"][:, 4], rtol=1e-10)
        np.testing.assert_allclose(
            free["log_likelihood"].sum() >= known["log_likelihood"].sum(), True
        )


class TestTurnover:
    def records(self) -> xr.Dataset:
        truth = np.array([0.4, 10.0, 0.5, 5.0])

        def rhs(_: float, y: Any) -> list[float]:
            made = truth[1] * (1.0 - y[0] / (truth[3] + y[0]))
            return [-truth[0] * y[0], made - truth[2] * y[1]]

        times = np.arange(13.0)
        start = [30.0, truth[1] / truth[2]]
        curve = solve_ivp(rhs, (0.0, 12.0), start, t_eval=times, rtol=1e-10, atol=1e-12).y.T
        noise = np.random.default_rng(1).standard_normal((2, 13, 2)) * [0.3, 0.2]
        return xr.Dataset(
            {
                "observed": (("trajectory", "time", "output"), curve + noise),
                "dose_amount": (("trajectory", "dose"), [[30.0], [30.0]]),
                "dose_time": (("trajectory", "dose"), [[0.0], [0.0]]),
            },
            coords={
                "time": times,
                "output": ["drug", "response"],
                "dose_state": ("dose", ["drug"]),
            },
        )

    def test_the_state_before_a_dose(self) -> None:
        fitted = fit(Turnover(), self.records(), initial_state="steady_state")
        assert (fitted["status"] == CONVERGED).all()
        rates = fitted["parameters"]
        level = rates.sel(parameter="production") / rates.sel(parameter="loss")
        np.testing.assert_allclose(fitted["initial_state"].sel(state="response"), level, rtol=1e-10)
        assert (fitted["initial_state"].sel(state="drug") == 0.0).all()
        off = abs(rates - [0.4, 10.0, 0.5, 5.0]) / fitted["standard_errors"]
        assert float(off.max()) < 4.0

    def test_forecast(self) -> None:
        fitted = fit(Turnover(), self.records(), initial_state="steady_state")
        ahead = wp.forecast(
            fitted, [0.0, 12.0, 200.0], system=Turnover(), draws=400, progress=False
        )
        level = fitted["initial_state"].sel(state="response").values
        np.testing.assert_allclose(
            ahead["predicted"].sel(output="response")[:, 2], level, rtol=1e-5
        )
        error = fitted["initial_state_standard_errors"].sel(state="response").values
        band = ahead["predicted_upper"] - ahead["predicted_lower"]
        width = band.sel(output="response")[:, 0].values / (2.0 * 1.96)
        np.testing.assert_allclose(width, error, rtol=0.2)


class TestMistakes:
    def test_no_steady_state(self) -> None:
        """The level of one trajectory grows without end; the other one is fitted."""
        times = np.arange(6.0)
        observed = np.stack([2.0 + 0.0 * times, 2.0 + times])[..., None]
        observed = observed + 0.01 * np.random.default_rng(0).standard_normal(observed.shape)
        data = xr.Dataset(
            {"observed": (("trajectory", "time", "output"), observed)},
            coords={"time": times, "output": ["level"]},
        )
        fitted = fit(Birth(), data, fixed={"death": [1.0, 0.0]}, initial_state="steady_state")
        assert fitted["status"].values.tolist() == [CONVERGED, FitStatus.NO_STEADY_STATE]
        assert "no steady state" in wp.summary(fitted, 1)

    @pytest.mark.parametrize("state", ["steady", "steady state"])
    def test_another_word(self, state: str) -> None:
        refuses(UsageError, '"steady_state", "estimate"', initial_state=state)
