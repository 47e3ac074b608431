"""Whether estimates at every sample are at the statistical limit, calibrated and fast.

The head whose hidden state is information, without training and from a trained start, beside a
trained direct head, a joint unscented Kalman filter that knows the noise levels, and `fit` on each
beginning anew. All but `fit` have the prior that the records are drawn from; initial states are
unknown, noise is 2 % of each output's standard deviation. Parts:

- accuracy: at 10, 25, 50 and 100 % of the record, on five systems: the median error of the worst
  parameter; the share of records whose worst parameter is off by more than 10 %; the root mean
  square of error over the Cramer-Rao bound of the beginning, mean and largest over the parameters;
  the coverage of 90 % bands; processor time for each sample and record. In brackets: parameters
  whose bound is 5 % or more (root mean square over the records), in unconstrained coordinates and
  over the bound with the prior's information.
- conditions: the same with missing values, irregular times, half and double step, longer records,
  more noise, a parameter outside its range, outliers.
- change: a drift and a jump of the first parameter, stated as a random walk and not.
- ranks: histograms of the truth's ranks (simulation-based calibration).
- speed: processor time of all ways at 10,000 records, of streaming, and its growth.
- hudson: the Hudson Bay counts under the published priors.

The neural posterior of sbi on the same records is in `estimates_sbi.py`.

Usage: python benchmarks/estimates.py [--parts accuracy conditions change speed ranks hudson]
       [--systems lotka_volterra ...] [--ways "unscented filter" fit] [--n 2000] [--seed 0]
       [--quick]
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import importlib.metadata
import time

import torch

from benchmarks._estimates_cases import SYSTEMS, conditions, ordinary
from benchmarks._estimates_changes import CHANGING, print_changes
from benchmarks._estimates_hudson_bay import print_hudson_bay
from benchmarks._estimates_ranks import print_ranks
from benchmarks._estimates_scores import print_header, print_rows
from benchmarks._estimates_speed import print_speed
from benchmarks._estimates_ways import WAYS, training_note, ways_of

PARTS = ("accuracy", "conditions", "change", "speed", "ranks", "hudson")
UNDER_CONDITIONS = ("lotka_volterra", "pendulum")
RANKED = ("lotka_volterra",)


def print_accuracy(chosen: argparse.Namespace) -> None:
    """Print how good the estimates of ordinary records are."""
    for name in chosen.systems:
        case = ordinary(name, chosen.n, chosen.seed)
        print_header(f"{case.title}, {case.samples} samples on [0, {case.study.end:g}]", case)
        for way, estimate in ways_of(name, chosen.seed, chosen.quick, chosen.ways).items():
            print_rows(way, case, estimate(case))
        if any("head" in way or "trained" in way for way in chosen.ways):
            print(f"\n{training_note(name, chosen.seed, chosen.quick)}", flush=True)


def print_conditions(chosen: argparse.Namespace) -> None:
    """Print how good they are under other conditions."""
    for name in _among(chosen, UNDER_CONDITIONS):
        for case in conditions(name, chosen.n, chosen.seed):
            print_header(f"{case.title}, {case.condition}", case)
            for way, estimate in ways_of(name, chosen.seed, chosen.quick, chosen.ways).items():
                print_rows(way, case, estimate(case))


def run(part: str, chosen: argparse.Namespace) -> None:
    """Run one part."""
    if part == "accuracy":
        print_accuracy(chosen)
    elif part == "conditions":
        print_conditions(chosen)
    elif part == "change":
        for name in _among(chosen, CHANGING):
            print_changes(name, chosen.n, chosen.seed)
    elif part == "ranks":
        for name in _among(chosen, RANKED):
            print_ranks(name, chosen.n, chosen.seed)
    elif part == "speed":
        print_speed(chosen.seed, chosen.quick)
    else:
        print_hudson_bay()


def _among(chosen: argparse.Namespace, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in chosen.systems]


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=SYSTEMS)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--n", type=int, default=2_000, help="records of each system")
    parser.add_argument("--seed", type=int, default=0, help="of simulation and training")
    parser.add_argument("--quick", action="store_true", help="100 records, hardly any training")
    chosen = parser.parse_args(arguments)
    chosen.ways = tuple(chosen.ways)
    if chosen.quick:
        chosen.n = min(chosen.n, 100)
    torch.set_num_threads(1)
    print(f"one thread; torch {importlib.metadata.version('torch')}")
    for part in chosen.parts:
        begun = time.perf_counter()
        run(part, chosen)
        print(f"\n{part}: {time.perf_counter() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
