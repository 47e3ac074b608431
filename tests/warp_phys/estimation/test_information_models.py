"""Models with the information head: files, starts, forecasts and fits, mistakes."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import warp_phys as wp
from tests.systems.noise.poisson import Poisson
from tests.warp_phys.estimation.information_records import (
    TIMES,
    beginning,
    estimate,
    holds,
    over_time,
    records,
    same,
)
from warp_phys.data_gen import log_normal
from warp_phys.systems.errors import UsageError


@lru_cache
def trained_start() -> wp.WarpPhys:
    """Return a trained model; tests must leave it as it is."""
    model = wp.WarpPhys("lotka_volterra", head="direct", window=4, width=8)
    wp.train(model, records(n=200), records(n=110, seed=9), steps=2, progress=False)
    return model


def test_saved_models_estimate_to_the_same_bits(tmp_path: Path) -> None:
    data = records()
    model = wp.WarpPhys(
        "lotka_volterra",
        priors={"alpha": log_normal(0.6, 0.5), "noise_sd(prey)": log_normal(0.5, 1.0)},
        start=trained_start(),
        initial_state={"predator": data["true_initial_state"].values[0, 1]},
        fixed={"delta": 0.05},
        loss="huber",
    )
    model.save(tmp_path / "model.safetensors")
    again = wp.WarpPhys.load(tmp_path / "model.safetensors")
    one, other = (wp.estimate(each, data, progress=False) for each in (model, again))
    for name in one.data_vars:
        assert one[name].equals(other[name]), name
    assert repr(again) == repr(model)


def test_a_result_names_its_own_tolerances() -> None:
    data = records(n=2)
    found = estimate("lotka_volterra", data)
    assert found.attrs["rtol"] == 1e-7
    rows = wp.estimate(trained_start(), data, progress=False)
    assert rows.attrs["rtol"] == 1e-6


def test_a_trained_start_does_not_reach_ahead() -> None:
    data, start = records(missing=0.1), trained_start()
    found = estimate("lotka_volterra", data, start=start)
    holds(found, data)
    for samples in (5, 12):
        shorter = estimate("lotka_volterra", beginning(data, samples), start=start)
        same(over_time(shorter), beginning(over_time(found), samples))


def test_a_forecast_goes_on_from_any_sample() -> None:
    data = records(noise=0.02)
    found = estimate("lotka_volterra", data)
    later = TIMES[-5:]
    for samples in (20, 36, 41):
        cut = beginning(found, samples)
        ahead = wp.forecast(cut, later, draws=200, seed=0, progress=False)
        truth = data["noiseless"].isel(time=slice(-5, None)).values
        inside = (ahead["predicted_lower"] <= truth) & (truth <= ahead["predicted_upper"])
        assert float(inside.mean()) > 0.7
        scale = np.abs(truth).max(axis=(1, 2), keepdims=True)
        assert np.median(np.abs(ahead["predicted"].values - truth) / scale) < 0.05


def test_a_fit_starts_from_it() -> None:
    data = records()
    found = estimate("lotka_volterra", data)
    whole = wp.fit("lotka_volterra", data, progress=False)
    started = wp.fit("lotka_volterra", data, initial=found, progress=False)
    np.testing.assert_allclose(started["parameters"], whole["parameters"], rtol=1e-4)
    assert float(started["iterations"].sum()) < float(whole["iterations"].sum())


def test_a_start_must_read_the_records() -> None:
    with pytest.raises(UsageError, match=r"expected start as a trained .* got 3"):
        wp.WarpPhys("lotka_volterra", start=3)  # type: ignore[arg-type]
    start = wp.WarpPhys("lotka_volterra", head="regression")
    found = estimate("lotka_volterra", records(), start=start)
    holds(found, records())
    with pytest.raises(UsageError, match="start reads the outputs prey, predator"):
        estimate("lotka_volterra", records(observe=["prey"]), start=start)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise_sd": {"prey": 0.1}}, "predator"),
        ({"noise_sd": -1.0}, "positive standard deviations"),
        ({"distribution": Poisson()}, "use fit"),
        ({"fixed": {"alfa": 1.0}}, "alpha"),
        ({"fixed": 1.0}, "mapping"),
        ({"initial_state": {"wolf": 1.0}}, "predator"),
        ({"initial_state": "somewhere"}, "first_sample"),
        ({"fixed": {"alpha": 1.0}, "priors": {"alpha": log_normal(1.0, 0.1)}}, "is known"),
        ({"initial_state": {"prey": 1.0}, "priors": {"prey(0)": log_normal(1.0, 0.1)}}, "is known"),
        ({"noise_sd": 0.1, "priors": {"noise_sd": log_normal(1.0, 0.1)}}, "is known"),
        ({"loss": "absolute"}, "huber"),
        ({"fixed": {"alpha": np.ones(5)}}, "one number or 6"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        estimate("lotka_volterra", records(), **options)
