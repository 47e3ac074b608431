"""Time against error: `integrate` and other libraries, many trajectories, one pinned thread.

Every side integrates the same trajectories at tolerances from 1e-3 to 1e-11; its error is that of
the worst trajectory: the largest over trajectories, states and samples of
abs(y - truth) / max_t abs(truth). Looked at are the first 900 trajectories (450, 90 of the stiff
cases) and the 100 (50, 10) of all in which `integrate` at 1e-6 has the largest error estimates,
against SciPy at 1e-13 (DOP853; LSODA for Robertson, Radau at 1e-11 for Van der Pol).

The table compares times at equal error, interpolated between tolerances. A star marks times scaled
up from fewer trajectories. Each side of each case has a process of its own. Times are warm, the
median of up to three, and of the processor, which on one thread is what the clock shows where
nothing else runs. Cold is the first call of that size by the clock, compilation included.

Usage: python benchmarks/work_precision.py [--cases robertson] [--sides diffrax] [--sizes 1000]
    [--keep measured.jsonl] [--plot docs/work_precision.png] [--quick]
Peers, if wanted: pip install numba diffrax torchode
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more; the truth is computed by all cores.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import importlib.metadata
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from _integration_cases import CASES, Problem, solve_in_processes
from _integrators import SIDES
from _work_precision_results import Row, plot, print_table

REPEATS, ENOUGH = 3, 10.0  # warm calls, or seconds of them


@dataclass(frozen=True)
class Study:
    """How much of a case is integrated and looked at."""

    sizes: tuple[int, ...]
    drawn: int
    hardest: int
    truth: tuple[str, float]


STUDIES = {
    "lotka_volterra": Study((1_000, 10_000, 100_000), 900, 100, ("DOP853", 1e-13)),
    "robertson": Study((1_000, 10_000), 450, 50, ("LSODA", 1e-13)),
    "van_der_pol_stiff": Study((1_000,), 90, 10, ("Radau", 1e-11)),
}
TOLERANCES = tuple(10.0**-digits for digits in range(3, 12))


@dataclass(frozen=True)
class Checked:
    """The trajectories looked at, for each size, and the truth of all of them."""

    rows: dict[int, np.ndarray]
    every: np.ndarray
    truth: np.ndarray

    def error(self, n: int, states: dict[int, np.ndarray]) -> float:
        """Return the error of the worst among n, from states by the number of the trajectory."""
        rows = self.rows[n]
        truth = self.truth[np.searchsorted(self.every, rows)]
        scale = np.abs(truth).max(axis=1, keepdims=True)
        found = np.stack([states[row] for row in rows.tolist()])
        return float((np.abs(found - truth) / scale).max())


def choose(name: str, problem: Problem, sizes: list[int], study: Study) -> Checked:
    """Return which trajectories are looked at, and their truth."""
    from warp_phys.systems import get_system, integrate

    case = CASES[name]
    estimate = integrate(
        get_system(case.system),
        problem.times,
        problem.initial,
        problem.parameters,
        rtol=1e-6,
        atol=case.atol * 1e-6,
    ).error_estimate.numpy()
    rows = {}
    for n in sizes:
        hardest = np.argsort(-np.nan_to_num(estimate[:n], nan=np.inf), kind="stable")
        rows[n] = np.union1d(np.arange(min(study.drawn, n)), hardest[: study.hardest])
    every = np.unique(np.concatenate(list(rows.values())))
    method, rtol = study.truth
    truth = solve_in_processes(name, problem.select(every), method, rtol, case.atol * rtol)
    return Checked(rows, every, truth)


def measure(
    name: str, side_name: str, problem: Problem, checked: Checked, tolerances: list[float]
) -> Iterator[Row]:
    """Time a side at every size and tolerance, and compare it with the truth."""
    side, case = SIDES[side_name], CASES[name]
    solve = side.build(name)
    for n, rows in checked.rows.items():
        timed = min(n, side.most or n)
        first, rest = problem.select(slice(timed)), rows[rows >= timed]
        begun = time.perf_counter()
        solve(first, tolerances[0], case.atol * tolerances[0])
        cold = time.perf_counter() - begun
        for rtol in tolerances:
            atol = case.atol * rtol
            seconds: list[float] = []
            while len(seconds) < REPEATS and sum(seconds) < ENOUGH:
                begun = time.process_time()
                states = solve(first, rtol, atol)
                seconds.append(time.process_time() - begun)
            found = dict(enumerate(states))
            if rest.size:
                found |= zip(rest.tolist(), solve(problem.select(rest), rtol, atol), strict=True)
            warm = n / timed * statistics.median(seconds)
            yield Row(name, side_name, n, rtol, warm, cold, checked.error(n, found), timed < n)


def work(folder: Path, name: str, side: str, tolerances: list[float]) -> None:
    """Measure one side in this process, pinned to one core; print its rows as JSON."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    warnings.simplefilter("ignore")  # of peers among themselves
    with np.load(folder / f"{name}.npz") as stored:
        problem = Problem(*(stored[key] for key in ("times", "initial", "parameters")))
        sizes = stored["sizes"].tolist()
        rows = {n: stored[f"rows_{n}"] for n in sizes}
        checked = Checked(rows, stored["every"], stored["truth"])
    for row in measure(name, side, problem, checked, tolerances):
        print(json.dumps(asdict(row)), flush=True)


