"""Small PEtab problems, written to a folder by the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import libsbml

PARAMETER_COLUMNS = "parameterId parameterScale lowerBound upperBound nominalValue estimate"


class Sbml:
    """An SBML model under construction, of Level 3 Version 2."""

    def __init__(self, name: str = "model") -> None:
        self.document = libsbml.SBMLDocument(3, 2)
        self.model = self.document.createModel(name)

    def compartment(self, name: str, size: float = 1.0) -> Sbml:
        entry = self.model.createCompartment()
        entry.setId(name)
        entry.setConstant(True)
        entry.setSpatialDimensions(3)
        entry.setSize(size)
        return self

    def species(
        self, name: str, start: float | None = None, *, amounts: bool = False, where: str = "cell"
    ) -> Sbml:
        entry = self.model.createSpecies()
        entry.setId(name)
        entry.setCompartment(where)
        entry.setHasOnlySubstanceUnits(amounts)
        entry.setBoundaryCondition(False)
        entry.setConstant(False)
        if start is not None:
            (entry.setInitialAmount if amounts else entry.setInitialConcentration)(start)
        return self

    def parameter(self, name: str, value: float | None = None, *, constant: bool = True) -> Sbml:
        entry = self.model.createParameter()
        entry.setId(name)
        entry.setConstant(constant)
        if value is not None:
            entry.setValue(value)
        return self

    def reaction(
        self, name: str, reactants: Mapping[str, float], products: Mapping[str, float], law: str
    ) -> Sbml:
        entry = self.model.createReaction()
        entry.setId(name)
        entry.setReversible(False)
        for create, sides in (
            (entry.createReactant, reactants),
            (entry.createProduct, products),
        ):
            for species, count in sides.items():
                reference = create()
                reference.setSpecies(species)
                reference.setStoichiometry(count)
                reference.setConstant(True)
        entry.createKineticLaw().setMath(_math(law))
        return self

    def rule(self, name: str, formula: str, *, rate: bool = False) -> Sbml:
        entry = self.model.createRateRule() if rate else self.model.createAssignmentRule()
        entry.setVariable(name)
        entry.setMath(_math(formula))
        return self

    def initial(self, name: str, formula: str) -> Sbml:
        entry = self.model.createInitialAssignment()
        entry.setSymbol(name)
        entry.setMath(_math(formula))
        return self

    def function(self, name: str, arguments: str, body: str) -> Sbml:
        entry = self.model.createFunctionDefinition()
        entry.setId(name)
        entry.setMath(_math(f"lambda({arguments}, {body})"))
        return self

    def event(
        self,
        name: str,
        trigger: str,
        values: Mapping[str, str],
        *,
        held_before: bool = True,
        delay: str = "",
        priority: str = "",
    ) -> Sbml:
        entry = self.model.createEvent()
        entry.setId(name)
        entry.setUseValuesFromTriggerTime(True)
        start = entry.createTrigger()
        start.setMath(_math(trigger))
        start.setInitialValue(held_before)
        start.setPersistent(True)
        for create, formula in ((entry.createDelay, delay), (entry.createPriority, priority)):
            if formula:
                create().setMath(_math(formula))
        for target, value in values.items():
            change = entry.createEventAssignment()
            change.setVariable(target)
            change.setMath(_math(value))
        return self

    def text(self) -> str:
        return str(libsbml.writeSBMLToString(self.document))


def _math(formula: str) -> Any:
    math = libsbml.parseL3Formula(formula)
    assert math is not None, libsbml.getLastParseL3Error()
    return math


def table(columns: str, *lines: Sequence[object]) -> str:
    """Return a table of tab-separated values."""
    rows = ["\t".join(map(str, line)) for line in lines]
    return "\n".join(["\t".join(columns.split()), *rows, ""])


def write_problem(
    folder: Path,
    model: Sbml | str,
    *,
    parameters: str,
    observables: str,
    measurements: str,
    conditions: str = "conditionId\nonly\n",
    yaml: Callable[[str], str] = lambda text: text,
) -> Path:
    """Write the files of a problem and return the path of its YAML file."""
    content = (
        "format_version: 1\nparameter_file: parameters.tsv\nproblems:\n"
        "- condition_files: [conditions.tsv]\n  observable_files: [observables.tsv]\n"
        "  measurement_files: [measurements.tsv]\n  sbml_files: [model.xml]\n"
    )
    files = {
        "problem.yaml": yaml(content),
        "model.xml": model if isinstance(model, str) else model.text(),
        "parameters.tsv": parameters,
        "conditions.tsv": conditions,
        "observables.tsv": observables,
        "measurements.tsv": measurements,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "problem.yaml"
