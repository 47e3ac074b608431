"""Standard errors against SciPy's Jacobian, what is undetermined, and whether intervals hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import least_squares

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.fitting.uncertainty.identifiability import undetermined_words
from warp_phys.likelihood.unknown import Unknown
from warp_phys.systems import (
    DampedOscillator,
    MassSpringDamper,
    Output,
    Parameter,
    Pendulum,
    State,
    System,
)

Floats = NDArray[np.float64]
TIMES = np.linspace(0.0, 1.0, 31)
KNOWN = {"position": 1.0, "velocity": 0.0}


def fit(system: System, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.fit(system, data, progress=False, **options)


class Decay(System):
    """Exponential decay in closed form, seen through a gain, beside a parameter without effect."""

    time_unit = "s"
    states = (State("mass", "kg", "positive"),)
    outputs = (Output("signal", "V"),)
    parameters = (
        Parameter("rate", "1/s", "positive", (0.5, 2.0)),
        Parameter("gain", "V/kg", "positive", (0.5, 2.0), fixed=1.0),
        Parameter("idle", "1", "positive", (0.5, 2.0), fixed=1.0),
        Parameter("offset", "V", "real", (-1.0, 1.0), fixed=0.0),
    )
    default_initial_state = {"mass": (1.0, 2.0)}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (-p.rate * y[0],)

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return (y0[0] * torch.exp(-p.rate * t),)

    def observe(self, t: Any, y: Any, p: Any) -> Any:
        return (p.gain * y[0] + p.offset,)


def decays(n: int, noise: float = 0.05) -> xr.Dataset:
    return simulate(Decay(), n, np.linspace(0.0, 3.0, 13), noise={"signal": noise}, seed=4)


def words(fitted: xr.Dataset) -> str:
    return str(fitted["undetermined"].values[0])


class TestStandardErrors:
    def scipy(self, data: xr.Dataset, row: int, sd: float | None) -> tuple[Any, Floats]:
        """Return the optimum and the covariance of rate and initial mass."""
        observed, t = data["observed"].values[row, :, 0], data["time"].values
        best = least_squares(
            lambda q: (q[1] * np.exp(-q[0] * t) - observed) / (1.0 if sd is None else sd),
            [1.0, 1.0],
            jac="cs",
            xtol=1e-15,
            ftol=1e-15,
            gtol=1e-15,
        )
        variance = 2.0 * best.cost / (len(t) - 2) if sd is None else 1.0
        return best, variance * np.linalg.inv(best.jac.T @ best.jac)

    @pytest.mark.parametrize("sd", [None, 0.07])
    def test_are_those_of_least_squares(self, sd: float | None) -> None:
        data = decays(3)
        fitted = fit(Decay(), data, noise_sd="each" if sd is None else {"signal": sd})
        for row in range(3):
            best, covariance = self.scipy(data, row, sd)
            one = fitted.isel(trajectory=row)
            np.testing.assert_allclose(one["covariance"], covariance, rtol=1e-6)
            errors = np.sqrt(covariance.diagonal())
            np.testing.assert_allclose(one["standard_errors"][0], errors[0], rtol=1e-6)
            found = one["initial_state_standard_errors"][0]
            np.testing.assert_allclose(found, errors[1], rtol=1e-6)
            if sd is None:
                level = np.sqrt(2.0 * best.cost / 11)
                np.testing.assert_allclose(one["noise_sd"][0], level, rtol=1e-7)
                assert one["degrees_of_freedom"] == 11

    def test_information_is_on_the_line(self) -> None:
        """Of logarithms, where a parameter is positive."""
        fitted = fit(Decay(), decays(1)).isel(trajectory=0)
        values = np.array([fitted["parameters"][0], fitted["initial_state"][0]])
        logarithms = fitted["covariance"].values / np.outer(values, values)
        np.testing.assert_allclose(
            np.linalg.inv(logarithms), fitted["information"].values, rtol=1e-9
        )

    def test_without_freedom_there_are_none(self) -> None:
        fitted = fit(Decay(), decays(1).isel(time=[0, 6]))
        assert fitted["status"] == 0
        assert np.isnan(fitted["standard_errors"].sel(parameter="rate")).all()
        assert words(fitted) == ""


class TestUndetermined:
    @pytest.fixture(scope="class")
    @classmethod
    def vibration(cls) -> xr.Dataset:
        return simulate(MassSpringDamper(), 2, TIMES, noise=0.02, seed=1)

    def test_mass_stiffness_and_damping(self, vibration: xr.Dataset) -> None:
        fitted = fit(MassSpringDamper(), vibration, initial_state=KNOWN)
        assert (fitted["status"] == 0).all()
        assert words(fitted) == "m, k and c are not determined, only k/m and c/m are"
        assert np.isnan(fitted["standard_errors"]).all()
        assert (fitted["identifiable"] == 0).all()
        ratios = fitted["parameters"] / fitted["parameters"].sel(parameter="m")
        oscillator = fit(DampedOscillator(), vibration[["observed"]], initial_state=KNOWN)[
            "parameters"
        ]
        squared = oscillator.sel(parameter="natural_frequency") ** 2
        np.testing.assert_allclose(ratios.sel(parameter="k"), squared, rtol=1e-6)
        np.testing.assert_allclose(
            ratios.sel(parameter="c"), 2.0 * oscillator.sel(parameter="damping_rate"), rtol=1e-6
        )

    def test_a_known_mass_determines_the_rest(self, vibration: xr.Dataset) -> None:
        mass = vibration["true_parameters"].sel(parameter="m").values
        fitted = fit(MassSpringDamper(), vibration, initial_state=KNOWN, fixed={"m": mass})
        assert words(fitted) == ""
        assert (fitted["identifiable"] == 1).all()
        error = abs(fitted["parameters"] - vibration["true_parameters"])
        assert (error <= 5.0 * fitted["standard_errors"]).all()
        oscillator = fit(DampedOscillator(), vibration[["observed"]], initial_state=KNOWN)
        relative = fitted["standard_errors"] / fitted["parameters"]
        same = 2.0 * oscillator["standard_errors"] / oscillator["parameters"]
        np.testing.assert_allclose(relative[:, 1], same[:, 0], rtol=1e-5)
        np.testing.assert_allclose(relative[:, 2], 0.5 * same[:, 1], rtol=1e-5)

    def test_gravity_and_length(self) -> None:
        system = Pendulum(g=(5.0, 15.0))
        data = simulate(system, 1, np.linspace(0.0, 5.0, 41), noise=0.02, seed=1)
        fitted = fit(system, data)
        assert words(fitted) == "length and g are not determined, only g/length is"
        errors = fitted["standard_errors"][0]
        assert np.isnan(errors.values).tolist() == [True, False, True]
        length, _, gravity = data["true_parameters"].values[0]
        found = fitted["parameters"].values[0]
        np.testing.assert_allclose(found[2] / found[0], gravity / length, rtol=0.02)

    def test_a_product(self) -> None:
        fitted = fit(Decay(gain=None), decays(1))
        assert words(fitted) == "gain and mass(0) are not determined, only mass(0)*gain is"
        product = fitted["parameters"][0, 1] * fitted["initial_state"][0, 0]
        alone = fit(Decay(), decays(1))
        np.testing.assert_allclose(product, alone["initial_state"][0, 0], rtol=1e-6)
        np.testing.assert_allclose(
            fitted["standard_errors"][0, 0], alone["standard_errors"][0, 0], rtol=1e-5
        )

    def test_a_parameter_without_effect(self) -> None:
        fitted = fit(Decay(idle=None), decays(1))
        assert words(fitted) == "idle is not determined"
        assert fitted["identifiable"].values[0].tolist() == [1, 1, 0, 1]
        alone = fit(Decay(), decays(1))
        np.testing.assert_allclose(
            fitted["standard_errors"][0, 0], alone["standard_errors"][0, 0], rtol=1e-6
        )

    def test_on_a_bound(self) -> None:
        fitted = fit(Decay(), decays(1), bounds={"rate": (2.5, 4.0)})
        assert words(fitted) == "rate is at the end of its support"
        assert fitted["on_bound"].values[0].tolist() == [1, 0, 0, 0]
        assert np.isnan(fitted["standard_errors"].sel(parameter="rate")).all()


class TestWords:
    """Directions made by hand, in logarithms where the support is positive."""

    def said(self, supports: str, *columns: list[float], held: str = "") -> str:
        entries = [
            Unknown("parameter", name, "1", place, kind, (0.5, 2.0))
            for place, (name, kind) in enumerate(
                zip("pqr", ({"+": "positive", "0": "real"}[sign] for sign in supports), strict=True)
            )
        ]
        directions = torch.zeros(1, 3, 3, dtype=torch.float64)
        for place, column in enumerate(columns):
            directions[0, :, place] = torch.tensor(column)
        frozen = torch.tensor([[name in held for name in "pqr"]])
        (text,) = undetermined_words(entries, directions, frozen)
        return text

    @pytest.mark.parametrize(
        ("direction", "kept"),
        [
            ([1.0, -1.0, 0.0], "q*p is"),
            ([1.0, 1.0, 0.0], "q/p is"),
            ([1.0, 0.5, 0.0], "q/p^0.5 is"),
            ([0.5, 1.0, 0.0], "q/p^2 is"),
            ([-0.5, 1.0, 0.001], "q*p^2 is"),
            ([1.0, 0.3337, 0.0], "q/p^0.334 is"),
        ],
    )
    def test_two(self, direction: list[float], kept: str) -> None:
        assert self.said("+++", direction) == f"p and q are not determined, only {kept}"

    def test_three(self) -> None:
        said = self.said("+++", [1.0, -0.5, 0.25])
        assert said == "p, q and r are not determined, only q*p^0.5 and r/p^0.25 are"

    def test_one(self) -> None:
        assert self.said("+++", [0.0, 1.0, 0.0]) == "q is not determined"

    def test_two_directions_are_told_apart(self) -> None:
        """Any two combinations of the directions p alone and q/r."""
        said = self.said("+++", [1.0, 0.7, 0.7], [-0.4, 1.0, 1.0])
        assert said == "p is not determined; q and r are not determined, only r/q is"

    def test_real_ones_change_by_steps(self) -> None:
        said = self.said("+0+", [0.5, 1.0, 0.0])
        expected = "p and q are not determined: +0.5 in p, +1 in q together change nothing"
        assert said == expected

    def test_nothing(self) -> None:
        assert self.said("+0+") == ""

    def test_at_the_end(self) -> None:
        said = self.said("+++", [1.0, 1.0, 0.0], held="r")
        assert said.startswith("r is at the end of its support; p and q are not determined")


@pytest.mark.parametrize("known", [True, False])
def test_intervals_hold_the_truth(known: bool) -> None:
    """In 95 of 100 records, up to three standard deviations of 400."""
    data = decays(400)
    fitted = fit(Decay(), data, noise_sd={"signal": 0.05} if known else "each", starts=1)
    for prefix, truth in (
        ("parameters", data["true_parameters"].sel(parameter="rate")),
        ("initial_state", data["true_initial_state"].sel(state="mass")),
    ):
        at = {"parameter": "rate"} if prefix == "parameters" else {"state": "mass"}
        lower, upper = (fitted[f"{prefix}_{end}"].sel(at) for end in ("lower", "upper"))
        covered = float(((lower <= truth) & (truth <= upper)).mean())
        assert 0.92 <= covered <= 0.98, prefix
