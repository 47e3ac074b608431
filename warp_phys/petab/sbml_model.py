"""The mathematics of an SBML model: rates of change, rules and initial values as expressions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from warp_phys.petab.expressions import (
    Expression,
    Name,
    Number,
    Operation,
    product,
    quotient,
    sum_of,
)
from warp_phys.petab.formulas import Formulas
from warp_phys.petab.libraries import libsbml
from warp_phys.petab.sbml_events import SbmlEvent, read_events, unsupported_events
from warp_phys.systems.errors import UnsupportedError, UsageError

# SBML packages that leave the equations as they are: drawings, and functions in formulas, which are
# checked one by one.
_HARMLESS = ("layout", "render", "groups", "l3v2extendedmath")


@dataclass
class Model:
    """The equations of an SBML model, by identifier.

    Species stand for concentrations, or for amounts where they have only substance units, as they
    do in the formulas of SBML.

    Attributes:
        file: Name of the file, for messages.
        rates: Rates of change of the states: species changed by reactions, and what rate rules or
            events change.
        rules: What assignment rules determine, and the rates of reactions.
        initial: Initial values of the states, and values of the constants. Quantities that have
            none are missing.
        species: Identifiers of all species.
        events: The events.
        formulas: Converts further formulas with the model's functions.
        source: libsbml's model, and the document that owns it.
    """

    file: str
    rates: dict[str, Expression] = field(default_factory=dict)
    rules: dict[str, Expression] = field(default_factory=dict)
    initial: dict[str, Expression] = field(default_factory=dict)
    species: set[str] = field(default_factory=set)
    events: tuple[SbmlEvent, ...] = ()
    formulas: Formulas = field(default_factory=lambda: Formulas({}))
    source: tuple[Any, Any] = (None, None)


def read_model(path: Path) -> Model:
    """Read an SBML file.

    Raises:
        FileNotFoundError: There is no such file.
        UsageError: The file is not valid SBML.
        UnsupportedError: The model has features that are not supported; the message lists all.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no model file {path.name} next to the problem's YAML file"
        )
    document = libsbml().readSBMLFromFile(str(path))
    source = document.getModel()
    if source is None:
        error = document.getError(0).getMessage() if document.getNumErrors() else "no model"
        raise UsageError(f"expected {path.name} as SBML, received: {' '.join(error.split())}")
    missing = list(_unsupported(document, source))
    if missing:
        raise UnsupportedError(f"{path.name} has {'; '.join(missing)}, which is not supported")
    functions = {
        definition.getId(): definition.getMath()
        for definition in source.getListOfFunctionDefinitions()
    }
    model = Model(path.name, formulas=Formulas(functions), source=(source, document))
    _read_values(model, source)
    _read_rules(model, source)
    _read_reactions(model, source)
    model.events = read_events(source, model.formulas, path.name)
    for event in model.events:
        for name in event.values:
            # What nothing but events changes is a state, too.
            model.rates.setdefault(name, Number(0.0))
    for assignment in source.getListOfInitialAssignments():
        if assignment.isSetMath():
            target = assignment.getSymbol()
            where = f"the initial assignment of {target!r} in {path.name}"
            model.initial[target] = model.formulas.convert(assignment.getMath(), where)
    return model


def _unsupported(document: Any, source: Any) -> Iterator[str]:
    """Yield the features of a model that cannot be translated, each in words."""
    yield from unsupported_events(source)
    rules = source.getListOfRules()
    if any(rule.isAlgebraic() for rule in rules):
        yield "algebraic rules"
    varying = [rule.getVariable() for rule in rules if source.getCompartment(rule.getVariable())]
    if varying:
        yield f"compartments whose size changes ({', '.join(varying)})"
    fast = [r.getId() for r in source.getListOfReactions() if r.isSetFast() and r.getFast()]
    if fast:
        yield f"fast reactions ({', '.join(fast)})"
    if source.isSetConversionFactor() or any(
        species.isSetConversionFactor() for species in source.getListOfSpecies()
    ):
        yield "conversion factors"
    for place in range(document.getNumPlugins()):
        package = document.getPlugin(place).getPackageName()
        if document.getPackageRequired(package) and _has_content(source, package):
            yield f"the SBML package {package!r}"


