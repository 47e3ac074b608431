"""Which samples count as values: every measured one, except those taken as the initial state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import curve_fit

from tests.warp_phys.fitting.fit_records import (
    CONVERGED,
    OSCILLATOR,
    TIMES,
    fit,
    oscillations,
    residuals,
)
from tests.warp_phys.fitting.published_systems import Theophylline
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.torch_engine import TorchEngine
from warp_phys.likelihood.noise_levels import noise_levels
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.minimizing.objective import Minimizer
from warp_phys.records.records import read_records

Floats = NDArray[np.float64]
SUBJECTS = pd.read_csv(Path(__file__).parents[2] / "data" / "theophylline.csv")


def concentration(time: Floats, log_ke: float, log_ka: float, log_cl: float, dose: float) -> Floats:
    """Return R's SSfol."""
    ke, ka, cl = np.exp([log_ke, log_ka, log_cl])
    return dose * ke * ka / cl / (ka - ke) * (np.exp(-ke * time) - np.exp(-ka * time))


@pytest.mark.parametrize("subject", range(1, 13))
def test_standard_errors_of_theophylline_are_those_of_least_squares(subject: int) -> None:
    # In most subjects nothing is measured at the time of the dose, which the known initial state
    # predicts exactly: that zero counts in n like any other value.
    record = SUBJECTS[SUBJECTS["subject"] == subject]
    time, values = record["time"].to_numpy(), record["concentration"].to_numpy()
    dose = float(record["dose"].iloc[0])
    best, covariance = curve_fit(
        lambda *a: concentration(*a, dose=dose), time, values, (-2.5, 0.5, -3.2), xtol=1e-14
    )
    fitted = fit(
        Theophylline(),
        xr.Dataset(
            {"observed": (("trajectory", "time", "output"), values.reshape(1, -1, 1))},
            coords={"time": time, "output": ["concentration"]},
        ),
        initial={"lKe": -2.5, "lKa": 0.5, "lCl": -3.2},
        initial_state={"gut": dose, "concentration": 0.0},
    )
    assert (fitted["status"].item(), fitted["value_count"].item()) == (CONVERGED, 11)
    np.testing.assert_allclose(fitted["parameters"][0], best, rtol=1e-3)
    errors = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fitted["standard_errors"][0], errors, rtol=1e-3)


def test_a_first_sample_taken_as_the_initial_state_does_not_count() -> None:
    data = oscillations(2)
    fitted = fit(OSCILLATOR, data, initial_state="first_sample", noise_sd="common")
    assert fitted["value_count"].values.tolist() == [2 * (len(TIMES) - 1)] * 2
    # The same state given as numbers is knowledge from elsewhere, and the sample a measurement.
    first = data["observed"].values[:, 0]
    known = {"position": first[:, 0], "velocity": first[:, 1]}
    other = fit(OSCILLATOR, data, initial_state=known, noise_sd="common")
    assert other["value_count"].values.tolist() == [2 * len(TIMES)] * 2
    np.testing.assert_allclose(other["parameters"], fitted["parameters"], rtol=1e-6)
    total = residuals(data.isel(trajectory=0))([*fitted["parameters"][0].values, *first[0]])
    freedom = 2 * (len(TIMES) - 1) - 2
    np.testing.assert_allclose(
        [fitted["noise_sd"][0, 0], other["noise_sd"][0, 0]],
        np.sqrt(np.square(total).sum() / [freedom, freedom + 2]),
        rtol=1e-6,
    )
    np.testing.assert_allclose(fitted["predicted"][:, 0], first)


def test_what_the_initial_state_of_some_outputs_fixes_counts_too() -> None:
    data = oscillations(2)
    data["observed"][:, 0, 0] = data["true_initial_state"][:, 0]
    fitted = fit(OSCILLATOR, data, initial_state={"position": data["true_initial_state"][:, 0]})
    assert (fitted["value_count"] == 2 * len(TIMES)).all()


def test_both_engines_count_alike() -> None:
    data = oscillations(2)
    data["observed"][0, 0] = [1.0, 0.0]
    usual: dict[str, Any] = {
        "distribution": "normal",
        "loss": "linear",
        "noise_sd": "each",
        "initial_time": None,
        "fixed": None,
        "bounds": None,
        "shared": None,
        "group": None,
        "rtol": 1e-8,
    }
    for state, seen in (({"position": 1.0, "velocity": 0.0}, 31.0), ("first_sample", 30.0)):
        problem = state_problem(
            OSCILLATOR, read_records(data, OSCILLATOR), initial_state=state, **usual
        )
        rows = torch.arange(2)
        for build in (build_engine, TorchEngine):
            engine = build(problem, rows, problem.counts)
            levels = noise_levels(problem, rows, rows)
            minimizer = Minimizer(engine, problem.unknowns, rows, rows, levels)
            minimizer.evaluate(torch.tensor([[2.7, 0.7]] * 2).double(), rows)
            assert (minimizer.sums.counted == seen).all()
