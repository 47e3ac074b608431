"""Whether `fit` is at the statistical limit: its errors in units of the Cramer-Rao bound.

Simulates records of five systems with 2 % noise on every output, fits parameters and initial
states together from the system's default start, and prints for every parameter

- error: root mean square of (estimate - truth) / bound; 1 is the limit of any unbiased estimate,
- coverage: share of records whose 95 % interval holds the truth,
- bound: the median bound relative to the parameter, which says how much a record tells;

the error is over the fits within 10 bounds in every parameter, the others are counted as far off.
The bound of each record is computed at the truth: the Fisher information of the noiseless outputs
under the noise as it was, over free parameters and initial states, from central differences of
solutions at 1e-10. It is compared with forward derivatives through RK4 on 20 records.

Usage: python benchmarks/fit_accuracy.py [--systems pendulum sir] [--n 2000] [--seed 0] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from benchmarks._accuracy import (
    NOISE,
    STUDIES,
    Outputs,
    fisher_information,
    simulate_records,
    standard_deviations,
)
from warp_phys.systems import get_system

FAR = 10.0  # bounds
CHECKED = 20


def run_study(name: str, n: int, seed: int) -> None:
    """Simulate, fit and print one system."""
    study = STUDIES[name]
    system = get_system(name, **study.parameters)
    data = simulate_records(system, study, n, seed)
    bound = standard_deviations(fisher_information(Outputs(system, data).differences(), data))
    few = data.isel(trajectory=slice(CHECKED))
    checked = standard_deviations(
        fisher_information(Outputs(system, few).forward_derivatives(study.substeps), few)
    )
    off = np.abs(bound[: len(checked)] / checked - 1.0).max()

    begun = time.perf_counter()
    fitted = wp.fit(system, data[["observed"]], initial_state="estimate", progress=False)
    seconds = time.perf_counter() - begun

    free = {"parameter": list(system.free_names)}
    truth = data["true_parameters"].sel(free).values
    bound = bound[:, : truth.shape[1]]
    estimate, lower, upper = (
        fitted[key].sel(free).values
        for key in ("parameters", "parameters_lower", "parameters_upper")
    )
    off_by = np.abs(estimate - truth) / bound
    near = (off_by <= FAR).all(axis=1)
    covered = ((lower <= truth) & (truth <= upper)).mean(axis=0)
    error = np.sqrt((off_by[near] ** 2).mean(axis=0))
    count = len(truth)
    ranges = ", ".join(
        f"{key} {low:g} to {high:g}"
        for key, (low, high) in (study.parameters | study.initial_states).items()
    )
    print(
        f"\n{type(system).__name__}: {ranges}; {study.samples} samples on [0, {study.end:g}]",
        end="",
    )
    print(f" of {', '.join(study.observe or system.output_names)}; {count} records\n")
    print("| parameter | error | coverage | bound |")
    print("|---|---|---|---|")
    for place, parameter in enumerate(system.free_names):
        relative = np.median(bound[:, place] / truth[:, place])
        print(f"| {parameter} | {error[place]:.3f} | {covered[place]:.3f} | {relative:.2%} |")
    print(
        f"\n{(~near).sum()} far off; {reasons(fitted['status'])}; {seconds:.1f} s; "
        f"bounds checked to {off:.0e}",
        flush=True,
    )


def reasons(status: xr.DataArray) -> str:
    """Return how many fits ended with each status, in words."""
    flags = np.atleast_1d(status.attrs["flag_values"]).tolist()
    meanings = status.attrs["flag_meanings"].split()
    counts = {
        meaning: int((status.values == flag).sum())
        for flag, meaning in zip(flags, meanings, strict=True)
    }
    return ", ".join(f"{counted} {meaning}" for meaning, counted in counts.items() if counted)


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--n", type=int, default=2_000, help="records of each system")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    parser.add_argument("--quick", action="store_true", help="50 records of each")
    chosen = parser.parse_args(arguments)
    n = 50 if chosen.quick else chosen.n

    torch.set_num_threads(1)
    print(
        f"noise {NOISE:g} of each output's standard deviation; at the limit with {n} records an",
        end="",
    )
    print(
        f" error is 1 +- {1 / math.sqrt(2 * n):.3f}, "
        f"a coverage 0.95 +- {math.sqrt(0.95 * 0.05 / n):.3f} (one standard deviation)"
    )
    for name in chosen.systems:
        run_study(name, n, chosen.seed)


if __name__ == "__main__":
    main()
