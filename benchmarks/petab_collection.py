"""The problems of the public PEtab collection: which can be read, and their log likelihoods.

For every problem of a local copy of the collection it prints

- what was read (trajectories, states, free parameters), or what the problem needs that is missing,
- the log likelihood at the published parameters, integrated at the tolerance that is asked for,
  beside the published one where it is known,
- with --reference: the same, integrated by SciPy (Radau) at 1e-12,
- the largest difference from the simulated values in the collection, relative to the value (plus
  a thousandth of the largest one of the same observable),
- seconds of processor time, of the C++ compiler too where nothing is cached, and of a second call.

Published are the values that the authors of AMICI keep for their tests, with AMICI's tolerances.

The collection is not part of this package: github.com/Benchmarking-Initiative/
Benchmark-Models-PEtab. Without the folder the rows say "not run".

Usage: python benchmarks/petab_collection.py [FOLDER] [--problems Boehm] [--rtol 1e-9] [--reference]
       [--quick]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
from _petab_starts import problem_file

import warp_phys as wp
from warp_phys.systems.errors import WarpPhysError

# Log likelihood at the published parameters.
PUBLISHED = {
    "Bachmann": 418.40573,
    "Beer": 58622.91456,
    "Boehm": -138.22200,
    "Borghans": 83.32372,
    "Brannmark": -141.88911,
    "Bruno": 46.68818,
    "Chen": -115700.11926,
    "Crauste": -190.96522,
    "Elowitz": 63.20280,
    "Fiedler": 58.58390,
    "Fujita": 53.08378,
    "Isensee": -3949.37597,
    "Lucarelli": -1681.60599,
    "Schwen": -943.99930,
    "Smith": -888198.43654,
    "Sneyd": 319.79178,
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
QUICK = ("Boehm", "Crauste", "Bruno")


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
    merged = data.merge(means, on=keys, how="left")
    if merged["simulation"].isna().any():  # other names in the two tables, in the same order
        merged = data.assign(simulation=simulated["simulation"])
    return merged


def deviation(folder: Path, predicted: np.ndarray) -> float:
    """Return the largest relative difference from the simulated values, NaN without any."""
    table = simulated_values(folder)
    if table is None or len(table) != len(predicted):
        return float("nan")
    expected = table["simulation"].to_numpy(dtype=float)
    largest = np.abs(table["simulation"]).groupby(table["observableId"]).transform("max")
    return float(np.max(np.abs(predicted - expected) / (np.abs(expected) + 1e-3 * largest)))


def processor_time() -> float:
    """Return the processor time in seconds of this process and of the compilers it has called."""
    return sum(os.times()[:4])


def row(folder: Path, name: str, rtol: float, reference: bool) -> str:
    """Return one line of the table."""
    published = PUBLISHED.get(name)
    shown = "" if published is None else f"{published:.5f}"
    begun = processor_time()
    try:
        path = problem_file(folder, name)
        problem = wp.read_petab(path)
    except (WarpPhysError, FileNotFoundError) as error:
        return f"| {name} | refused: {error} | | {shown} | | | | |"
    sizes = (
        f"{problem.data.sizes['trajectory']} trajectories, {len(problem.system.states)} states, "
        f"{len(problem.nominal)} estimated"
    )
    options = {"rtol": rtol, "atol": 1e-3 * rtol}
    try:
        found = problem.log_likelihood(**options)
        cold = processor_time() - begun
        off = deviation(path.parent, problem.predict(**options))
        warm = processor_time() - begun - cold
    except WarpPhysError as error:
        return f"| {name} | {sizes} | failed: {error} | {shown} | | | | |"
    by_scipy = ""
    if reference:
        exact = problem.log_likelihood(rtol=1e-12, atol=1e-15, method="scipy-stiff")
        by_scipy = f"{exact:.5f}"
    deviating = "" if np.isnan(off) else f"{off:.1e}"
    return (
        f"| {name} | {sizes} | {found:.5f} | {shown} | {by_scipy} | {deviating} | {cold:.1f} "
        f"| {warm:.2f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a copy of the collection")
    parser.add_argument("--problems", nargs="+", default=NAMES, choices=NAMES, metavar="NAME")
    parser.add_argument("--rtol", type=float, default=1e-9)
    parser.add_argument("--reference", action="store_true", help="integrate by SciPy, too")
    parser.add_argument("--quick", action="store_true", help="three problems alone")
    options = parser.parse_args()
    columns = ("problem", "read", "log likelihood", "published", "by SciPy", "from simulated")
    print(f"| {' | '.join((*columns, 'cold s', 'warm s'))} |")
    print("|---|---|---|---|---|---|---|---|")
    for name in QUICK if options.quick else options.problems:
        if options.folder is None:
            print(f"| {name} | not run | | | | | | |")
        else:
            print(row(options.folder, name, options.rtol, options.reference), flush=True)


if __name__ == "__main__":
    main()
