"""The formulas of the outputs and of their noise, with placeholders of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from warp_phys.petab.expressions import Expression, Name, replaced
from warp_phys.petab.formulas import parse_formula
from warp_phys.petab.sbml_model import Model
from warp_phys.petab.tables import Observable

_PLACEHOLDER = re.compile(r"(observable|noise)Parameter([1-9]\d*)_(.+)")


@dataclass(frozen=True)
class OutputFormulas:
    """One output: an observable, or those of its lines that have one set of noise parameters.

    Attributes:
        name: Name of the output in the problem.
        observable: Its line of the observable table.
        formula: What is observed; placeholders are named "observableParameter1_NAME".
        noise: Standard deviation or scale of the noise; placeholders likewise.
        placeholders: How many values of the observable each measurement must give.
        noise_placeholders: How many values of the noise each measurement must give.
    """

    name: str
    observable: Observable
    formula: Expression
    noise: Expression
    placeholders: int
    noise_placeholders: int


def output_formulas(
    outputs: Sequence[tuple[str, str]], observables: dict[str, Observable], model: Model
) -> list[OutputFormulas]:
    """Return the formulas of outputs, given as pairs of name and observable."""
    found = []
    for name, identifier in outputs:
        observable = observables[identifier]
        formula, values = _parse(observable.formula, "observableFormula", name, observable, model)
        noise, noise_values = _parse(
            observable.noise_formula, "noiseFormula", name, observable, model
        )
        found.append(
            OutputFormulas(
                name,
                observable,
                formula,
                noise,
                max(values.get("observable", 0), noise_values.get("observable", 0)),
                noise_values.get("noise", 0),
            )
        )
    return found


def placeholder(kind: str, number: int, output: str) -> str:
    """Return the name of a placeholder of an output; `kind` is "observable" or "noise"."""
    return f"{kind}Parameter{number}_{output}"


def _parse(
    text: str, column: str, output: str, observable: Observable, model: Model
) -> tuple[Expression, dict[str, int]]:
    """Return a formula, and the highest number of its placeholders of each kind."""
    where = f"the {column} of {observable.name!r}"
    formula = parse_formula(text, where, model.formulas, model.source[0])
    highest: dict[str, int] = {}

    def own(name: str) -> Expression:
        match = _PLACEHOLDER.fullmatch(name)
        if match is None or match[3] != observable.name:
            return Name(name)
        highest[match[1]] = max(highest.get(match[1], 0), int(match[2]))
        return Name(placeholder(match[1], int(match[2]), output))

    return replaced(formula, own), highest
