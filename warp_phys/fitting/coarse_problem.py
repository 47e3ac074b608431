"""The problem of a fit with coarse integration, which is enough to find where its optima are."""

from __future__ import annotations

from dataclasses import replace

from warp_phys.likelihood.noise_levels import NoiseLevels
from warp_phys.likelihood.problem import FitProblem

# Relative tolerance of the integration.
_RTOL = 1e-5
# Residuals of this share of the data are errors of the integration; in units of the floor of exact
# levels, 1e-9, whose square is a mean square.
_FLOOR = (1e-4 / 1e-9) ** 2
# Steps after which an integration is abandoned, for each sample: coarse, at full tolerance, and for
# profiles, which run off along what the data leave open more often.
_COARSE_STEPS, EXACT_STEPS, PROFILE_STEPS = 10, 80, 40


def coarse(problem: FitProblem) -> FitProblem:
    """Return the problem with coarser tolerances, which suffice far from the optimum.

    A trajectory that needs so many steps that it delays the others is abandoned.
    """
    return replace(
        problem,
        rtol=max(problem.rtol, _RTOL),
        max_steps=min(problem.max_steps, _steps(problem, _COARSE_STEPS)),
    )


def coarse_levels(levels: NoiseLevels) -> NoiseLevels:
    """Return noise levels for which errors of the coarse integration count as zero."""
    return replace(levels, floor=levels.floor * _FLOOR)


def bounded(problem: FitProblem, for_each: int) -> FitProblem:
    """Return the problem with fewer steps, of which an integration that is not stiff takes less.

    A rate that the data leave open runs off towards infinity, and explicit steps get ever shorter
    with it.
    """
    return replace(problem, max_steps=min(problem.max_steps, _steps(problem, for_each)))


def _steps(problem: FitProblem, for_each: int) -> int:
    length = problem.on_fine_grid().records.times.shape[1]
    return int(for_each * (length + 100))
