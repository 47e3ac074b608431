"""Where to linearize a record: a few damped Gauss-Newton steps from several candidates."""

from __future__ import annotations

from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.levenberg_marquardt import minimize
from warp_phys.minimizing.optimum import Options
from warp_phys.models.information.marks.objective import Objective
from warp_phys.models.information.prior.prior import Prior

# Steps at most, and the step in standard deviations of the unknowns below which one more would
# change nothing: the estimate itself is another Gauss-Newton step.
_STEPS, _CLOSE = 25, 0.1
# Relative step below which one more would change nothing, however small the standard deviations.
_EXACT = 1e-9


def settle(
    problem: FitProblem, prior: Prior, candidates: Tensor, samples: int, log_level: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the coordinates (C, N, D) that each candidate reached, and their objectives (C, N).

    No step of the minimizer raises the objective, which is minus the log posterior of the first
    samples, so that the best of the candidates is never worse than where they began.

    Args:
        problem: N records.
        prior: The prior.
        candidates: (C, N, D), coordinates.
        samples: How many samples of each record count.
        log_level: (N, O), logarithms of the noise levels.
    """
    tries, count, _ = candidates.shape
    objective = Objective(problem, prior, log_level, samples, lanes=tries)
    values = samples * log_level.shape[1]
    found = minimize(
        objective.minimizer,
        candidates.flatten(0, 1),
        # A step counts as short by its length in standard deviations: relative to an unknown it may
        # be short and yet many of them.
        Options(_EXACT, _STEPS, near=_CLOSE / values**0.5),
        anchor=objective.anchor,
    )
    reached = found.objective.nan_to_num(float("inf"), float("inf"))
    return found.z.view(candidates.shape), reached.view(tries, count)
