"""Fits of PEtab problems by pyPESTO: its objective on libRoadRunner's CVODE, and SciPy's L-BFGS-B.

Gradients are finite differences, as libRoadRunner gives no sensitivities to pyPESTO.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import petab.v1 as petab
import pypesto
import pypesto.optimize
from pypesto.objective.roadrunner import SolverOptions
from pypesto.petab import PetabImporter


def fits(path: Path, starts: np.ndarray) -> list[float]:
    """Return the log likelihood at the end of each start, NaN where it fails."""
    logging.disable(logging.WARNING)
    source = petab.Problem.from_yaml(str(path))
    petab.flatten_timepoint_specific_output_overrides(source)
    problem = PetabImporter(source, simulator_type="roadrunner").create_problem()
    problem.objective.solver_options = SolverOptions(
        relative_tolerance=1e-8, absolute_tolerance=1e-12, maximum_num_steps=20_000
    )
    fixed = problem.x_fixed_vals
    problem.set_x_guesses(np.array([problem.get_full_vector(start, fixed) for start in starts]))
    with np.errstate(all="ignore"):
        result = pypesto.optimize.minimize(
            problem,
            optimizer=pypesto.optimize.ScipyOptimizer("L-BFGS-B", options={"maxiter": 1000}),
            n_starts=len(starts),
            progress_bar=False,
            filename=None,
        )
    ends = dict(zip(map(int, result.optimize_result.id), result.optimize_result.fval, strict=True))
    values = [-ends.get(number, np.nan) for number in range(len(starts))]
    return [value if np.isfinite(value) else float("nan") for value in values]
