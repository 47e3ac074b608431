"""Points of the prior at which records are linearized; states that are observed as observed."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.starting_points import from_observed_states
from warp_phys.models.information.prior.prior import Prior

# How many points of the prior are tried.
_POINTS = 4


def prior_mean(problem: FitProblem, prior: Prior, samples: int | None = None) -> Tensor:
    """Return the mean (N, D) of the prior, with states as observed in the first samples.

    Args:
        problem: N records.
        prior: The prior.
        samples: How many samples of each record count; None for all.
    """
    return from_observed_states(problem, prior.mean, samples)


def prior_points(
    problem: FitProblem, prior: Prior, samples: int | None = None, *, seed: int
) -> Tensor:
    """Return points (C, N, D) of a Sobol sequence, spread as the prior; other arguments as above.

    The points are the same for every record, so that none depends on its batch.
    """
    engine = torch.quasirandom.SobolEngine(len(prior.mean), scramble=True, seed=seed)
    # A quantile at 0 or 1 would be infinite.
    uniform = engine.draw(_POINTS, dtype=torch.float64).clamp(1e-9, 1.0 - 1e-9)
    root = torch.linalg.cholesky(prior.covariance())
    points = prior.mean + torch.special.ndtri(uniform) @ root.mT
    return from_observed_states(problem, points.unsqueeze(1), samples)
