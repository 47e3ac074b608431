"""Fits of published records, each from the middle of the ranges, against the published answers.

Every figure was checked by Gauss-Newton with variational equations (SciPy DOP853 at 1e-13) or the
closed form; where a figure circulates with a wrong last digit, the checked one stands here.
"""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.published_systems import BoxBOD, GasOil, Theophylline
from warp_phys.systems import SIR, LotkaVolterra

TESTS = Path(__file__).parents[2]
EXAMPLES = TESTS.parent / "examples"


def read(name: str, folder: Path = TESTS) -> xr.Dataset:
    return wp.read_trajectories(folder / "data" / f"{name}.csv")


def row(fitted: xr.Dataset, name: str) -> list[float]:
    """Return the values of one variable for the only trajectory."""
    return np.atleast_1d(fitted[name].values[0]).tolist()


def prints(values: Iterable[float], expected: str) -> None:
    """Assert that values, rounded to as many digits, are the printed ones."""
    texts = expected.split()
    found = [
        f"{Decimal(value).quantize(Decimal(text)):f}"
        for value, text in zip(values, texts, strict=True)
    ]
    assert found == texts


def without_correction(fitted: xr.Dataset, samples: int, estimated: int) -> np.ndarray:
    """Return the maximum likelihood levels behind residual standard errors."""
    sd: np.ndarray = fitted["noise_sd"].values[0]
    return sd * np.sqrt((samples - estimated) / samples)


class TestHudsonBayLogNormal:
    """Hares and lynxes with log-normal noise, a level each: maximum likelihood."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return wp.fit(
            LotkaVolterra(), read("hudson_bay", EXAMPLES), distribution="lognormal", progress=False
        )

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "parameters"), "0.5400 0.02716 0.7966 0.02370")

    def test_initial_state(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "initial_state"), "34.60 5.844")

    def test_noise(self, fitted: xr.Dataset) -> None:
        prints(without_correction(fitted, samples=42, estimated=6), "0.2184 0.2201")


class TestHudsonBayLeastSquares:
    """The same counts by plain least squares: the noise model moves gamma by 16 %."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return wp.fit(
            LotkaVolterra(), read("hudson_bay", EXAMPLES), noise_sd="common", progress=False
        )

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "parameters"), "0.48120 0.024832 0.92602 0.027533")

    def test_initial_state(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "initial_state"), "34.914 3.862")

    def test_sum_of_squares(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "sum_of_squares"), "594.745")


class TestInfluenza:
    """Boys in bed at a boarding school: one output of two, initial state known a day before."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return wp.fit(
            SIR(population=763.0),
            read("school_influenza_1978"),
            initial_state={"susceptible": 762.0, "infected": 1.0},
            initial_time=0.0,
            progress=False,
        )

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters(self, fitted: xr.Dataset) -> None:
        transmission, recovery, population = row(fitted, "parameters")
        prints([transmission, recovery, transmission / recovery], "1.6692 0.44345 3.76")
        assert population == 763.0

    def test_standard_errors(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "standard_errors")[:2], "0.0257 0.0156")

    def test_sum_of_squares(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "sum_of_squares"), "4121.94")


class TestGasOil:
    """COPS 3.0: the first of the 21 samples is the initial state by convention, no measurement."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return wp.fit(
            GasOil(),
            read("gas_oil", EXAMPLES),
            initial_state="first_sample",
            noise_sd="common",
            progress=False,
        )

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "parameters"), "11.8467 8.3445 1.0014")

    def test_standard_errors(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "standard_errors"), "0.335 0.316 0.359")

    def test_sum_of_squares(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "sum_of_squares"), "0.00523660")


class TestTheophylline:
    """R's SSfol: at time 0 the model says 0, 0.74 was measured, and that sample counts."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return wp.fit(
            Theophylline(),
            read("theophylline_subject_1"),
            initial_state={"gut": 4.02, "concentration": 0.0},
            progress=False,
        )

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters_and_their_errors(self, fitted: xr.Dataset) -> None:
        # Absorption and elimination may change places; the slower one is named elimination.
        values, errors = (
            np.array(row(fitted, "parameters")),
            np.array(row(fitted, "standard_errors")),
        )
        order = [*np.argsort(values[:2]), 2]
        prints(values[order], "-2.9196 0.5752 -3.9159")
        prints(errors[order], "0.1709 0.1728 0.1273")

    def test_residual_standard_error(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "noise_sd"), "0.732")


def fit_box_bod(**options: Any) -> xr.Dataset:
    return wp.fit(
        BoxBOD(),
        read("boxbod"),
        initial_state={"oxygen_demand": 0.0},
        initial_time=0.0,
        progress=False,
        **options,
    )


class TestBoxBOD:
    """NIST StRD: certified to eleven digits, all of which come out where they are asked for."""

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls) -> xr.Dataset:
        return fit_box_bod(rtol=1e-12, tolerance=1e-12)

    def test_converged(self, fitted: xr.Dataset) -> None:
        assert row(fitted, "status") == [0]

    def test_parameters(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "parameters"), "213.80940889 0.54723748542")

    def test_standard_errors(self, fitted: xr.Dataset) -> None:
        np.testing.assert_allclose(
            row(fitted, "standard_errors"), [12.354515176, 0.10455993237], rtol=1e-9
        )

    def test_sum_of_squares(self, fitted: xr.Dataset) -> None:
        prints(row(fitted, "sum_of_squares"), "1168.0088766")

    def test_eight_digits_by_default(self) -> None:
        found = row(fit_box_bod(), "parameters")
        np.testing.assert_allclose(found, [213.80940889, 0.54723748542], rtol=5e-9)
