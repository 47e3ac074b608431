"""Fits with priors: the maximum of the posterior density, against SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy import optimize, stats
from torch.distributions import Gamma, LogNormal, Normal

import warp_phys as wp
from warp_phys.data_gen import log_normal, simulate, truncated_normal
from warp_phys.systems.errors import UnknownNameError, UsageError

TIMES = np.linspace(0.0, 6.0, 13)
PRIORS: dict[str, Any] = {
    "growth": truncated_normal(1.0, 0.1),
    "capacity": log_normal(50.0, 0.1),
    "population(0)": stats.gamma(3.0, scale=1.0),
    "noise_sd": log_normal(2.0, 0.3),
}


def records(n: int = 2, **more: Any) -> xr.Dataset:
    return simulate(
        "logistic_growth",
        n=n,
        times=TIMES,
        parameters={"growth": 1.2, "capacity": 60.0},
        initial_states={"population": (3.0, 3.001)},
        noise={"population": 2.0},
        seed=0,
        **more,
    )


def curve(growth: float, capacity: float, start: float) -> Any:
    return capacity / (1.0 + (capacity / start - 1.0) * np.exp(-growth * TIMES))


def unknowns_of(fitted: xr.Dataset, row: int) -> Any:
    one = fitted.isel(trajectory=row)
    parts = [one["parameters"], one["initial_state"], one["noise_parameters"]]
    return np.concatenate([part.values for part in parts])


def test_the_fit_maximizes_the_posterior_density() -> None:
    data = records()
    fitted = wp.fit("logistic_growth", data, priors=PRIORS, progress=False)
    assert (fitted["status"] == 0).all()
    names = ["growth", "capacity", "population(0)", "noise_sd"]
    for row in range(2):
        y = data["observed"].values[row, :, 0]

        def loss(line: Any, y: Any = y) -> float:
            theta = np.exp(line)
            prior = sum(PRIORS[name].logpdf(x) for name, x in zip(names, theta, strict=True))
            return -float(stats.norm.logpdf(y, curve(*theta[:3]), theta[3]).sum() + prior)

        found = np.log(unknowns_of(fitted, row))
        reached = float(fitted["log_likelihood"][row] + fitted["log_prior"][row])
        np.testing.assert_allclose(reached, -loss(found), rtol=1e-10)
        best = optimize.minimize(loss, found + 0.05, method="BFGS", options={"gtol": 1e-8})
        assert -best.fun <= reached + 1e-9
        np.testing.assert_allclose(found, best.x, rtol=1e-6)
    assert float(abs(fitted["gradient"]).max()) < 1e-5


def test_the_curvature_of_a_prior_adds_to_the_information() -> None:
    data = records(1)
    plain = {"population(0)": (1.0, 10.0), "capacity": (20.0, 200.0)}
    loose = wp.fit("logistic_growth", data, priors=plain, progress=False)
    sure = wp.fit(
        "logistic_growth", data, priors=plain | {"growth": log_normal(1.2, 0.01)}, progress=False
    )
    at = sure["estimated"].values.tolist().index("growth")
    change = (sure["information"] - loose["information"]).values[0, at, at]
    np.testing.assert_allclose(change, 1e4, rtol=0.1)
    error = float(sure["standard_errors"].sel(parameter="growth")[0])
    assert 0.8 < error / 0.012 < 1.01


def test_priors_of_torch_and_a_joint_one_are_the_same() -> None:
    data = records(1)
    single = {
        "growth": Normal(torch.tensor(1.0).double(), torch.tensor(0.1).double()),
        "capacity": LogNormal(torch.tensor(4.0).double(), torch.tensor(0.1).double()),
        "population(0)": Gamma(torch.tensor(3.0).double(), torch.tensor(1.0).double()),
        "noise_sd": LogNormal(torch.tensor(0.5).double(), torch.tensor(0.3).double()),
    }

    def joint(values: Any) -> torch.Tensor:
        level = values["noise_sd(population)"]
        parts = [single[name].log_prob(values[name]) for name in single if name in values]
        return sum(parts) + single["noise_sd"].log_prob(level)  # type: ignore[return-value, no-any-return]

    state = torch.random.get_rng_state()
    one = wp.fit("logistic_growth", data, priors=single, progress=False)
    assert torch.equal(state, torch.random.get_rng_state())
    other = wp.fit("logistic_growth", data, priors=joint, progress=False)
    np.testing.assert_allclose(unknowns_of(one, 0), unknowns_of(other, 0), rtol=1e-6)
    np.testing.assert_allclose(one["log_prior"], other["log_prior"], rtol=1e-6)
    np.testing.assert_allclose(one["information"], other["information"], rtol=1e-4, atol=1e-4)
    assert "maximum a posteriori (a joint prior)" in wp.summary(other, 0)


def test_a_shared_unknown_has_its_prior_once() -> None:
    data = records(6)
    prior = {"growth": log_normal(1.5, 0.02)}
    fitted = wp.fit("logistic_growth", data, shared=["growth"], priors=prior, progress=False)
    assert (fitted["status"] == 0).all()
    growth = float(fitted["parameters"].sel(parameter="growth")[0])
    np.testing.assert_allclose(fitted["log_prior"].sum(), prior["growth"].logpdf(growth), rtol=1e-9)
    gradient = fitted["gradient"].sel(estimated="growth").values
    assert abs(gradient).max() < 1e-3


def test_priors_make_up_for_missing_values() -> None:
    data = records(2).isel(time=slice(0, 2))
    alone = wp.fit("logistic_growth", data, progress=False)
    assert (alone["status"] == 4).all()
    fitted = wp.fit("logistic_growth", data, priors=PRIORS, progress=False)
    assert (fitted["status"] == 0).all()
    growth = fitted["parameters"].sel(parameter="growth")
    assert (abs(growth - 1.0) < 0.15).all()
    assert (fitted["standard_errors"].sel(parameter="growth") < 0.11).all()


@pytest.mark.long
def test_with_counts_and_their_dispersion() -> None:
    data = simulate(
        "sir", n=2, times=np.arange(15.0), observe=["infected"], distribution="poisson", seed=0
    )
    fitted = wp.fit(
        "sir",
        data,
        distribution="negative_binomial",
        priors={"dispersion": log_normal(0.1, 0.2), "recovery": (0.1, 2.0)},
        progress=False,
    )
    assert (fitted["status"] == 0).all()
    assert (abs(fitted["noise_parameters"] / 0.1 - 1.0) < 0.5).all()
    text = wp.summary(fitted, 0)
    assert "maximum a posteriori (priors of dispersion, recovery)" in text
    assert "dispersion(infected)" in text
    assert "Akaike" not in text


def test_a_fit_ends_at_the_end_of_a_range() -> None:
    fitted = wp.fit("logistic_growth", records(1), priors={"growth": (0.5, 0.8)}, progress=False)
    assert int(fitted["status"][0]) == 0
    assert int(fitted["on_bound"].sel(parameter="growth")[0]) == 1


@pytest.mark.parametrize(
    ("priors", "error", "text"),
    [
        ({"grow": (0.5, 0.8)}, UnknownNameError, "did you mean 'growth'"),
        ({"growth": 1.0}, UsageError, r"priors\['growth'\] as a distribution, such as"),
        ({"growth": (2.0, 1.0)}, UsageError, "low < high"),
        ({"growth": (-2.0, -1.0)}, UsageError, "leaves no value of the support"),
        ({"growth": Normal(torch.zeros(2), 1.0)}, UsageError, "got 2 of them"),
        (3.0, UsageError, "priors as a mapping from name to distribution, or a function"),
        (
            lambda values: values["growth"].sum(),
            UsageError,
            r"log density of each trajectory, \(2,\)",
        ),
    ],
)
def test_priors_that_make_no_sense(priors: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        wp.fit("logistic_growth", records(1), priors=priors, progress=False)


def test_a_known_quantity_has_no_prior() -> None:
    with pytest.raises(UsageError, match=r"priors\['growth'\] is of a quantity that is known"):
        wp.fit(
            "logistic_growth",
            records(1),
            fixed={"growth": 1.2},
            priors={"growth": (0.5, 2.0)},
            progress=False,
        )


def test_the_same_distributions_in_simulate_and_models() -> None:
    prior = LogNormal(torch.tensor(0.1).double(), torch.tensor(0.2).double())
    drawn = simulate("logistic_growth", n=200, times=TIMES, parameters={"growth": prior}, seed=0)
    growth = np.log(drawn["true_parameters"].sel(parameter="growth"))
    assert stats.kstest(growth, stats.norm(0.1, 0.2).cdf).pvalue > 1e-3
    wp.WarpPhys("logistic_growth", priors={"growth": prior})
    with pytest.raises(UsageError, match="torch knows no quantiles of Gamma"):
        simulate(
            "logistic_growth", n=2, times=TIMES, parameters={"growth": Gamma(1.0, 1.0)}, seed=0
        )
