"""Damped steps from several candidates, on a problem whose objective is written out here."""

from __future__ import annotations

import numpy as np
import torch

from tests.warp_phys.models.information.decay import LEVEL, decays, log_posterior, stated
from warp_phys.models.information.marks.objective import Objective
from warp_phys.models.information.marks.settle import settle

COUNT, SAMPLES = 5, 6


def candidates() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2.0 * torch.randn(7, COUNT, 2, dtype=torch.float64, generator=generator)


def test_the_objective_is_minus_the_log_posterior_of_the_first_samples() -> None:
    data = decays(COUNT, SAMPLES, seed=0)
    problem, prior = stated(data)
    objective = Objective(problem, prior, torch.zeros(COUNT, 1).double(), 4, lanes=7)
    z = candidates()
    times, observed = data["time"].values[:4], data["observed"].values[:, :4, 0]
    for row in range(COUNT):
        expected = -log_posterior(z[:, row].numpy(), times, observed[row])
        np.testing.assert_allclose(objective.values(z)[:, row], expected, rtol=1e-10)


def test_equations_are_its_derivatives() -> None:
    problem, prior = stated(decays(COUNT, SAMPLES, seed=0))
    objective = Objective(problem, prior, torch.zeros(COUNT, 1).double(), SAMPLES, lanes=7)
    z, h = candidates(), 1e-5
    value = objective.values(z, sensitivities=True)
    information, vector = objective.equations(z)
    assert torch.equal(value, objective.values(z))
    assert (torch.linalg.eigvalsh(information) > 0.0).all()
    for place in range(2):
        step = h * torch.eye(2, dtype=torch.float64)[place]
        slope = (objective.values(z + step) - objective.values(z - step)) / (2.0 * h)
        size = vector.abs().amax()
        assert ((slope + vector[..., place]).abs() < 1e-7 * size).all()


def test_no_candidate_ends_worse_than_it_began() -> None:
    data = decays(COUNT, SAMPLES, seed=0)
    problem, prior = stated(data)
    known = torch.zeros(COUNT, 1, dtype=torch.float64)
    z = candidates()
    reached, value = settle(problem, prior, z, SAMPLES, known)
    objective = Objective(problem, prior, known, SAMPLES, lanes=7)
    began, ended = objective.values(z), objective.values(reached)
    assert (value <= began + 1e-9).all()
    # The last step, which is short, is not evaluated: it may only lower the objective.
    assert (ended <= value + 1e-9).all()
    # From somewhere, the optimum was reached, to within a part of a standard deviation.
    times, observed = data["time"].values, data["observed"].values[..., 0]
    line = np.linspace(-4.0, 3.0, 701)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1)
    for row in range(COUNT):
        best = -log_posterior(grid, times, observed[row]).max()
        assert float(value[:, row].min()) < best + 0.1


def test_levels_scale_the_residuals() -> None:
    """A level of residuals already in units of the known one multiplies it."""
    data = decays(COUNT, SAMPLES, seed=0)
    problem, prior = stated(data)
    objective = Objective(
        problem, prior, torch.full((COUNT, 1), np.log(2.0), dtype=torch.float64), SAMPLES, lanes=7
    )
    z = candidates()
    halved = 0.5 * (data["observed"].values[0, :, 0] / LEVEL)
    amplitude, rate = np.exp(z[:, 0].numpy()).T
    model = 0.5 * amplitude[:, None] * np.exp(-rate[:, None] * data["time"].values) / LEVEL
    away = (z[:, 0].numpy() - prior.mean.numpy()) @ np.linalg.cholesky(prior.precision.numpy())
    expected = 0.5 * (np.square(halved - model).sum(1) + np.square(away).sum(1))
    np.testing.assert_allclose(objective.values(z)[:, 0], expected, rtol=1e-9)
