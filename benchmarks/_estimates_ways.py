"""Ways to estimate parameters from beginnings of records: those compared in `estimates.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy import stats

import warp_phys as wp
from benchmarks._accuracy import simulate_records
from benchmarks._estimates_cases import FRACTIONS, SYSTEMS, Case, Floats
from benchmarks._unconstrained import unknowns_of
from benchmarks._unscented_filter import filter_records
from warp_phys.systems import get_system

LEVEL = 0.9
TRAINING_RECORDS = 20_000
TRAINING_STEPS = {"lotka_volterra": 2_000}
OTHER_STEPS = 1_000
TRAINING_SEED = 1_000_003  # added to that of the records, so that no test record is trained on
QUICK = 20  # times fewer records and steps
WARM_UP = 8  # records: compiling is not timed
FITTED_FROM = 0.25  # the shortest beginning that is fitted


@dataclass(frozen=True)
class Estimates:
    """Estimates from each beginning of N records.

    Attributes:
        values: (F, N, Q), NaN where there are none.
        lower: (F, N, Q), lower ends of the 90 % bands.
        upper: (F, N, Q), upper ends.
        microseconds: (F,), processor time for each sample and record.
    """

    values: Floats
    lower: Floats
    upper: Floats
    microseconds: Floats


Way = Callable[[Case], Estimates]


@cache
def trained_head(name: str, seed: int, quick: bool) -> tuple[wp.WarpPhys, float]:
    """Return a direct head trained on ordinary records of a system, and the seconds it took."""
    study, few = SYSTEMS[name], QUICK if quick else 1
    system = get_system(name, **study.parameters)
    data = simulate_records(system, study, TRAINING_RECORDS // few, seed + TRAINING_SEED)
    model = wp.WarpPhys(system, head="direct")
    steps = TRAINING_STEPS.get(name, OTHER_STEPS) // few
    begun = time.process_time()
    wp.train(model, data, steps=steps, seed=seed, progress=False)
    return model, time.process_time() - begun


def ways_of(name: str, seed: int, quick: bool, chosen: tuple[str, ...]) -> dict[str, Way]:
    """Return the chosen ways for records of a system."""

    def trained() -> wp.WarpPhys:
        return trained_head(name, seed, quick)[0]

    makers: Mapping[str, Callable[[], Way]] = {
        "information": lambda: from_samples(information),
        "information, trained start": lambda: from_samples(
            lambda case: information(case, start=trained())
        ),
        "direct head": lambda: from_samples(lambda _: trained()),
        "unscented filter": lambda: unscented_filter,
        "fit": lambda: fit,
    }
    return {way: makers[way]() for way in chosen}


WAYS = ("information", "information, trained start", "direct head", "unscented filter", "fit")


def information(case: Case, **options: Any) -> wp.WarpPhys:
    """Return the head whose hidden state is information, with the priors of the records."""
    loss = {} if case.loss == "linear" else {"loss": case.loss}
    return wp.WarpPhys(case.system, priors=case.priors, **loss, **options)


def from_samples(make: Callable[[Case], wp.WarpPhys]) -> Way:
    """Return the way of a model that estimates at every sample."""

    def way(case: Case) -> Estimates:
        model = make(case)
        wp.estimate(model, case.first(WARM_UP).observed, level=LEVEL, progress=False)
        begun = time.process_time()
        found = wp.estimate(model, case.observed, level=LEVEL, progress=False)
        return at_beginnings(case, found, time.process_time() - begun)

    return way


def at_beginnings(case: Case, found: xr.Dataset, seconds: float) -> Estimates:
    """Return what `estimate` found at the last sample of each beginning."""
    ends = np.array(case.beginnings) - 1
    free = found.sel(parameter=list(case.system.free_names))
    values, lower, upper = (
        np.moveaxis(free[key].values[:, ends], 1, 0)
        for key in ("parameters", "parameters_lower", "parameters_upper")
    )
    each = 1e6 * seconds / (len(case.truth) * case.samples)
    return Estimates(values, lower, upper, np.full(len(FRACTIONS), each))


def unscented_filter(case: Case, walk: Mapping[str, float] | None = None) -> Estimates:
    """Filter the records with known noise levels and the same prior."""
    unknowns = unknowns_of(case.system, case.priors, physical_states=True)
    filter_records(unknowns, case.first(WARM_UP).data, walk=walk)
    begun = time.process_time()
    found = filter_records(unknowns, case.data, walk=walk)
    seconds = time.process_time() - begun
    ends = torch.tensor(case.beginnings) - 1
    quantile = float(stats.norm.ppf(0.5 + 0.5 * LEVEL))
    mean, width = found.mean[:, ends].movedim(1, 0), quantile * found.sd[:, ends].movedim(1, 0)
    values, lower, upper = (
        unknowns.physical(line).numpy() for line in (mean, mean - width, mean + width)
    )
    each = 1e6 * seconds / (len(case.truth) * case.samples)
    return Estimates(values, lower, upper, np.full(len(FRACTIONS), each))


def fit(case: Case) -> Estimates:
    """Fit each beginning anew by maximum likelihood, from the default starts."""
    shape = (len(FRACTIONS), *case.truth.shape)
    values, lower, upper = (np.full(shape, np.nan) for _ in range(3))
    found = Estimates(values, lower, upper, np.full(len(FRACTIONS), np.nan))
    options: dict[str, Any] = {
        "initial_state": "estimate",
        "level": LEVEL,
        "loss": case.loss,
        "progress": False,
    }
    wp.fit(case.system, case.first(WARM_UP).observed, **options)
    dim = "sample" if "sample" in case.data.dims else "time"
    for place, count in enumerate(case.beginnings):
        if FRACTIONS[place] < FITTED_FROM:
            continue
        part = case.observed.isel({dim: slice(count)})
        begun = time.process_time()
        fitted = wp.fit(case.system, part, **options)
        seconds = time.process_time() - begun
        free = fitted.sel(parameter=list(case.system.free_names))
        found.values[place] = free["parameters"].values
        found.lower[place] = free["parameters_lower"].values
        found.upper[place] = free["parameters_upper"].values
        found.microseconds[place] = 1e6 * seconds / (len(case.truth) * count)
    return found


def training_note(name: str, seed: int, quick: bool) -> str:
    """Return how the direct head of a system was trained."""
    few = QUICK if quick else 1
    seconds = trained_head(name, seed, quick)[1]
    return (
        f"Direct head: {TRAINING_RECORDS // few:,} records, "
        f"{TRAINING_STEPS.get(name, OTHER_STEPS) // few:,} steps, {seconds:.0f} s of processor time"
    )
