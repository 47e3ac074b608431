"""Fits of records with doses: right values, right errors, results on the records' own samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import fit, same_bits
from warp_phys.data_gen import simulate
from warp_phys.systems import (
    Dose,
    LotkaVolterra,
    OneCompartmentOral,
    SchemaError,
    System,
    TwoCompartment,
    UnknownNameError,
    UsageError,
)

ORAL, TWO = OneCompartmentOral(), TwoCompartment()
THEOPHYLLINE = Path(__file__).parents[2] / "data" / "theophylline_subject_1.csv"
HOURS = np.linspace(0.0, 48.0, 40)
NOTHING = {"gut": 0.0, "central": 0.0}
# By mouth at the start, with a sample, and where each has it; into the vein between two samples.
BY_MOUTH = [
    Dose("gut", 320.0, 0.0),
    Dose("gut", 300.0, HOURS[10]),
    Dose("gut", (200.0, 400.0), (20.0, 26.0)),
    Dose("central", 50.0, 36.3),
]
INTO_THE_VEIN = [Dose("central", 25.0, 0.0), Dose("central", 20.0, 5.1)]


def oral(n: int, noise: float = 0.0, times: Any = HOURS, **options: Any) -> xr.Dataset:
    given = {"doses": BY_MOUTH, "initial_states": NOTHING, "noise": noise, "seed": 0} | options
    return simulate(ORAL, n, times, **given)


def two_compartments(n: int, noise: float = 0.0) -> xr.Dataset:
    starts = {"central": 0.0, "peripheral": 0.0}
    times = np.linspace(0.0, 12.0, 40)
    return simulate(
        TWO,
        n,
        times,
        doses=INTO_THE_VEIN,
        initial_states=starts,
        noise=noise,
        seed=0,
    )


def dosed(data: xr.Dataset, states: list[str], amounts: Any, times: Any) -> xr.Dataset:
    """Return a data set with the same doses for every trajectory."""
    shape = (data.sizes["trajectory"], len(states))
    return data.assign(
        dose_amount=(("trajectory", "dose"), np.broadcast_to(np.float64(amounts), shape)),
        dose_time=(("trajectory", "dose"), np.broadcast_to(np.float64(times), shape)),
    ).assign_coords(dose_state=("dose", states))


def covered(fitted: xr.Dataset, data: xr.Dataset) -> float:
    truth = data["true_parameters"]
    inside = (fitted["parameters_lower"] <= truth) & (truth <= fitted["parameters_upper"])
    return float(inside.mean())


# Values and errors


@pytest.mark.parametrize(("system", "make"), [(ORAL, oral), (TWO, two_compartments)])
def test_without_noise_the_truth_comes_back(system: System, make: Any) -> None:
    data = make(5)
    known = dict.fromkeys(system.state_names, 0.0)
    fitted = fit(system, data, initial_state=known)
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
    np.testing.assert_allclose(fitted["predicted"], data["noiseless"], rtol=1e-6, atol=1e-6)
    assert (fitted["status"] == 0).all()


@pytest.mark.parametrize(("system", "make"), [(ORAL, oral), (TWO, two_compartments)])
def test_intervals_cover(system: System, make: Any) -> None:
    """Between 90 and 99 % of 600 or 800 intervals of 95 %."""
    data = make(200, 0.02)
    known = dict.fromkeys(system.state_names, 0.0)
    fitted = fit(system, data, initial_state=known, starts=2)
    assert 0.90 < covered(fitted, data) < 0.99
    assert (fitted["status"] == 0).all()
    assert (fitted["misfit"] == 0).mean() > 0.98
    assert (fitted["degrees_of_freedom"] == 40 - len(system.parameters)).all()


def test_a_flow_with_kicks_that_is_integrated() -> None:
    """The state before a dose at the start is estimated, that after it is what is seen."""
    data = simulate(
        "lotka_volterra",
        4,
        np.linspace(0.0, 8.0, 33),
        doses=[Dose("prey", 10.0, 0.0), Dose("predator", 4.0, (3.0, 5.0))],
        seed=2,
    )
    fitted = fit("lotka_volterra", data)
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
    np.testing.assert_allclose(fitted["initial_state"], data["true_initial_state"], rtol=1e-6)


def test_without_a_compiler_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = oral(3, 0.02)
    compiled = fit(ORAL, data, initial_state=NOTHING)
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    other = fit(ORAL, data, initial_state=NOTHING)
    assert other.attrs["engine"] == "numpy"
    for name in ("parameters", "standard_errors", "predicted", "log_likelihood"):
        np.testing.assert_allclose(other[name], compiled[name], rtol=1e-6, atol=1e-9)


def test_theophylline_swallowed_is_theophylline_in_the_gut() -> None:
    record = wp.read_trajectories(THEOPHYLLINE)
    in_the_gut = fit(ORAL, record, initial_state={"gut": 319.992, "central": 0.0})
    swallowed = fit(ORAL, dosed(record, ["gut"], 319.992, 0.0), initial_state=NOTHING)
    for name in ("parameters", "standard_errors", "predicted", "sum_of_squares", "noise_sd"):
        np.testing.assert_allclose(swallowed[name], in_the_gut[name], rtol=1e-7)
    assert swallowed["degrees_of_freedom"] == in_the_gut["degrees_of_freedom"]


def test_known_levels_of_samples_and_own_grids() -> None:
    times = np.stack([HOURS, HOURS + 0.3, HOURS**1.01])
    times[1, 30:] = np.nan
    data = oral(
        3, 0.0, times, doses=[Dose("gut", 320.0, 1.0), Dose("gut", 320.0, [9.0, 50.0, 47.0])]
    )
    levels = np.linspace(0.1, 0.3, 40) * np.ones((3, 1))
    fitted = fit(
        ORAL,
        data,
        initial_state=NOTHING,
        noise_sd={"concentration": levels},
    )
    assert fitted["predicted"].dims == data["observed"].dims
    np.testing.assert_array_equal(fitted["time"], data["time"])
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
    np.testing.assert_array_equal(fitted["predicted"].isnull(), data["observed"].isnull())


# What stands on the samples


def test_residuals_are_checked_from_sample_to_sample() -> None:
    """A dose between any two samples leaves no gap in the residuals."""
    middles = 0.5 * (HOURS[1:] + HOURS[:-1])
    data = oral(4, 0.05, doses=[Dose("gut", 100.0, time) for time in middles])
    fitted = fit(ORAL, data, initial_state=NOTHING)
    residual = (data["observed"] - fitted["predicted"]).values[:, :, 0]
    products = (residual[:, 1:] * residual[:, :-1]).mean(axis=1)
    expected = products / (residual**2).mean(axis=1)
    np.testing.assert_allclose(fitted["autocorrelation"][:, 0], expected, atol=0.02)
    assert (fitted["value_count"] == 40).all()


def test_doses_that_are_none_change_nothing() -> None:
    plain = oral(3, 0.02, doses=(), initial_states={"gut": 320.0, "central": 0.0})
    known = {"gut": 320.0, "central": 0.0}
    without = fit(ORAL, plain, initial_state=known)
    none = dosed(plain, ["gut", "central"], [np.nan, 9.0], [np.nan, 48.5])
    same_bits(fit(ORAL, none, initial_state=known), without)


def test_a_dose_before_the_first_sample() -> None:
    data = oral(3, doses=[Dose("gut", 320.0, 0.0)])
    late = data.isel(time=slice(3, None))
    with pytest.raises(UsageError, match=r"dose 0 of trajectory 0 comes at 0, .* initial_time=0"):
        fit(ORAL, late, initial_state=NOTHING)
    fitted = fit(ORAL, late, initial_state=NOTHING, initial_time=0.0)
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)


def test_a_forecast_gives_the_doses_of_the_data(tmp_path: Path) -> None:
    """Those on the way and those after the last sample, and no others."""
    whole = oral(3, 0.001)
    fitted = fit(ORAL, whole.isel(time=slice(0, 28)), initial_state=NOTHING)
    wp.save(fitted, tmp_path / "fitted.nc")
    ahead = wp.forecast(wp.load(tmp_path / "fitted.nc"), HOURS[20:], draws=50, progress=False)
    truth = whole["noiseless"].isel(time=slice(20, None)).values
    np.testing.assert_allclose(ahead["predicted"], truth, rtol=0.02)
    assert (ahead["observed_lower"].values < truth).mean() > 0.8
    one = wp.forecast(fitted.isel(trajectory=1), HOURS[20:], draws=50, progress=False)
    np.testing.assert_allclose(one["predicted"][0], ahead["predicted"][1], rtol=1e-12)


def test_a_forecast_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = fit(ORAL, oral(2, 0.02), initial_state=NOTHING)
    compiled = wp.forecast(fitted, HOURS[5:], draws=10, progress=False)
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    other = wp.forecast(fitted, HOURS[5:], draws=10, progress=False)
    for name in ("predicted", "predicted_upper"):
        np.testing.assert_allclose(other[name], compiled[name], rtol=1e-4)


# Mistakes


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: d.drop_vars("dose_time"), SchemaError, "has only dose_amount, dose_state"),
        (lambda d: d.assign_coords(dose_state=("dose", ["gutt"])), UnknownNameError, "gutt"),
        (lambda d: d.assign(dose_amount=np.nan * d["dose_amount"]), UsageError, "but no amount"),
    ],
)
def test_doses_that_cannot_be(change: Any, error: type[Exception], words: str) -> None:
    data = oral(2, doses=[Dose("gut", 320.0, 0.0)])
    with pytest.raises(error, match=words):
        fit(ORAL, change(data))


def test_first_sample_and_a_dose_with_it() -> None:
    system = LotkaVolterra()
    data = simulate(system, 2, [0.0, 1.0, 2.0, 3.0], doses=[Dose("prey", 1.0, 0.0)], seed=0)
    with pytest.raises(UsageError, match="shows what the dose given with it has done"):
        fit(system, data, initial_state="first_sample")


def test_models_refuse_doses() -> None:
    data = simulate("lotka_volterra", 4, [0.0, 1.0, 2.0], doses=[Dose("prey", 1.0, 1.0)], seed=0)
    with pytest.raises(UsageError, match="the records have doses, which only"):
        wp.train(wp.WarpPhys("lotka_volterra", head="direct"), data, progress=False)
    with pytest.raises(UsageError, match=r"the records have doses.* use fit"):
        wp.estimate(wp.WarpPhys("lotka_volterra", head="regression"), data)
