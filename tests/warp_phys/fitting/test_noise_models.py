"""Fits under every noise model: log likelihood, maximum and standard errors against SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy import optimize, stats

import warp_phys as wp
from tests.warp_phys.fitting.test_increments import TRUTH as EPIDEMIC
from tests.warp_phys.fitting.test_increments import Epidemic, course
from warp_phys.data_gen import simulate
from warp_phys.systems.errors import UsageError
from warp_phys.systems.noise.distributions.additive_proportional import AdditiveProportional
from warp_phys.systems.noise.distributions.binomial import Binomial
from warp_phys.systems.noise.distributions.negative_binomial import NegativeBinomial
from warp_phys.systems.noise.distributions.student_t import StudentT

Floats = NDArray[np.float64]
TIMES = np.linspace(0.0, 6.0, 31)
TRUTH = {"growth": 1.2, "capacity": 60.0}


@dataclass(frozen=True)
class Case:
    """A noise model, with the same log density by SciPy.

    Attributes:
        drawn: The noise that is simulated.
        fitted: The argument of `fit`.
        density: Takes values, predictions and parameters of the noise.
        level: The level in `simulate`.
        own: How many parameters of the noise are unknown.
    """

    drawn: Any
    fitted: Any
    density: Callable[[Floats, Floats, Floats], Floats]
    level: float = 0.0
    own: int = 0


CASES = {
    "poisson": Case("poisson", "poisson", lambda y, f, s: stats.poisson.logpmf(y, f)),
    "negative_binomial": Case(
        NegativeBinomial(0.1),
        "negative_binomial",
        lambda y, f, s: stats.nbinom.logpmf(y, 1.0 / s[0], 1.0 / (1.0 + s[0] * f)),
        own=1,
    ),
    "known_dispersion": Case(
        NegativeBinomial(0.1),
        NegativeBinomial(0.1),
        lambda y, f, s: stats.nbinom.logpmf(y, 10.0, 1.0 / (1.0 + 0.1 * f)),
    ),
    "binomial": Case(
        Binomial(80), Binomial(80), lambda y, f, s: stats.binom.logpmf(y, 80, f / 80.0)
    ),
    "student_t": Case(
        StudentT(3.0),
        StudentT(None),
        lambda y, f, s: stats.t.logpdf(y, s[1], loc=f, scale=s[0]),
        level=1.0,
        own=2,
    ),
    "known_freedom": Case(
        StudentT(4.0),
        "student_t",
        lambda y, f, s: stats.t.logpdf(y, 4.0, loc=f, scale=s[0]),
        level=1.0,
    ),
    "additive_proportional": Case(
        AdditiveProportional(0.1),
        "additive_proportional",
        lambda y, f, s: stats.norm.logpdf(y, f, np.hypot(s[0], s[1] * f)),
        level=3.0,
        own=2,
    ),
}


def data_of(case: Case, n: int = 2) -> xr.Dataset:
    noise: Any = {"population": case.level} if case.level else 0.0
    return simulate(
        "logistic_growth",
        n=n,
        times=TIMES,
        parameters=TRUTH,
        initial_states={"population": (3.0, 3.0001)},
        noise=noise,
        distribution=case.drawn,
        seed=4,
    )


def curve(theta: Floats) -> Floats:
    growth, capacity, start = theta[:3]
    return capacity / (1.0 + (capacity / start - 1.0) * np.exp(-growth * TIMES))


def fitted_values(fitted: xr.Dataset, row: int, own: bool) -> Floats:
    one = fitted.isel(trajectory=row)
    names = [*TRUTH]
    parts = [one["parameters"].sel(parameter=names).values, one["initial_state"].values]
    if own and "noise_parameters" in one:
        parts.append(one["noise_parameters"].values)
    elif np.isfinite(one["noise_sd"].values).all():
        parts.append(one["noise_sd"].values)
    return np.concatenate(parts)


@pytest.mark.parametrize("name", CASES)
def test_likelihood_and_maximum_are_those_of_scipy(name: str) -> None:
    case = CASES[name]
    data = data_of(case)
    fitted = wp.fit("logistic_growth", data, distribution=case.fitted, progress=False)
    assert (fitted["status"] == 0).all()
    assert (fitted["misfit"] == 0).all()
    for row in range(2):
        y = data["observed"].values[row, :, 0]

        def loss(line: Floats, y: Floats = y) -> float:
            theta = np.exp(line)
            return -float(case.density(y, curve(theta), theta[3:]).sum())

        found = fitted_values(fitted, row, own=bool(case.own))
        if name == "known_freedom":
            # The level that is reported has n - p degrees of freedom.
            found[3] *= np.sqrt((len(y) - 3) / len(y))
        likelihood = float(fitted["log_likelihood"][row])
        np.testing.assert_allclose(likelihood, -loss(np.log(found)), rtol=1e-6)
        options = {"gtol": 1e-6}
        best = optimize.minimize(loss, np.log(found) + 0.02, method="BFGS", options=options)
        assert -best.fun <= likelihood + 1e-7
        np.testing.assert_allclose(found, np.exp(best.x), rtol=1e-3)


def test_observed_information_is_the_curvature_of_the_likelihood() -> None:
    """The inverse covariance, by differences of SciPy's log density."""
    case = CASES["additive_proportional"]
    data = data_of(case, n=1)
    fitted = wp.fit("logistic_growth", data, distribution=case.fitted, progress=False)
    found, y = fitted_values(fitted, 0, own=True), data["observed"].values[0, :, 0]

    def loss(line: Floats) -> float:
        theta = np.exp(line)
        return -float(case.density(y, curve(theta), theta[3:]).sum())

    at, size = np.log(found), len(found)
    step = 1e-3 * np.eye(size)
    hessian = [
        [
            (loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b)) / 4e-6
            for b in step
        ]
        for a in step
    ]
    # Its level is that of maximum likelihood; n / (n - p) corrects the variances.
    information = fitted["information"].values[0] * len(y) / (len(y) - 3.0)
    # It leaves out the curvature of the curve itself, which residuals average out.
    scale = np.sqrt(np.diag(information))
    np.testing.assert_allclose(
        information / np.outer(scale, scale), hessian / np.outer(scale, scale), atol=0.2
    )
    np.testing.assert_allclose(information[3:, 3:], np.array(hessian)[3:, 3:], rtol=1e-3)


