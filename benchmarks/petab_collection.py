"""The problems of the public PEtab collection: which can be read, and their log likelihoods.

For every problem of a local copy of the collection it prints

- what was read (trajectories, states, free parameters), or what the problem needs that is missing,
- the log likelihood at the published parameters, integrated at the tolerance that is asked for,
  beside the published one where it is known,
- the largest difference from the simulated values in the collection, relative to the value (plus
  a thousandth of the largest one of the same observable),
- seconds, compilation included.

The published log likelihood of Crauste is -190.96522 at the tolerances of its authors, and
-190.96398 by tight integration, which is the one shown.

The collection is not part of this package: github.com/Benchmarking-Initiative/
Benchmark-Models-PEtab. Without the folder the rows say "not run".

Usage: python benchmarks/petab_collection.py [FOLDER] [--problems Boehm] [--rtol 1e-9] [--quick]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

import warp_phys as wp
from warp_phys.systems.errors import WarpPhysError

# Log likelihood at the published parameters.
PUBLISHED = {
    "Boehm": -138.22200,
    "Borghans": 83.32372,
    "Brannmark": -141.88911,
    "Bruno": 46.68818,
    "Crauste": -190.96398,
    "Elowitz": 63.20280,
    "Fiedler": 58.58391,
    "Fujita": 53.08378,
    "Schwen": -943.99930,
    "Weber": -296.20179,
    "Zheng": 278.33353,
}
NAMES = (
    *("Alkan", "Armistead", "Bachmann", "Beer", "Bertozzi", "Blasi", "Boehm", "Borghans"),
    *("Brannmark", "Bruno", "Chen", "Crauste", "Elowitz", "Fiedler", "Froehlich", "Fujita"),
    *("Giordano", "Isensee", "Lang", "Laske", "Liu", "Lucarelli", "Okuonghae", "Oliveira"),
    *("Perelson", "Rahman", "Raia", "Raimundez", "SalazarCavazos", "Schwen", "Smith", "Sneyd"),
    *("Weber", "Zhao", "Zheng"),
)
# Hundreds of states, or conditions that take minutes to integrate.
LARGE = ("Chen", "Isensee", "Lang", "Raimundez", "SalazarCavazos")
QUICK = ("Boehm", "Crauste", "Bruno")


def problem_file(folder: Path, name: str) -> Path:
    """Return the YAML file of a problem."""
    found = sorted(folder.glob(f"**/{name}_*/*.yaml"))
    own = [path for path in found if "test" not in path.name]
    if not own:
        raise FileNotFoundError(f"no problem {name} in {folder.name}")
    return own[0]


def simulated_values(folder: Path) -> pd.DataFrame | None:
    """Return the collection's simulated values, None where it has none for every measurement.

    Their lines are those of the measurements, sometimes in another order.
    """
    paths = [*sorted(folder.glob("simulatedData*.tsv")), *sorted(folder.glob("simulations.tsv"))]
    measured = sorted(folder.glob("measurement*.tsv"))
    if not paths or len(measured) != 1:
        return None
    types = {"observableParameters": str, "preequilibrationConditionId": str}
    simulated, data = (pd.read_csv(p, sep="\t", dtype=types) for p in (paths[0], measured[0]))
    keys = [
        *("observableId", "simulationConditionId", "time", "observableParameters"),
        *("preequilibrationConditionId",),
    ]
    keys = [key for key in keys if key in simulated and key in data]
    if "simulation" not in simulated or len(simulated) != len(data):
        return None
    means = simulated.groupby(keys, dropna=False)["simulation"].mean().reset_index()
    return data.merge(means, on=keys, how="left")


def deviation(folder: Path, predicted: np.ndarray) -> float:
    """Return the largest relative difference from the simulated values, NaN without any."""
    table = simulated_values(folder)
    if table is None or len(table) != len(predicted):
        return float("nan")
    expected = table["simulation"].to_numpy(dtype=float)
    largest = np.abs(table["simulation"]).groupby(table["observableId"]).transform("max")
    return float(np.max(np.abs(predicted - expected) / (np.abs(expected) + 1e-3 * largest)))


def row(folder: Path, name: str, rtol: float) -> str:
    """Return one line of the table."""
    published = PUBLISHED.get(name)
    shown = "" if published is None else f"{published:.5f}"
    try:
        path = problem_file(folder, name)
        problem = wp.read_petab(path)
    except (WarpPhysError, FileNotFoundError) as error:
        return f"| {name} | refused: {error} | | {shown} | | | |"
    sizes = (
        f"{problem.data.sizes['trajectory']} trajectories, {len(problem.system.states)} states, "
        f"{len(problem.system.free_names)} free"
    )
    if name in LARGE:
        return f"| {name} | {sizes} | not run | {shown} | | | |"
    begun = time.perf_counter()
    try:
        found = problem.log_likelihood(rtol=rtol, atol=1e-3 * rtol)
        seconds = time.perf_counter() - begun
        off = deviation(path.parent, problem.predict(rtol=rtol, atol=1e-3 * rtol))
    except WarpPhysError as error:
        return f"| {name} | {sizes} | failed: {error} | {shown} | | | |"
    difference = "" if published is None else f"{found - published:.1e}"
    deviating = "" if np.isnan(off) else f"{off:.1e}"
    return (
        f"| {name} | {sizes} | {found:.5f} | {shown} | {difference} | {deviating} | {seconds:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a copy of the collection")
    parser.add_argument("--problems", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--rtol", type=float, default=1e-9)
    parser.add_argument("--quick", action="store_true", help="three problems alone")
    options = parser.parse_args()
    print("| problem | read | log likelihood | published | difference | from simulated | s |")
    print("|---|---|---|---|---|---|---|")
    for name in QUICK if options.quick else options.problems:
        if options.folder is None:
            print(f"| {name} | not run | | | | | |")
        else:
            print(row(options.folder, name, options.rtol), flush=True)


if __name__ == "__main__":
    main()
