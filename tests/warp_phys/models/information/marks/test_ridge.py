"""Moments of a bent posterior of two unknowns, against sums over a dense grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import warp_phys as wp
from tests.warp_phys.models.information.decay import (
    LEVEL,
    PRIORS,
    Decay,
    decays,
    quadrature,
    stated,
)
from warp_phys.models.information.marks.bent import longest_direction
from warp_phys.models.information.marks.objective import Objective
from warp_phys.models.information.marks.ridge import ridge_moments
from warp_phys.models.information.marks.settle import settle

COUNT, SAMPLES = 8, 4


def test_moments_are_those_of_quadrature() -> None:
    data = decays(COUNT, SAMPLES, seed=2)
    problem, prior = stated(data)
    level = torch.zeros(COUNT, 1, dtype=torch.float64)
    starts = prior.mean.expand(1, COUNT, -1)
    for _ in range(3):
        starts, _ = settle(problem, prior, starts, SAMPLES, level)
    objective = Objective(problem, prior, level, SAMPLES, lanes=1)
    objective.values(starts, sensitivities=True)
    information, vector = objective.equations(starts)
    covariance = torch.linalg.inv(information[0])
    optimum = starts[0] + (covariance @ vector[0].unsqueeze(2)).squeeze(2)
    direction = longest_direction(prior, covariance)[:2]
    mean, spread, fine = ridge_moments(problem, prior, optimum, direction, level, SAMPLES)
    assert fine.all()
    assert (torch.linalg.eigvalsh(spread) > 0.0).all()
    for row in range(COUNT):
        exact, variance = quadrature(data["time"].values, data["observed"].values[row, :, 0])
        deviation = np.sqrt(np.diag(variance))

        def off(mean: Tensor, spread: Tensor) -> tuple[float, float]:
            """Return the largest errors of mean and standard deviation, in true deviations."""
            away = (mean.numpy() - exact) / deviation  # noqa: B023 (called at once)
            ratio = spread.diagonal().sqrt().numpy() / deviation  # noqa: B023
            return abs(away).max(), abs(ratio - 1.0).max()

        # The tails beyond three deviations of the normal approximation are cut off.
        found = off(mean[row], spread[row])
        assert found[0] < 0.2
        assert found[1] < 0.17
        normal = off(optimum[row], covariance[row])
        assert found[0] < 0.55 * normal[0]
        assert found[1] < 0.8 * normal[1]


@pytest.mark.parametrize("samples", [4, 8])
def test_estimates_are_near_the_mean_of_the_posterior(samples: int) -> None:
    data = decays(20, samples, seed=3)
    model = wp.WarpPhys(Decay(), priors=PRIORS, noise_sd={"x": LEVEL})
    found = wp.estimate(model, data, progress=False).isel(time=-1)
    away, ratio = [], []
    for row in range(20):
        observed = data["observed"].values[row, :, 0]
        exact, variance = quadrature(data["time"].values, observed)
        deviation = np.sqrt(np.diag(variance))
        away.append((found["unknowns"].values[row] - exact) / deviation)
        own = np.sqrt(np.diag(found["unknowns_covariance"].values[row]))
        ratio.append(own / deviation)
    assert (abs(np.array(away)) < 0.35).all(), np.abs(away).max(axis=0)
    assert (abs(np.array(ratio) - 1.0) < 0.2).all(), (np.min(ratio), np.max(ratio))