def _has_content(source: Any, package: str) -> bool:
    """Return whether an SBML package changes the equations of a model."""
    if package == "comp":
        return bool(source.getPlugin("comp").getNumSubmodels())
    return package not in _HARMLESS


def _read_values(model: Model, source: Any) -> None:
    """Read the values of compartments, parameters and species, without assignments."""
    for compartment in source.getListOfCompartments():
        if compartment.isSetSize():
            model.initial[compartment.getId()] = Number(compartment.getSize())
    for parameter in source.getListOfParameters():
        if parameter.isSetValue():
            model.initial[parameter.getId()] = Number(parameter.getValue())
    for species in source.getListOfSpecies():
        name = species.getId()
        model.species.add(name)
        size = Name(species.getCompartment())
        amounts = _in_amounts(source, species)
        if species.isSetInitialAmount():
            amount = Number(species.getInitialAmount())
            model.initial[name] = amount if amounts else quotient(amount, size)
        elif species.isSetInitialConcentration():
            density = Number(species.getInitialConcentration())
            model.initial[name] = product(density, size) if amounts else density


def _in_amounts(source: Any, species: Any) -> bool:
    """Return whether a species stands for its amount in formulas, not for its concentration."""
    if species.getHasOnlySubstanceUnits():
        return True
    compartment = source.getCompartment(species.getCompartment())
    return bool(compartment.isSetSpatialDimensions() and compartment.getSpatialDimensions() == 0)


def _read_rules(model: Model, source: Any) -> None:
    for rule in source.getListOfRules():
        target = rule.getVariable()
        math = model.formulas.convert(rule.getMath(), f"the rule of {target!r} in {model.file}")
        (model.rules if rule.isAssignment() else model.rates)[target] = math


def _read_reactions(model: Model, source: Any) -> None:
    """Read the rates of reactions, and what they add to and take from each species.

    The amount of a species changes by its stoichiometry times the rate of each reaction; its
    concentration by that over the size of its compartment.
    """
    changes: dict[str, list[Expression]] = {}
    for reaction in source.getListOfReactions():
        name = reaction.getId()
        law = reaction.getKineticLaw()
        if law is None or not law.isSetMath():
            raise UnsupportedError(f"reaction {name!r} in {model.file} has no kinetic law")
        local = {
            parameter.getId(): Number(parameter.getValue())
            for parameter in (*law.getListOfParameters(), *law.getListOfLocalParameters())
        }
        where = f"the rate of reaction {name!r} in {model.file}"
        model.rules[name] = model.formulas.convert(law.getMath(), where, local)
        for references, sign in (
            (reaction.getListOfReactants(), -1.0),
            (reaction.getListOfProducts(), 1.0),
        ):
            for reference in references:
                count = _stoichiometry(model, reference, name)
                term = product(_signed(sign, count), Name(name))
                changes.setdefault(reference.getSpecies(), []).append(term)
    for name, terms in changes.items():
        species = source.getSpecies(name)
        ruled = name in model.rules or name in model.rates
        if species.getBoundaryCondition() or species.getConstant() or ruled:
            continue
        total = sum_of(terms)
        amounts = _in_amounts(source, species)
        model.rates[name] = total if amounts else quotient(total, Name(species.getCompartment()))


def _stoichiometry(model: Model, reference: Any, reaction: str) -> Expression:
    if reference.isSetStoichiometryMath():
        where = f"the stoichiometry of {reference.getSpecies()!r} in reaction {reaction!r}"
        return model.formulas.convert(reference.getStoichiometryMath().getMath(), where)
    if reference.isSetId() and reference.getId():
        # Rules and initial assignments may set the stoichiometry by this identifier.
        model.initial[reference.getId()] = Number(reference.getStoichiometry())
        return Name(reference.getId())
    return Number(reference.getStoichiometry())


def _signed(sign: float, count: Expression) -> Expression:
    if isinstance(count, Number):
        return Number(sign * count.value)
    return count if sign > 0.0 else Operation("negative", (count,))
