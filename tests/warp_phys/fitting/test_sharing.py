"""Unknowns that trajectories share, and values known in some, against SciPy's least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    OSCILLATOR,
    TIMES,
    by_scipy,
    fit,
    found,
    oscillations,
    residuals,
    same_bits,
    truth_of,
)
from tests.warp_phys.fitting.test_mistakes import refuses
from warp_phys.data_gen import simulate
from warp_phys.systems import Sine, UnknownNameError, UsageError

NAMES = ("natural_frequency", "damping_rate", "position", "velocity")
BATCH = list("xyxyzz")
DAY = [0, 0, 1, 1, 1, 2]


def records() -> xr.Dataset:
    data = oscillations(6).assign_coords(batch=("trajectory", BATCH))
    return data.assign(day=("trajectory", DAY))


class Stacked:
    """The stacked least squares problem of all records, solved by SciPy.

    Args:
        data: The records.
        labels: The labels of the trajectories by shared quantity.
        known: Known values by quantity, NaN where they are estimated.
    """

    def __init__(
        self, data: xr.Dataset, labels: dict[str, Any], known: dict[str, Any] | None = None
    ) -> None:
        count = data.sizes["trajectory"]
        self.known = {name: np.full(count, np.nan) for name in NAMES}
        self.known |= {name: np.asarray(value) for name, value in (known or {}).items()}
        keys: dict[Any, int] = {}
        self.places = np.full((count, 4), -1)
        for row in range(count):
            for place, name in enumerate(NAMES):
                if np.isnan(self.known[name][row]):
                    label = labels[name][row] if name in labels else ("own", row)
                    self.places[row, place] = keys.setdefault((name, label), len(keys))
        each = [residuals(data.isel(trajectory=row)) for row in range(count)]
        self.best = by_scipy(
            lambda x: np.concatenate([one(self.of(x, row)) for row, one in enumerate(each)]),
            self._start(data, len(keys)),
        )
        values, size = self.best.jac.shape
        self.freedom = values - size
        variance = 2.0 * self.best.cost / self.freedom
        self.covariance = variance * np.linalg.inv(self.best.jac.T @ self.best.jac)

    def _start(self, data: xr.Dataset, size: int) -> Any:
        total, number = np.zeros(size), np.zeros(size)
        for row, places in enumerate(self.places):
            free = places >= 0
            np.add.at(total, places[free], truth_of(data.isel(trajectory=row))[free])
            np.add.at(number, places[free], 1.0)
        return total / number

    def of(self, unknowns: Any, row: int) -> Any:
        """Return the four quantities of a trajectory."""
        places = self.places[row]
        fixed = [self.known[name][row] for name in NAMES]
        return np.where(places >= 0, unknowns[places], fixed)

    def agrees(self, fitted: xr.Dataset) -> None:
        assert (fitted["status"] == CONVERGED).all()
        errors = np.sqrt(self.covariance.diagonal())
        for row, places in enumerate(self.places):
            one = fitted.isel(trajectory=row)
            np.testing.assert_allclose(found(fitted, row), self.of(self.best.x, row), rtol=1e-5)
            given = [*one["standard_errors"], *one["initial_state_standard_errors"]]
            expected = np.where(places >= 0, errors[places], 0.0)
            np.testing.assert_allclose(given, expected, rtol=1e-4)
            self._same_covariance(one, places)
        np.testing.assert_array_equal(fitted["degrees_of_freedom"], self.freedom)
        np.testing.assert_allclose(fitted["sum_of_squares"].sum(), 2.0 * self.best.cost, rtol=1e-8)

    def _same_covariance(self, one: xr.Dataset, places: Any) -> None:
        labels = [str(label).removesuffix("(0)") for label in one["estimated"].values]
        mine = places[[NAMES.index(label) for label in labels]]
        expected = self.covariance[np.ix_(mine, mine)]
        expected = np.where((mine < 0)[:, None] | (mine < 0), 0.0, expected)
        scale = np.sqrt(np.outer(expected.diagonal(), expected.diagonal()))
        difference = np.abs(one["covariance"].values - expected)
        assert (difference <= 1e-4 * scale).all()


GROUPINGS: list[dict[str, Any]] = [
    {"natural_frequency": "all", "damping_rate": "batch"},
    {"natural_frequency": "batch", "damping_rate": "day"},
    {"damping_rate": "all", "velocity": "batch"},
    {"position": "day", "velocity": "all", "natural_frequency": "batch"},
]


def labels_of(shared: dict[str, str]) -> dict[str, Any]:
    return {name: {"all": [0] * 6, "batch": BATCH, "day": DAY}[key] for name, key in shared.items()}


class TestGroupings:
    @pytest.mark.parametrize("shared", GROUPINGS)
    def test_is_the_stacked_problem(self, shared: dict[str, str]) -> None:
        data = records()
        fitted = fit(OSCILLATOR, data, shared=shared, noise_sd="common")
        Stacked(data, labels_of(shared)).agrees(fitted)
        for name, labels in labels_of(shared).items():
            kind = "parameters" if name in OSCILLATOR.parameter_names else "initial_state"
            dim = "parameter" if kind == "parameters" else "state"
            values = fitted[kind].sel({dim: name}).values
            for label in set(labels):
                same = values[np.array([one == label for one in labels])]
                assert (same == same[0]).all()

    def test_groupings_that_do_not_meet_are_independent(self) -> None:
        data = records()
        shared = {"natural_frequency": "batch", "damping_rate": [0, 1, 2, 3, 4, 5]}
        fitted = fit(OSCILLATOR, data, shared=shared, noise_sd="common")
        alone = fit(
            OSCILLATOR,
            data.isel(trajectory=[4, 5]),
            shared=["natural_frequency"],
            noise_sd="common",
        )
        np.testing.assert_allclose(fitted["parameters"][4:], alone["parameters"], rtol=1e-6)
        np.testing.assert_allclose(
            fitted["standard_errors"][4:], alone["standard_errors"], rtol=1e-5
        )
        assert fitted["group"].values.tolist() == [0, 1, 0, 1, 2, 2]

    def test_a_mapping_to_one_grouping_is_the_list(self) -> None:
        data = records()
        by_list = fit(OSCILLATOR, data, shared=["damping_rate"], group="batch")
        same_bits(fit(OSCILLATOR, data, shared={"damping_rate": "batch"}), by_list)
        same_bits(fit(OSCILLATOR, data, shared={"damping_rate": data["batch"]}), by_list)
        by_list = fit(OSCILLATOR, data, shared=["damping_rate"])
        same_bits(fit(OSCILLATOR, data, shared={"damping_rate": "all"}), by_list)
        assert by_list.attrs["settings"] != ""

    def test_a_given_start_and_robust_loss(self) -> None:
        data = simulate(
            OSCILLATOR,
            6,
            TIMES,
            parameters={"natural_frequency": 15.0, "damping_rate": [1.0, 2.0, 1.0, 2.0, 3.0, 3.0]},
            noise=0.05,
            seed=0,
        ).assign_coords(batch=("trajectory", BATCH))
        shared = {"natural_frequency": "all", "damping_rate": "batch"}
        first = fit(OSCILLATOR, data, shared=shared)
        again = fit(OSCILLATOR, data, shared=shared, initial=first)
        np.testing.assert_allclose(again["parameters"], first["parameters"], rtol=1e-6)
        robust = fit(OSCILLATOR, data, shared=shared, loss="huber")
        off = abs(robust["parameters"] - first["parameters"]) / first["standard_errors"]
        assert (robust["status"] == CONVERGED).all()
        assert float(off.max()) < 1.0

    def test_a_trajectory_that_cannot_be_fitted(self) -> None:
        data = records()
        data["observed"] = data["observed"].copy()
        data["observed"][2, 1:] = np.nan
        shared = {"natural_frequency": "all", "damping_rate": "batch"}
        fitted = fit(OSCILLATOR, data, shared=shared, noise_sd="common")
        left = [0, 1, 3, 4, 5]
        without = fit(OSCILLATOR, data.isel(trajectory=left), shared=shared, noise_sd="common")
        assert fitted["status"].values.tolist() == [0, 0, 0, 0, 0, 0]
        np.testing.assert_allclose(fitted["parameters"][2, 0], fitted["parameters"][0, 0])
        data["observed"][2, 0] = np.nan
        fitted = fit(OSCILLATOR, data, shared=shared, noise_sd="common")
        assert fitted["status"].values[2] != 0
        same_bits(fitted.isel(trajectory=left), without)


class TestKnownInSome:
    @pytest.mark.parametrize(
        "shared", [{}, {"damping_rate": "all"}, {"damping_rate": "batch", "velocity": "all"}]
    )
    def test_a_parameter(self, shared: dict[str, str]) -> None:
        data = records()
        rates = data["true_parameters"].sel(parameter="damping_rate").values.copy()
        rates[[1, 4, 5]] = np.nan
        if not shared:
            fitted = fit(OSCILLATOR, data, fixed={"damping_rate": rates}, noise_sd="common")
            for row in range(6):
                one = data.isel(trajectory=[row])
                Stacked(one, {}, {"damping_rate": rates[[row]]}).agrees(
                    fitted.isel(trajectory=[row])
                )
            return
        fitted = fit(
            OSCILLATOR, data, fixed={"damping_rate": rates}, shared=shared, noise_sd="common"
        )
        if "velocity" in shared:
            Stacked(data, labels_of(shared), {"damping_rate": rates}).agrees(fitted)
        assert fitted["known"].sel(estimated="damping_rate").values.tolist() == [1, 0, 1, 1, 0, 0]
        assert (fitted["fixed"] == 0).all()
        np.testing.assert_array_equal(fitted["parameters"][[0, 2, 3], 1], rates[[0, 2, 3]])
        np.testing.assert_array_equal(fitted["parameters_lower"][[0, 2, 3], 1], rates[[0, 2, 3]])

    def test_an_initial_state(self) -> None:
        data = records()
        state = data["true_initial_state"].sel(state="position").values.copy()
        state[[0, 3]] = np.nan
        shared = {"natural_frequency": "all"}
        known = {"position": state}
        fitted = fit(OSCILLATOR, data, initial_state=known, shared=shared, noise_sd="common")
        Stacked(data, labels_of(shared), known).agrees(fitted)

    def test_by_the_name_of_a_variable(self) -> None:
        data = records().assign(
            rate=("trajectory", [2.0, np.nan, 2.0, 1.5, 1.5, 1.5]), begin=("trajectory", np.ones(6))
        )
        named = fit(
            OSCILLATOR, data, fixed={"damping_rate": "rate"}, initial_state={"position": "begin"}
        )
        given = fit(
            OSCILLATOR,
            data,
            fixed={"damping_rate": data["rate"]},
            initial_state={"position": np.ones(6)},
        )
        same_bits(named, given)
        one = fit(OSCILLATOR, data.isel(trajectory=1), fixed={"damping_rate": "rate"})
        assert one["fixed"].values.tolist() == [0, 0]
        one = fit(OSCILLATOR, data.isel(trajectory=0), fixed={"damping_rate": "rate"})
        assert one["fixed"].values.tolist() == [0, 1]

    def test_on_the_end_of_a_support(self) -> None:
        """An undamped record has the rate zero, at the end of the unknown's support."""
        data = oscillations(2)
        system = type(OSCILLATOR)()
        rates = np.array([np.nan, 2.0])
        bounds = {"damping_rate": (0.5, 2.0)}
        fitted = fit(system, data, fixed={"damping_rate": rates}, bounds=bounds)
        assert fitted["parameters"].values[1, 1] == 2.0
        assert (fitted["status"] == CONVERGED).all()
        forecast = wp.forecast(fitted, np.linspace(1.0, 1.2, 5), draws=100, progress=False)
        assert np.isfinite(forecast["predicted_lower"]).all()

    def test_summary_and_overview(self) -> None:
        data = records()
        rates = np.array([2.0, np.nan, 2.0, 1.5, 1.5, 1.5])
        fitted = fit(OSCILLATOR, data, fixed={"damping_rate": rates}, shared=["damping_rate"])
        assert "damping_rate:       2 1/s (fixed)\n" in wp.summary(fitted, 0)
        assert "(fixed)" not in wp.summary(fitted, 1)
        assert "unknowns             = 3 and" in wp.summary(fitted, 0)
        assert "damping_rate" in wp.summary(fitted)


