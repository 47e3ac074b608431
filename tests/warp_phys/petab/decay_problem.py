"""A problem with one species that decays, which tests change in one place each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import warp_phys as wp
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, Sbml, table, write_problem

MEASURED = "observableId simulationConditionId measurement time"
TIMES = np.linspace(0.5, 5.0, 10)


def decay() -> Sbml:
    """A species that decays; its constants are `lambda`, a keyword, and `_rate0`."""
    return (
        Sbml()
        .compartment("cell")
        .species("A", 2.0)
        .parameter("lambda", 0.5)
        .parameter("_rate0", 1.0)
        .reaction("r", {"A": 1}, {}, "cell * lambda * _rate0 * A")
    )


def tables(**given: str) -> dict[str, str]:
    """Return the tables of a problem with one observable of the decay, and 2 % of it as noise."""
    wiggle = 0.04 * np.sin(17.0 * TIMES)
    values = 3.0 * 2.0 * np.exp(-0.4 * TIMES) + wiggle
    return {
        "parameters": table(
            PARAMETER_COLUMNS,
            ("lambda", "log10", 1e-3, 1e3, 0.4, 1),
            ("_rate0", "lin", 0, 5, 1.0, 0),
            ("A", "log10", 1e-3, 1e3, 2.0, 1),
            ("factor", "log10", 1e-3, 1e3, 3.0, 0),
        ),
        "observables": table(
            "observableId observableFormula noiseFormula", ("A", "factor * A", "0.05")
        ),
        "measurements": table(
            MEASURED,
            *(("A", "only", y, t) for y, t in zip(values.tolist(), TIMES.tolist(), strict=True)),
        ),
    } | given


def noisy(formula: str, scale: str = "lin") -> dict[str, str]:
    """Return tables with the noise level `sd`, which is estimated."""
    columns = "observableId observableFormula noiseFormula observableTransformation"
    values = 3.0 * 2.0 * np.exp(-0.4 * TIMES) * (1.0 + 0.02 * np.sin(17.0 * TIMES))
    lines = zip(values.tolist(), TIMES.tolist(), strict=True)
    return {
        "parameters": table(
            PARAMETER_COLUMNS,
            ("lambda", "log10", 1e-3, 1e3, 0.4, 1),
            ("sd", "log10", 1e-4, 1e3, 0.1, 1),
            ("factor", "log10", 1e-3, 1e3, 3.0, 0),
        ),
        "observables": table(columns, ("A", "factor * A", formula, scale)),
        "measurements": table(
            f"{MEASURED} noiseParameters",
            *(("A", "only", y, t, 1.0 + 0.1 * t) for y, t in lines),
        ),
    }


def read(folder: Path, model: Sbml | str | None = None, **given: str) -> wp.PetabProblem:
    return wp.read_petab(write_problem(folder, model or decay(), **tables(**given)))
