"""Processor time of estimates at every sample, one thread, the ways interleaved."""

from __future__ import annotations

import gc
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

import warp_phys as wp
from benchmarks._accuracy import simulate_records
from benchmarks._estimates_cases import SYSTEMS, Case, ordinary
from benchmarks._estimates_ways import WARM_UP, information, trained_head
from benchmarks._unconstrained import unknowns_of
from benchmarks._unscented_filter import filter_records
from warp_phys.systems import get_system

NAME = "lotka_volterra"
REPEATS = 5
SENSORS = 1_000
SAMPLES = (100, 400, 1_600)


def print_speed(seed: int, quick: bool) -> None:
    """Print times of all ways at many records, of streaming, and how they grow."""
    records = 500 if quick else 10_000
    case = ordinary(NAME, records, seed)
    untrained = information(case)
    started = information(case, start=trained_head(NAME, seed, quick)[0])
    unknowns = unknowns_of(case.system, case.priors, physical_states=True)
    ways: dict[str, Callable[[Case], object]] = {
        "information": lambda one: wp.estimate(untrained, one.observed, progress=False),
        "information, trained start": lambda one: wp.estimate(
            started, one.observed, progress=False
        ),
        "unscented filter": lambda one: filter_records(unknowns, one.data),
    }
    for way in ways.values():
        way(case.first(WARM_UP))
    found = _interleaved(ways, case, 2 if quick else REPEATS)
    print(f"\n{case.title}, {len(case.truth):,} records of {case.samples} samples, one thread\n")
    print("| way | us a sample a record | unscented filter / way |\n|---|---|---|")
    for name, each in found.items():
        print(f"| {name} | {each:.2f} | {found['unscented filter'] / each:.2f} |", flush=True)
    _print_streaming(untrained, case, 2 if quick else REPEATS)
    _print_growth(untrained, seed, quick)


def _interleaved(
    ways: dict[str, Callable[[Case], object]], case: Case, repeats: int
) -> dict[str, float]:
    """Return the median microseconds for each sample and record."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(_seconds(partial(way, case)))
    scale = 1e6 / (len(case.truth) * case.samples)
    return {name: scale * float(np.median(taken)) for name, taken in times.items()}


def _seconds(call: Callable[[], object]) -> float:
    gc.collect()
    begun = time.process_time()
    call()
    return time.process_time() - begun


def _print_streaming(model: wp.WarpPhys, case: Case, repeats: int) -> None:
    """Print the time of `model.step`, averaged over a whole record of many sensors."""
    one = case.first(min(SENSORS, len(case.truth)))
    times, observed = one.data["time"].values, one.data["observed"].values

    def follow() -> None:
        state = model.init_state(len(one.truth))
        for sample, moment in enumerate(times):
            state, _ = model.step(state, float(moment), observed[:, sample])

    follow()
    taken = np.median([_seconds(follow) for _ in range(repeats)])
    each = 1e6 * taken / (len(one.truth) * one.samples)
    print(
        f"\n`model.step`, {len(one.truth):,} sensors: {each:.2f} us a sensor a sample", flush=True
    )


def _print_growth(model: wp.WarpPhys, seed: int, quick: bool) -> None:
    """Print times by number of records and of samples at one step, and the peak of memory."""
    study = SYSTEMS[NAME]
    system = get_system(NAME, **study.parameters)
    step = study.end / (study.samples - 1)
    rows = [(count, study.samples) for count in ((100, 500) if quick else (1_000, 10_000))]
    rows += [(100 if quick else 1_000, samples) for samples in SAMPLES[1 : 2 if quick else None]]
    print("\n| records | samples | s | us a sample a record | peak memory so far (GB) |")
    print("|---|---|---|---|---|")
    for count, samples in rows:
        longer = replace(study, samples=samples, end=step * (samples - 1))
        data = simulate_records(system, longer, count, seed)[["observed"]]
        taken = _seconds(partial(wp.estimate, model, data, progress=False))
        each = 1e6 * taken / (len(data["trajectory"]) * samples)
        print(f"| {count:,} | {samples:,} | {taken:.2f} | {each:.2f} | {_peak():.2f} |", flush=True)


def _peak() -> float:
    """Return the largest resident memory of the process in gigabytes."""
    # Kilobytes, on macOS bytes.
    unit = 1.0 if sys.platform == "darwin" else 1_024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