def test_counts_that_scatter_too_much_are_noticed() -> None:
    case = CASES["negative_binomial"]
    data = data_of(case, n=10)
    wrong = wp.fit("logistic_growth", data, distribution="poisson", progress=False)
    assert (wrong["misfit"].values & 2 > 0).mean() > 0.7
    right = wp.fit(
        "logistic_growth", data_of(CASES["poisson"], 10), distribution="poisson", progress=False
    )
    assert (right["misfit"] == 0).all()
    np.testing.assert_allclose(right["reduced_chi_square"].mean(), 1.0, atol=0.2)


@pytest.mark.parametrize(("value", "text"), [(-1.0, "is -1 at"), (2.5, "is 2.5 at")])
def test_impossible_counts_are_named(value: float, text: str) -> None:
    data = data_of(CASES["poisson"], n=3).copy(deep=True)
    data["observed"][1, 4, 0] = value
    fitted = wp.fit("logistic_growth", data, distribution="poisson", progress=False)
    assert fitted["status"].values.tolist() == [0, 5, 0]
    assert text in fitted["failure"].values[1]
    assert "Poisson noise rules out" in fitted["failure"].values[1]


def test_zeros_are_counts() -> None:
    data = data_of(CASES["poisson"]).copy(deep=True)
    data["observed"][:, :5] = 0.0
    assert (
        wp.fit("logistic_growth", data, distribution="poisson", progress=False)["status"] == 0
    ).all()


def test_noise_by_output() -> None:
    models = {"prey": "lognormal", "predator": "poisson"}
    data = simulate(
        "lotka_volterra",
        n=2,
        times=np.arange(21.0),
        noise={"prey": 0.2},
        distribution=models,
        seed=0,
    )  # type: ignore[arg-type]
    counts = data["observed"].sel(output="predator")
    assert (counts == counts.round()).all()
    fitted = wp.fit("lotka_volterra", data, distribution=models, progress=False)  # type: ignore[arg-type]
    assert (fitted["status"] == 0).all()
    y, f = data["observed"].values, fitted["predicted"].values
    s = fitted["noise_sd"].sel(output="prey").values
    wanted = stats.lognorm.logpdf(y[..., 0], s[:, None], scale=f[..., 0]) + stats.poisson.logpmf(
        y[..., 1], f[..., 1]
    )
    np.testing.assert_allclose(fitted["log_likelihood"], wanted.sum(axis=1), rtol=1e-10)
    assert np.isnan(fitted["noise_sd"].sel(output="predator")).all()
    assert "noise of predator  = Poisson" in wp.summary(fitted, 0)
    again = wp.forecast(fitted, times=np.arange(21.0, 23.0))
    band = again["observed_upper"].sel(output="predator")
    assert (band == band.round()).mean() > 0.4


