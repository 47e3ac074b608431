"""Rank histograms of bands: simulation-based calibration.

Where records are drawn from the prior, the probability that the estimated distribution gives to
values below the truth is uniform. The ends of central bands at 10, 20, ..., 90 % and the estimate
itself, their median, are the quantiles at 5, 10, ..., 95 %: 20 bins, into which equally many truths
must fall. Flatness is tested by chi-square with 19 degrees of freedom.

References:
    S. Talts et al., Validating Bayesian inference algorithms with simulation-based calibration,
    arXiv 1804.06788, 2018.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

import warp_phys as wp
from benchmarks._estimates_cases import FRACTIONS, Case, Floats, ordinary
from benchmarks._estimates_ways import information

LEVELS = tuple(0.1 * step for step in range(1, 10))
BINS = 20
SIGNIFICANCE = 0.01
SHOWN = (0.25, 1.0)  # beginnings


def quantiles(case: Case, model: wp.WarpPhys, places: list[int]) -> Floats:
    """Return the 19 quantiles (19, N, beginnings, Q) of the parameters' distributions."""
    ends = np.array(case.beginnings)[places] - 1
    lower, upper, median = [], [], np.empty(0)
    for level in LEVELS:
        found = wp.estimate(model, case.observed, level=level, progress=False)
        free = found.sel(parameter=list(case.system.free_names))
        lower.append(free["parameters_lower"].values[:, ends])
        upper.append(free["parameters_upper"].values[:, ends])
        median = free["parameters"].values[:, ends]
    return np.stack([*lower[::-1], median, *upper])


def print_ranks(name: str, n: int, seed: int) -> None:
    """Print the histograms of a system and whether they are flat."""
    case = ordinary(name, n, seed)
    places = [FRACTIONS.index(fraction) for fraction in SHOWN]
    edges = quantiles(case, information(case), places)
    truth = case.truth[:, None, :]
    print(f"\n{case.title}, ranks of the truth in {BINS} bins, {len(truth):,} records\n")
    print(f"| samples | parameter | chi-square | p | flat at {SIGNIFICANCE:.0%} | counts |")
    print("|---" * 6 + "|")
    ranks = (edges < truth).sum(axis=0)
    for column, place in enumerate(places):
        for index, parameter in enumerate(case.system.free_names):
            counts = np.bincount(ranks[:, column, index], minlength=BINS)
            test = stats.chisquare(counts)
            flat = "yes" if test.pvalue >= SIGNIFICANCE else "no"
            print(
                f"| {case.beginnings[place]} | {parameter} | {test.statistic:.1f} | "
                f"{test.pvalue:.3f} | {flat} | {' '.join(map(str, counts))} |",
                flush=True,
            )
