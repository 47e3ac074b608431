"""The Cramer-Rao bounds and the filter that estimates are measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from benchmarks._accuracy import Outputs, fisher_information, standard_deviations
from benchmarks._unconstrained import unknowns_of
from benchmarks._unscented_filter import filter_records
from warp_phys.data_gen import normal, simulate
from warp_phys.systems import Parameter, State, System

TIMES = np.array([0.0, 0.5, 1.0, 2.0, 3.5])
PRIORS = {"rate": normal(0.5, 0.3), "position(0)": normal(1.0, 0.2)}
NOISE = 0.1


class SteadyMotion(System):
    """Motion at a constant rate, x' = rate: outputs are linear in rate and initial position."""

    states = (State("position", "m"),)
    parameters = (Parameter("rate", "m/s", range=(-1.0, 2.0)),)
    time_unit = "s"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (p.rate + 0.0 * y[0],)


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Records with gaps."""
    return simulate(
        SteadyMotion(),
        n=20,
        times=TIMES,
        parameters={"rate": PRIORS["rate"]},
        initial_states={"position": PRIORS["position(0)"]},
        noise={"position": NOISE},
        missing=0.3,
        seed=0,
    )


def linear_information(data: xr.Dataset, samples: int) -> np.ndarray:
    """Return X^T X / sigma^2 (N, 2, 2) of rate and initial position over the measured samples."""
    rows = np.stack([TIMES, np.ones_like(TIMES)], axis=1)[:samples]
    seen = np.isfinite(data["observed"].values[:, :samples, 0]).astype(float)
    return np.einsum("nt,ta,tb->nab", seen, rows, rows) / NOISE**2


@pytest.mark.parametrize("samples", [3, 5])
def test_bounds_of_a_line(data: xr.Dataset, samples: int) -> None:
    information = fisher_information(Outputs(SteadyMotion(), data).differences(), data, samples)
    expected = linear_information(data, samples)
    np.testing.assert_allclose(information.numpy(), expected, rtol=1e-7, atol=1e-7)
    enough = np.isfinite(data["observed"].values[:, :samples, 0]).sum(axis=1) >= 2
    bounds = standard_deviations(information)
    diagonal = np.linalg.inv(expected[enough]).diagonal(axis1=1, axis2=2)
    np.testing.assert_allclose(bounds[enough], np.sqrt(diagonal), rtol=1e-6)
    assert enough.any()


def test_without_information_bounds_are_infinite() -> None:
    assert np.isinf(standard_deviations(torch.zeros(2, 3, 3, dtype=torch.float64))).all()


@pytest.mark.parametrize("walk", [0.0, 0.2])
def test_filter_of_a_line_is_exact(data: xr.Dataset, walk: float) -> None:
    system = SteadyMotion()
    unknowns = unknowns_of(system, PRIORS, physical_states=True)
    found = filter_records(unknowns, data, walk={"rate": walk})
    means, sds = exact_filter(data, unknowns.mean.numpy(), unknowns.sd.numpy(), walk)
    np.testing.assert_allclose(found.mean[..., 0].numpy(), means, atol=1e-8)
    np.testing.assert_allclose(found.sd[..., 0].numpy(), sds, rtol=1e-7)


def exact_filter(
    data: xr.Dataset, mean: np.ndarray, sd: np.ndarray, walk: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation (N, T) of the rate by the linear Kalman filter."""
    observed = data["observed"].values[..., 0]
    means, sds = np.empty_like(observed), np.empty_like(observed)
    for row, values in enumerate(observed):
        m, P = mean.copy(), np.diag(sd**2)
        for sample, value in enumerate(values):
            if sample:
                step = TIMES[sample] - TIMES[sample - 1]
                F = np.array([[1.0, 0.0], [step, 1.0]])
                m, P = F @ m, F @ P @ F.T + np.diag([walk**2 * step, 0.0])
            if np.isfinite(value):
                gain = P[:, 1] / (P[1, 1] + NOISE**2)
                m, P = m + gain * (value - m[1]), P - np.outer(gain, P[1])
            means[row, sample], sds[row, sample] = m[0], np.sqrt(P[0, 0])
    return means, sds


def test_filter_agrees_with_regression(data: xr.Dataset) -> None:
    """Its last estimate of a constant rate is that of Bayesian linear regression."""
    unknowns = unknowns_of(SteadyMotion(), PRIORS, physical_states=True)
    found = filter_records(unknowns, data)
    precision = np.diag(unknowns.sd.numpy() ** -2.0)
    total = linear_information(data, len(TIMES)) + precision
    rows = np.stack([TIMES, np.ones_like(TIMES)], axis=1)
    values = np.nan_to_num(data["observed"].values[..., 0])
    right = values @ rows / NOISE**2 + precision @ unknowns.mean.numpy()
    expected = np.linalg.solve(total, right[..., None])[:, 0, 0]
    np.testing.assert_allclose(found.mean[:, -1, 0].numpy(), expected, atol=1e-8)
    variances = np.linalg.inv(total)[:, 0, 0]
    np.testing.assert_allclose(found.sd[:, -1, 0].numpy(), np.sqrt(variances), rtol=1e-7)
