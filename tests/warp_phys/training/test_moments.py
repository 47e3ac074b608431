"""Moments of a data set as a prior, against NumPy on its true values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from tests.systems.noise.poisson import Poisson
from tests.warp_phys.models.information.linear_model import Line, lines
from tests.warp_phys.user_systems import Saturation
from warp_phys.data_gen import log_normal, simulate
from warp_phys.models.heads.information import Information
from warp_phys.models.information.prior.prior import Moments
from warp_phys.systems.errors import UsageError
from warp_phys.training.moments import moments_of

TIMES = np.linspace(0.0, 2.0, 6)


def lotka_volterra(count: int, **options: Any) -> xr.Dataset:
    known: dict[str, Any] = {"noise": {"prey": log_normal(0.2, 0.4), "predator": 0.5}, "seed": 1}
    return simulate("lotka_volterra", count, TIMES, progress=False, **(known | options))


def learned(model: wp.WarpPhys) -> Moments:
    head = model.choices.head
    assert isinstance(head, Information)
    assert head.learned is not None
    return head.learned


def test_mean_and_covariance_are_those_of_the_logarithms() -> None:
    data = lotka_volterra(300)
    model = wp.WarpPhys("lotka_volterra")
    history = wp.train(model, data, progress=False)
    line = np.log(np.hstack([data["true_parameters"], data["true_initial_state"]]))
    found = learned(model)
    assert found.labels == ("alpha", "beta", "gamma", "delta", "prey(0)", "predator(0)")
    np.testing.assert_allclose(found.mean, line.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(line.T), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(history["prior_sd"], line.std(axis=0, ddof=1), rtol=1e-10)
    level = np.log(data["true_noise_sd"].values)
    np.testing.assert_allclose(found.levels["prey"], (level[:, 0].mean(), level[:, 0].std()))
    # A level that does not vary still leaves room for measured records.
    assert found.levels["predator"] == (pytest.approx(np.log(0.5)), 0.1)
    assert "prior of 300 records" in repr(model)


def test_every_support_has_its_own_coordinate() -> None:
    data = simulate(Saturation(), 60, TIMES, noise=0.1, seed=0, progress=False)
    found, _ = moments_of(data, Saturation())
    truth = data["true_parameters"].sel
    columns = [
        np.log(truth(parameter="rate")),
        np.log(truth(parameter="share") / (1.0 - truth(parameter="share"))),
        truth(parameter="offset"),
        np.log(-truth(parameter="depth")),
        np.log(data["true_initial_state"][:, 0] / (10.0 - data["true_initial_state"][:, 0])),
    ]
    expected = np.stack(columns, axis=1).mean(axis=0)
    np.testing.assert_allclose(abs(found.mean), abs(expected), rtol=1e-10)
    assert found.labels == ("rate", "share", "offset", "depth", "amount(0)")


def test_what_does_not_vary_is_known() -> None:
    data = lotka_volterra(60, parameters={"alpha": 0.7}, initial_states={"prey": 12.0})
    data = data.drop_vars("known_initial_state", errors="ignore")
    model = wp.WarpPhys("lotka_volterra")
    wp.train(model, data, progress=False)
    assert learned(model).fixed == {"alpha": 0.7}
    assert learned(model).states == {"prey": 12.0}
    found = wp.estimate(model, data.isel(trajectory=[0]), progress=False)
    assert (found["parameters"].sel(parameter="alpha") == 0.7).all()
    np.testing.assert_allclose(found["initial_state"].sel(state="prey"), 12.0, rtol=1e-12)
    assert list(found["unknown"].values[:4]) == ["beta", "gamma", "delta", "predator"]


def test_before_the_first_value_an_estimate_is_the_mean() -> None:
    data = lines(100, seed=1)
    model = wp.WarpPhys(Line())
    wp.train(model, data, progress=False)
    empty = data.isel(trajectory=[0]).copy(deep=True)
    empty["observed"][:] = np.nan
    found = wp.estimate(model, empty, progress=False)
    truth = data["true_parameters"].values
    np.testing.assert_allclose(found["parameters"][0, -1], truth.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(
        found["unknowns_covariance"][0, -1, :3, :3], np.cov(truth.T), rtol=1e-8, atol=1e-10
    )


def test_priors_win_over_what_was_learned() -> None:
    data = lotka_volterra(100)
    given = {
        name: log_normal(median, 0.1)
        for name, median in {
            "alpha": 0.5,
            "beta": 0.02,
            "gamma": 0.6,
            "delta": 0.03,
            "prey(0)": 9.0,
            "predator(0)": 8.0,
            "noise_sd": 0.3,
        }.items()
    }
    empty = data.isel(trajectory=[0]).copy(deep=True)
    empty["observed"][:] = np.nan
    one = wp.WarpPhys("lotka_volterra", priors={"alpha": given["alpha"]})
    wp.train(one, data, progress=False)
    found = wp.estimate(one, empty, progress=False)["parameters"][0, -1]
    mean = np.exp(np.log(data["true_parameters"]).mean("trajectory"))
    np.testing.assert_allclose(found, [0.5, *mean[1:]], rtol=1e-3)
    every = wp.WarpPhys("lotka_volterra", priors=given)
    wp.train(every, data, progress=False)
    found = wp.estimate(every, empty, progress=False)
    np.testing.assert_allclose(found["parameters"][0, -1], [0.5, 0.02, 0.6, 0.03], rtol=1e-3)
    np.testing.assert_allclose(found["noise_sd"][0, -1], 0.3, rtol=1e-3)


def test_parameters_that_move_together_are_estimated_together() -> None:
    truth = lotka_volterra(60)["true_parameters"].values.copy()
    truth[:, 2] = 2.0 * truth[:, 0]
    data = lotka_volterra(60, parameters=truth)
    model = wp.WarpPhys("lotka_volterra")
    wp.train(model, data, progress=False)
    assert (torch.linalg.eigvalsh(learned(model).covariance) > 0.0).all()
    found = wp.estimate(model, data.isel(trajectory=slice(0, 5)), progress=False)
    ratio = found["parameters"][:, -1].sel(parameter="gamma") / found["parameters"][:, -1, 0]
    assert (abs(ratio / 2.0 - 1.0) < 0.01).all()


def test_mistakes_are_named() -> None:
    model = wp.WarpPhys("lotka_volterra")
    with pytest.raises(UsageError, match="at least 30 records for the covariance of 6 unknowns"):
        wp.train(model, lotka_volterra(20), progress=False)
    with pytest.raises(UsageError, match="no 'true_parameters'"):
        wp.train(model, lotka_volterra(60).drop_vars("true_parameters"), progress=False)
    same = lotka_volterra(
        60,
        parameters={"alpha": 0.7, "beta": 0.05, "gamma": 0.7, "delta": 0.05},
        initial_states={"prey": 12.0, "predator": 9.0},
    )
    with pytest.raises(UsageError, match="no parameter of lotka_volterra varies"):
        wp.train(model, same, progress=False)
    with pytest.raises(UsageError, match="expected no steps with head='information'"):
        wp.train(model, lotka_volterra(60), steps=10, progress=False)
    counts = lotka_volterra(60, noise=0.0, distribution=Poisson())
    with pytest.raises(UsageError, match="got Poisson noise"):
        wp.train(model, counts, progress=False)
    # A model with a noise of its own does not take that of the data set.
    wp.train(wp.WarpPhys("lotka_volterra", distribution="normal"), counts, progress=False)


def test_a_file_holds_the_prior_to_the_last_bit(tmp_path: Path) -> None:
    data = lotka_volterra(80)
    model = wp.WarpPhys("lotka_volterra", priors={"beta": (0.01, 0.2)}, loss="huber")
    wp.train(model, data, progress=False)
    model.save(tmp_path / "model.safetensors")
    again = wp.WarpPhys.load(tmp_path / "model.safetensors")
    assert torch.equal(learned(again).covariance, learned(model).covariance)
    assert learned(again).levels == learned(model).levels
    one, other = (
        wp.estimate(each, data.isel(trajectory=slice(0, 3)), progress=False)
        for each in (model, again)
    )
    for name in one.data_vars:
        assert one[name].equals(other[name]), name
