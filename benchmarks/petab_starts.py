"""Fits of problems of the PEtab collection from the same starts, here and by pyPESTO.

Starts are a Latin hypercube within the published bounds, on the scale of each parameter. Each is
one fit, without further starts. The table shows the best log likelihood, how many starts end within
.1 of the best value known, and the processor time of one start after the first, which compiles.

The sides are run one after the other, each in an environment that has it:

    python benchmarks/petab_starts.py FOLDER
    python benchmarks/petab_starts.py FOLDER --side pypesto   # pip install pypesto libroadrunner

Usage: python benchmarks/petab_starts.py FOLDER [--side warp_phys] [--starts 20] [--problems ...]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _petab_starts import estimated_parameters, linear, problem_file, starts

# The best log likelihood known.
BEST = {
    "Boehm": -138.22198,
    "Borghans": 83.32372,
    "Bruno": 46.68818,
    "Crauste": -190.96398,
    "Elowitz": 63.20280,
    "Fiedler": 58.58391,
    "Zheng": 278.33353,
}
NEAR = 0.1


def fits_here(path: Path, points: np.ndarray) -> list[float]:
    """Return the log likelihood at the end of each start, NaN where it fails."""
    import warp_phys as wp

    problem = wp.read_petab(path)
    table = estimated_parameters(path)
    found = []
    for point in points:
        fitted = wp.fit(
            problem.system,
            problem.data,
            initial=problem.start(linear(table, point)),
            starts=1,
            progress=False,
            **problem.arguments,
        )
        total = float(fitted["log_likelihood"].sum()) + problem.log_likelihood_constant
        lost = fitted["predicted"].isnull() & problem.data["observed"].notnull()
        found.append(float("nan") if bool(lost.any()) else total)
    return found


def fits_by_pypesto(path: Path, points: np.ndarray) -> list[float]:
    """Return the same by pyPESTO."""
    from _petab_pypesto import fits

    return fits(path, points)


SIDES: dict[str, Callable[[Path, np.ndarray], list[float]]] = {
    "warp_phys": fits_here,
    "pypesto": fits_by_pypesto,
}


def row(side: str, folder: Path, name: str, count: int, seed: int) -> str:
    """Return one line of the table."""
    path = problem_file(folder, name)
    points = starts(estimated_parameters(path), count, seed)
    SIDES[side](path, points[:1])
    begun = time.process_time()
    found = np.array(SIDES[side](path, points))
    seconds = (time.process_time() - begun) / count
    good = int((found > BEST[name] - NEAR).sum())
    best = np.nanmax(found) if np.isfinite(found).any() else float("nan")
    return f"| {name} | {side} | {best:.5f} | {good} of {count} | {seconds:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="a copy of the collection")
    parser.add_argument("--side", choices=SIDES, default="warp_phys")
    parser.add_argument("--problems", nargs="+", default=list(BEST), choices=BEST, metavar="NAME")
    parser.add_argument("--starts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| problem | side | best log likelihood | within .1 of the best known | s a start |")
    print("|---|---|---|---|---|")
    for name in options.problems:
        try:
            line = row(options.side, options.folder, name, options.starts, options.seed)
        except Exception as error:  # whatever a side raises on a problem it cannot do
            reason = str(error).strip().split("\n")[0][:80]
            line = f"| {name} | {options.side} | {type(error).__name__}: {reason} | | |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