def store(folder: Path, name: str, problem: Problem, checked: Checked) -> None:
    """Write what the processes of the sides read."""
    np.savez(
        folder / f"{name}.npz",
        **asdict(problem),
        sizes=list(checked.rows),
        every=checked.every,
        truth=checked.truth,
        **{f"rows_{n}": rows for n, rows in checked.rows.items()},
    )


def in_own_process(folder: Path, name: str, side: str, tolerances: list[float]) -> list[Row]:
    """Return the rows of one side, measured in a process of its own."""
    command = [sys.executable, __file__, "--worker", str(folder), "--cases", name]
    command += ["--sides", side, "--tolerances", *map(str, tolerances)]
    # An empty cache: the cold call finds nothing that an earlier run has compiled.
    environment = os.environ | {"WARP_PHYS_CACHE": str(folder / "cache" / side)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ran.returncode:
        reason = ran.stderr.strip().splitlines()[-1:] or [f"exit status {ran.returncode}"]
        print(f"{side} gave up in {name}: {reason[0][:200]}", flush=True)
    return [Row(**json.loads(line)) for line in ran.stdout.splitlines() if line.startswith("{")]


def wanted_sides(name: str, wanted: list[str]) -> list[str]:
    """Return the sides for a case whose packages are there; say which are not."""
    stiff = bool(CASES[name].stiff(CASES[name].draw(1).parameters).all())
    found = []
    for side_name, side in SIDES.items():
        if side.stiff not in (None, stiff) or not any(part in side_name for part in wanted):
            continue
        lacking = [entry for entry in side.packages if importlib.util.find_spec(entry) is None]
        if lacking:
            print(f"{side_name} is left out; to have it: pip install {' '.join(lacking)}")
        else:
            found.append(side_name)
    return found


def run_case(name: str, chosen: argparse.Namespace, kept: list[Row], folder: Path) -> list[Row]:
    """Return the rows of all sides of a case; those kept are not measured again."""
    have = {row.side for row in kept if row.case == name}
    sides = [side for side in wanted_sides(name, chosen.sides) if side not in have]
    rows: list[Row] = []
    if sides:
        study = STUDIES[name]
        sizes = [n for n in study.sizes if n in chosen.sizes]
        problem = CASES[name].draw(max(sizes))
        store(folder, name, problem, choose(name, problem, sizes, study))
    for side in sides:
        rows += in_own_process(folder, name, side, chosen.tolerances)
        if chosen.keep:
            text = "".join(json.dumps(asdict(row)) + "\n" for row in [*kept, *rows])
            chosen.keep.write_text(text, encoding="utf-8")
    return rows


def versions() -> str:
    """Return what decides the times."""
    packages = ("torch", "scipy", "numba", "jax", "diffrax", "torchode", "torchdiffeq")
    there = (name for name in packages if importlib.util.find_spec(name) is not None)
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in there)
    return f"one thread of {os.cpu_count()} cores; {found}"


def main(arguments: list[str] | None = None) -> None:
    """Measure the chosen sides, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--sides", nargs="+", default=[""], help="parts of their names")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--tolerances", nargs="+", type=float, default=list(TOLERANCES))
    parser.add_argument("--keep", type=Path, help="file of rows: those in it stay, new ones join")
    parser.add_argument("--plot", type=Path, help="picture to draw")
    parser.add_argument("--quick", action="store_true", help="the smallest size, four tolerances")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.worker:
        work(chosen.worker, chosen.cases[0], chosen.sides[0], chosen.tolerances)
        return
    if chosen.quick:
        chosen.sizes, chosen.tolerances = [1_000], [1e-4, 1e-6, 1e-8, 1e-10]

    print(versions(), flush=True)
    rows: list[Row] = []
    if chosen.keep and chosen.keep.exists():
        lines = chosen.keep.read_text(encoding="utf-8").splitlines()
        rows = [Row(**json.loads(line)) for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen.cases:
            rows += run_case(name, chosen, rows, Path(folder))
    print_table(rows, lambda name: CASES[name].about)
    if chosen.plot:
        plot(rows, chosen.plot)


if __name__ == "__main__":
    main()
