"""Profile likelihood intervals of `fit` beside SciPy's, and how often they hold.

Two models: the marine population of the COPS collection (eight stages, 15 rates and 8 initial
sizes, of which some rates end at zero), and an oral dose with Michaelis-Menten elimination, of
which one record determines Vm / Km far better than Vm and Km. SciPy's intervals are where the
profile of the sum of squares, by `least_squares` with one parameter held and `brentq`, reaches
Q (1 + F / (n - p)), with the 95 % quantile of the F distribution; parameters at their bound do not
count in p.

Coverage: the share of simulated records whose 95 % interval holds the truth, for a population of
three stages and for the oral dose into a known volume. With an unknown one, some records are fitted
best with slow absorption and fast elimination exchanged ("flip-flop"); the likelihood then has two
separate regions, of which an interval is the one around the best fit.

Usage: python benchmarks/profile_intervals.py [--parts marine dose coverage] [--n 2000] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Any

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from benchmarks._profile_models import (
    STAGE_TIMES,
    STAGES,
    Array,
    MichaelisMenten,
    Reference,
    dose_residuals,
    rate_names,
    record,
    stage_residuals,
    stage_system,
)
from warp_phys.data_gen import simulate
from warp_phys.systems import System

LEVEL = 0.95
OPEN = 8.0  # of a logarithm
DOSE_TIMES = np.array([0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 21, 24])
DOSE = {"gut": 100.0, "concentration": 0.0}
DOSE_TRUTH = {"ka": 0.75, "V": 20.0, "Vm": 1.0, "Km": 4.0}
DOSE_NOISE = {"concentration": 0.08}
STAGE_TRUTH = {"g1": 0.7, "g2": 0.5, "m1": 0.3, "m2": 0.25, "m3": 0.4}
STAGE_START = {"n1": 20_000.0, "n2": 17_000.0, "n3": 10_000.0}
STAGE_NOISE = {"n1": 400.0, "n2": 400.0, "n3": 400.0}


def dose_records(n: int, seed: int) -> xr.Dataset:
    """Return simulated records of the oral dose, without the sample at its time."""
    data = simulate(
        MichaelisMenten(),
        n,
        np.append(0.0, DOSE_TIMES),
        parameters=DOSE_TRUTH,
        initial_states=DOSE,
        noise=DOSE_NOISE,
        observe=["concentration"],
        seed=seed,
    )
    return data[["observed"]].isel(time=slice(1, None))


def stage_records(n: int, seed: int) -> xr.Dataset:
    """Return simulated records of three stages."""
    data = simulate(
        stage_system(3)(),
        n,
        STAGE_TIMES,
        parameters=STAGE_TRUTH,
        initial_states=STAGE_START,
        noise=STAGE_NOISE,
        seed=seed,
    )
    return data[["observed"]]


def fitted(system: System, data: xr.Dataset, **options: Any) -> tuple[xr.Dataset, float]:
    """Return the fits and the seconds of a warm call."""
    wp.fit(system, data.isel(trajectory=[0]), progress=False, level=LEVEL, **options)
    begun = time.perf_counter()
    found = wp.fit(system, data, progress=False, level=LEVEL, **options)
    return found, time.perf_counter() - begun


def compare(
    names: list[str], found: xr.Dataset, seconds: float, reference: Reference, *, logs: bool
) -> None:
    """Print the intervals of both sides."""
    print("| parameter | value | `fit` | SciPy | standard error |")
    print("|---|---|---|---|---|")
    worst, spent = 0.0, 0.0
    one = found.isel(trajectory=0)
    for name in names:
        row = one.sel(parameter=name)
        place = [str(label) for label in one["parameter"].values].index(name)
        begun = time.perf_counter()
        ends = np.array([reference.end(place, side, LEVEL) for side in (-1, 1)])
        spent += time.perf_counter() - begun
        # In SciPy's profiles of logarithms, an end is open where it or another one is at a bound.
        ends = np.exp(np.where(np.abs(ends) > OPEN, np.sign(ends) * np.inf, ends)) if logs else ends
        ours = np.array([float(row["parameters_lower"]), float(row["parameters_upper"])])
        closed = np.isfinite(ends) & np.isfinite(ours)
        width = max(np.diff(ends)[0] if np.isfinite(ends).all() else ends[0], 1e-12)
        worst = max(worst, float(np.abs(ours[closed] - ends[closed]).max() / width))
        print(
            f"| {name} | {float(row['parameters']):.4f} | [{ours[0]:.4f}, {ours[1]:.4f}] "
            f"| [{ends[0]:.4f}, {ends[1]:.4f}] | {float(row['standard_errors']):.4f} |",
            flush=True,
        )
    print(f"\nlargest difference of an end {worst:.1e} of the interval's width;")
    print(f"fit with all intervals {seconds:.2f} s, SciPy's profiles alone {spent:.1f} s\n")


def marine(names: list[str]) -> None:
    """Compare the intervals of the marine population."""
    data = record(STAGE_TIMES, STAGES, [f"n{i}" for i in range(1, 9)], "1")
    found, seconds = fitted(stage_system(8)(), data, initial_state="estimate", noise_sd="common")
    start = np.concatenate([np.full(15, 0.3), STAGES[0] / 1e3])
    reference = Reference.at_optimum(stage_residuals(STAGES, 0.5), start, (0.0, np.inf))
    print("\nMarine population: 15 rates, 8 initial sizes, 168 values\n")
    compare(names, found, seconds, reference, logs=False)


def dose(names: list[str], seed: int) -> None:
    """Compare the intervals of one record of the oral dose."""
    data = dose_records(1, seed)
    found, seconds = fitted(MichaelisMenten(), data, initial_state=DOSE, initial_time=0.0)
    start = np.log(list(DOSE_TRUTH.values()))
    observed: Array = data["observed"].values[0, :, 0]
    reference = Reference.at_optimum(dose_residuals(DOSE_TIMES, observed), start, (-9.0, 11.0))
    print(f"\nOral dose, seed {seed}: 4 parameters, {len(DOSE_TIMES)} values\n")
    compare(names, found, seconds, reference, logs=True)


def coverage(n: int, seed: int) -> None:
    """Print how often the intervals of simulated records hold."""
    print(
        f"\n{n} records; coverage by chance 0.95 +- {math.sqrt(0.95 * 0.05 / n):.4f} "
        "(one standard deviation)\n"
    )
    print("| model | parameter | coverage | below | above | open | profiled |")
    print("|---|---|---|---|---|---|---|")
    cases: list[tuple[str, System, xr.Dataset, dict[str, float], dict[str, Any]]] = [
        (
            "three stages",
            stage_system(3)(),
            stage_records(n, seed),
            STAGE_TRUTH,
            {"initial_state": "estimate", "noise_sd": "common"},
        ),
        (
            "oral dose",
            MichaelisMenten(),
            dose_records(n, seed),
            DOSE_TRUTH,
            {"initial_state": DOSE, "initial_time": 0.0, "fixed": {"V": DOSE_TRUTH["V"]}},
        ),
    ]
    for title, system, data, truth, options in cases:
        found, seconds = fitted(system, data, **options)
        for name, value in truth.items():
            if name in options.get("fixed", {}):
                continue
            row = found.sel(parameter=name)
            low, high = row["parameters_lower"].values, row["parameters_upper"].values
            known = ~np.isnan(low)
            inside = ((low <= value) & (value <= high))[known].mean()
            # The interval lies below the truth, or above it.
            under, over = (high < value)[known].mean(), (low > value)[known].mean()
            one_sided = ((low == 0.0) | np.isinf(high))[known].mean()
            profiled = row["profiled"].values.mean()
            print(
                f"| {title} | {name} | {inside:.4f} | {under:.4f} | {over:.4f} "
                f"| {one_sided:.3f} | {profiled:.3f} |",
                flush=True,
            )
        ended = int((found["status"] == 0).sum())
        print(f"\n{title}: {ended} of {n} converged; {seconds:.1f} s\n", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("marine", "dose", "coverage")
    parser.add_argument("--parts", nargs="+", default=list(parts), choices=parts)
    parser.add_argument("--n", type=int, default=2_000, help="records of each model for coverage")
    parser.add_argument("--seed", type=int, default=0, help="of the simulations")
    parser.add_argument("--quick", action="store_true", help="few parameters and records")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if "marine" in chosen.parts:
        marine(["g3", "m6", "m8"] if chosen.quick else rate_names(8))
    if "dose" in chosen.parts:
        dose(["ka"] if chosen.quick else list(DOSE_TRUTH), chosen.seed)
    if "coverage" in chosen.parts:
        coverage(50 if chosen.quick else chosen.n, chosen.seed)


if __name__ == "__main__":
    main()