def test_an_output_without_noise_model() -> None:
    data = simulate("lotka_volterra", n=1, times=np.arange(9.0), noise=0.1, seed=0)
    with pytest.raises(UsageError, match="nothing about the output 'predator'"):
        wp.fit("lotka_volterra", data, distribution={"prey": "normal"}, progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["negative_binomial", "additive_proportional"])
def test_unknown_parameters_cannot_be_drawn(name: str) -> None:
    with pytest.raises(UsageError, match=r"is drawn with a known .*\(.*=\.\.\.\)"):
        simulate("logistic_growth", n=1, times=TIMES, distribution=name, noise=0.0, seed=0)


def test_without_a_compiler_the_results_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES["additive_proportional"]
    data = data_of(case, n=1)

    def evaluated() -> xr.Dataset:
        return wp.fit(
            "logistic_growth",
            data,
            distribution=case.fitted,
            initial={"growth": 1.1, "capacity": 58.0, "population": 4.0},
            max_iterations=0,
            progress=False,
        )

    compiled = evaluated()
    monkeypatch.setattr("warp_phys.likelihood.engines.choose.libraries_of", lambda problem: None)
    plain = evaluated()
    for name in ("log_likelihood", "gradient", "predicted"):
        np.testing.assert_allclose(plain[name], compiled[name], rtol=1e-6)


@pytest.mark.long
def test_counts_between_samples_with_a_dispersion() -> None:
    """New cases are increments, whose likelihood is summed up in PyTorch."""
    system = Epidemic()
    rng = np.random.default_rng(0)
    times = np.arange(3.0, 61.0, 3.0)
    expected = course(EPIDEMIC, times)[:, :1]
    counts = rng.negative_binomial(20.0, 20.0 / (20.0 + expected))
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), counts[None].astype(float))},
        {"trajectory": [0], "time": times, "output": ["new_cases"]},
    )
    fitted = wp.fit(
        system,
        data,
        distribution="negative_binomial",
        initial={"contact": 0.6, "recovery": 0.25, "reported": 500.0},
        initial_state={"susceptible": 0.99, "infectious": 0.01, "total": 0.0},
        initial_time=0.0,
        progress=False,
    )
    assert int(fitted["status"][0]) == 0
    y, f = data["observed"].values[0, :, 0], fitted["predicted"].values[0, :, 0]
    alpha = float(fitted["noise_parameters"][0, 0])
    wanted = stats.nbinom.logpmf(y, 1.0 / alpha, 1.0 / (1.0 + alpha * f)).sum()
    np.testing.assert_allclose(fitted["log_likelihood"][0], wanted, rtol=1e-8)
    by_logarithm = fitted["gradient"].values[0, :3] * fitted["parameters"].values[0]
    assert np.abs(by_logarithm).max() < 1e-4
    found = course(fitted["parameters"].values[0], times)[:, 0]
    np.testing.assert_allclose(f, found, rtol=1e-5)


def test_a_fit_continues_from_another_with_its_noise() -> None:
    case = CASES["additive_proportional"]
    data = data_of(case)
    first = wp.fit("logistic_growth", data, distribution=case.fitted, progress=False)
    again = wp.fit(
        "logistic_growth",
        data,
        distribution=case.fitted,
        initial=first,
        max_iterations=0,
        progress=False,
    )
    np.testing.assert_allclose(again["log_likelihood"], first["log_likelihood"], rtol=1e-9)
    np.testing.assert_allclose(again["noise_parameters"], first["noise_parameters"], rtol=1e-9)
    assert float(abs(again["gradient"]).max()) < 1e-3
    alone = wp.fit(
        "logistic_growth",
        data.isel(trajectory=[1]),
        distribution=case.fitted,
        progress=False,
    )
    for name in ("parameters", "noise_parameters", "standard_errors"):
        np.testing.assert_allclose(alone[name][0], first[name][1], rtol=1e-10)


def test_noise_is_given_by_name() -> None:
    case = CASES["negative_binomial"]
    start = {"growth": 1.2, "capacity": 60.0, "population": 3.0, "dispersion(population)": 0.2}
    found = wp.fit(
        "logistic_growth",
        data_of(case),
        distribution=case.fitted,
        initial=start,
        max_iterations=0,
        progress=False,
    )
    np.testing.assert_allclose(found["noise_parameters"], 0.2)
