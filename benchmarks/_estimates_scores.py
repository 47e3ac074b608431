r"""Scores of estimates, and their rows in a table.

Where the root mean square of the Cramer-Rao bound of a parameter over the records is below 5 % of
the parameter, errors are in units of the bound of each record. Elsewhere, where the prior rather
than the record says how large a parameter is, errors of unconstrained coordinates are in units of
the bound to which the prior's information is added; these stand in brackets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from benchmarks._estimates_cases import FRACTIONS, Case, Floats
from benchmarks._estimates_ways import LEVEL, Estimates
from benchmarks._unconstrained import unknowns_of

TELLING = 0.05  # of the parameter: bounds below which the record, not the prior, decides
LOST = 0.1  # of the parameter: an error beyond which a record counts as lost
HEADER = (
    "| way | samples | median of worst | over 10 % | RMSE/bound, mean | worst | coverage, mean "
    "| lowest | highest | us |"
)
RULE = "|---" * HEADER.count(" | ") + "|---|"


def print_header(title: str, case: Case) -> None:
    """Print what the rows below are about."""
    error = math.sqrt(LEVEL * (1.0 - LEVEL) / len(case.truth))
    print(
        f"\n{title}: {len(case.truth):,} records; by chance a ratio is off by "
        f"{1.0 / math.sqrt(2.0 * len(case.truth)):.3f}, a coverage by {error:.4f} "
        f"(one standard error)\n\n{HEADER}\n{RULE}"
    )


def print_rows(way: str, case: Case, found: Estimates) -> None:
    """Print a row for each beginning that was estimated."""
    for place in range(len(FRACTIONS)):
        if np.isfinite(found.values[place]).any():
            cells = [way, str(case.beginnings[place]), *_scores(case, found, place)]
            print(f"| {' | '.join(cells)} |", flush=True)


def _scores(case: Case, found: Estimates, place: int) -> list[str]:
    values, truth = found.values[place], case.truth
    worst = np.abs(values / truth - 1.0).max(axis=1)
    lost = ~(worst <= LOST)  # an estimate that failed is lost, too
    inside = covered(truth, found.lower[place], found.upper[place])
    return [
        f"{np.nanmedian(worst):.2%}",
        f"{lost.mean():.2%}",
        *ratios(case, values, place),
        f"{inside.mean():.3f}",
        f"{inside.min():.3f}",
        f"{inside.max():.3f}",
        f"{found.microseconds[place]:.1f}",
    ]


def covered(truth: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return the share (Q,) of records (N, Q) whose band holds the truth."""
    return np.asarray(((lower <= truth) & (truth <= upper)).mean(axis=0))


def ratios(case: Case, values: Floats, place: int) -> list[str]:
    """Return mean and largest ratio over the parameters, in brackets where the prior decides."""
    truth, bound = case.truth, case.bounds[place]
    done = np.isfinite(values).all(axis=1)
    relative = np.sqrt(np.mean((bound / truth) ** 2, axis=0))
    telling = relative < TELLING
    over = _root_mean_square(((values - truth) / bound)[done])
    if telling.all():
        return _mean_and_worst(over)
    z = unknowns_of(case.system, case.priors).coordinates
    off = (z(torch.tensor(values)) - z(torch.tensor(truth))).numpy()
    with_prior = _root_mean_square((off / case.bounds_with_prior[place])[done])
    beside = _mean_and_worst(with_prior[~telling])
    if not telling.any():
        return [f"({cell})" for cell in beside]
    own = _mean_and_worst(over[telling])
    return [f"{cell} ({other})" for cell, other in zip(own, beside, strict=True)]


def _root_mean_square(errors: Floats) -> Floats:
    return np.asarray(np.sqrt(np.mean(errors**2, axis=0)))


def _mean_and_worst(found: Sequence[float] | Floats) -> list[str]:
    return [f"{np.mean(found):.3f}", f"{np.max(found):.3f}"]