class TestMistakes:
    def test_names(self) -> None:
        refuses(UnknownNameError, "'alfa'", shared={"alfa": "all"})
        message = "unknown coordinate of the data set 'rigg'"
        refuses(UnknownNameError, message, shared={"alpha": "rigg"})
        message = "expected 'observed' to have one value for each trajectory, got the dimensions"
        refuses(UsageError, message, shared={"alpha": "observed"})

    def test_labels(self) -> None:
        message = "expected shared['alpha'] as a coordinate of the data set or 3 labels"
        refuses(UsageError, message, shared={"alpha": [0, 1]})
        message = "to name a group for every trajectory; trajectory 1 has none"
        refuses(UsageError, message, shared={"alpha": [0, np.nan, 1]})
        message = "group= says who shares the names in a list; with a mapping"
        refuses(UsageError, message, shared={"alpha": "all"}, group=[0, 1, 1])

    def test_known(self) -> None:
        message = "parameter 'alpha' is fixed and cannot be shared"
        refuses(UsageError, message, shared={"alpha": "all"}, fixed={"alpha": 0.5})
        message = "the initial value of 'prey' is known and cannot be shared"
        refuses(UsageError, message, shared={"prey": "all"}, initial_state={"prey": 1.0})
        message = "the initial state of sine follows from its parameters and cannot be shared"
        data = simulate(Sine(), 3, TIMES, noise=0.1)
        refuses(UsageError, message, data, Sine(), shared={"angle": "all"})
        message = "alpha is known to be 5 1/year in trajectory 1, outside its bounds (0.1, 1)"
        fixed = {"alpha": [np.nan, 5.0, np.nan]}
        refuses(UsageError, message, fixed=fixed, bounds={"alpha": (0.1, 1.0)})
