"""Starting points of PEtab problems, the same in every environment that has pandas and SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import qmc

TO_LINEAR = {"lin": lambda x: x, "log": np.exp, "log10": lambda x: 10.0**x}
FROM_LINEAR = {"lin": lambda x: x, "log": np.log, "log10": np.log10}


def problem_file(folder: Path, name: str) -> Path:
    """Return the YAML file of a problem of the collection."""
    found = sorted(folder.glob(f"**/{name}_*/*.yaml"))
    own = [path for path in found if "test" not in path.name]
    if not own:
        raise FileNotFoundError(f"no problem {name} in {folder.name}")
    return own[0]


def estimated_parameters(path: Path) -> pd.DataFrame:
    """Return the lines of a problem's parameter table that are estimated."""
    (table,) = path.parent.glob("parameters*.tsv")
    lines = pd.read_csv(table, sep="\t", dtype={"parameterId": str})
    return lines[lines["estimate"] == 1].set_index("parameterId")


def starts(parameters: pd.DataFrame, count: int, seed: int) -> np.ndarray:
    """Return starts (count, P) on the scales of the table, by a Latin hypercube in the bounds."""
    ends = [
        [FROM_LINEAR[line.parameterScale](float(end)) for end in (line.lowerBound, line.upperBound)]
        for line in parameters.itertuples()
    ]
    low, high = np.array(ends).T
    unit = qmc.LatinHypercube(len(parameters), rng=np.random.default_rng(seed)).random(count)
    return low + (high - low) * unit


def linear(parameters: pd.DataFrame, start: np.ndarray) -> dict[str, float]:
    """Return one start by parameter, in linear scale."""
    return {
        name: float(TO_LINEAR[scale](value))
        for (name, scale), value in zip(parameters["parameterScale"].items(), start, strict=True)
    }
