"""The tables of a PEtab problem (version 1), read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pandas as pd

from warp_phys.petab.checks import (
    check_different,
    check_frame,
    check_measurement,
    check_parameter,
    is_estimated,
)
from warp_phys.petab.problem_files import problem_files
from warp_phys.systems.errors import SchemaError, UnsupportedError, UsageError, unknown_name

Value: TypeAlias = float | str
"""A number, or the identifier of a parameter."""

_COLUMNS = {
    "parameter": ("parameterId", "parameterScale", "nominalValue", "estimate"),
    "condition": ("conditionId",),
    "observable": ("observableId", "observableFormula", "noiseFormula"),
    "measurement": ("observableId", "simulationConditionId", "measurement", "time"),
}
SCALES = ("lin", "log", "log10")
_DISTRIBUTIONS = ("normal", "laplace")


@dataclass(frozen=True)
class TableParameter:
    """One line of the parameter table.

    Attributes:
        name: Identifier.
        scale: "lin", "log" or "log10", the scale on which it is estimated.
        lower: Lower bound, in linear scale.
        upper: Upper bound, in linear scale.
        nominal: The published or assumed value.
        estimated: Whether it is estimated.
        prior: Type and parameters of its prior in the objective, empty if it has none.
    """

    name: str
    scale: str
    lower: float
    upper: float
    nominal: float
    estimated: bool
    prior: tuple[str, str] | tuple[()]


@dataclass(frozen=True)
class Observable:
    """One line of the observable table; `scale` and `distribution` say how errors are measured."""

    name: str
    formula: str
    noise_formula: str
    scale: str
    distribution: str
    description: str


@dataclass(frozen=True)
class Measurement:
    """One line of a measurement table.

    Attributes:
        observable: Identifier of the observable.
        before: Identifier of the condition that is equilibrated before time zero, or None.
        condition: Identifier of the condition from time zero on.
        time: Time, infinite for a steady state.
        value: What was measured.
        observable_values: Overrides of the observable's placeholders.
        noise_values: Overrides of the placeholders of its noise.
    """

    observable: str
    before: str | None
    condition: str
    time: float
    value: float
    observable_values: tuple[Value, ...]
    noise_values: tuple[Value, ...]


@dataclass(frozen=True)
class Tables:
    """The tables of a problem.

    Attributes:
        name: Name of the YAML file without its suffix.
        model: Path of the SBML file.
        parameters: Parameters by identifier.
        conditions: Values of model quantities by condition; those left empty are missing.
        observables: Observables by identifier.
        measurements: Every measurement.
    """

    name: str
    model: Path
    parameters: Mapping[str, TableParameter]
    conditions: Mapping[str, Mapping[str, Value]]
    observables: Mapping[str, Observable]
    measurements: Sequence[Measurement]


def read_tables(path: Path) -> Tables:
    """Read the YAML file of a problem and the tables it names.

    Raises:
        FileNotFoundError: A file does not exist.
        SchemaError: A file is not what PEtab prescribes.
        UnsupportedError: The problem has several models, or is of another version.
    """
    files = problem_files(path)
    folder = path.parent
    frames = {
        kind: _frame([folder / name for name in files[kind]], kind, columns)
        for kind, columns in _COLUMNS.items()
    }
    for kind in ("parameter", "condition", "observable"):
        check_different(kind, frames[kind][f"{kind}Id"])
    parameters = {p.name: p for p in _parameters(frames["parameter"])}
    observables = {o.name: o for o in _observables(frames["observable"])}
    conditions = _conditions(frames["condition"])
    measurements = _measurements(frames["measurement"])
    if not measurements:
        raise UsageError(f"the measurement tables of {path.name} have no value")
    for number, one in enumerate(measurements, start=1):
        if one.observable not in observables:
            raise unknown_name(f"observable of {path.name}", one.observable, observables)
        for condition in (one.before, one.condition):
            if condition is not None and condition not in conditions:
                raise unknown_name(f"condition of {path.name}", condition, conditions)
        scale = observables[one.observable].scale
        check_measurement(number, one.observable, scale, one.value, one.time)
    model = folder / files["model"][0]
    return Tables(path.stem, model, parameters, conditions, observables, measurements)


def _frame(paths: list[Path], kind: str, columns: Sequence[str]) -> pd.DataFrame:
    """Return the lines of tables of one kind, every cell as text, empty ones as ""."""
    parts = []
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no {kind} table {path.name} next to the problem's YAML file"
            )
        try:
            part = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, na_filter=False)
        except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise SchemaError(
                f"the {kind} table {path.name} is no table of tab-separated text: {error}"
            ) from None
        part.columns = part.columns.str.strip()
        check_frame(part, kind, path.name, columns)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True).fillna("")
    return table.map(lambda cell: str(cell).strip())


def _parameters(frame: pd.DataFrame) -> list[TableParameter]:
    found = []
    for line in frame.to_dict("records"):
        name = line["parameterId"]
        scale = line["parameterScale"] or "lin"
        _check_choice(f"parameterScale of {name!r}", scale, SCALES)
        estimated = is_estimated(name, line["estimate"])
        low, high = (
            _number(line.get(f"{end}Bound", ""), f"{end}Bound of {name!r}", limit)
            for end, limit in (("lower", "-inf"), ("upper", "inf"))
        )
        nominal = _number(line["nominalValue"], f"nominalValue of {name!r}", "nan")
        check_parameter(name, scale, low, high, None if estimated else nominal)
        prior = line.get("objectivePriorType", "")
        found.append(
            TableParameter(
                name=name,
                scale=scale,
                lower=low,
                upper=high,
                nominal=nominal,
                estimated=estimated,
                prior=(prior, line.get("objectivePriorParameters", "")) if prior else (),
            )
        )
    return found


def _observables(frame: pd.DataFrame) -> list[Observable]:
    found = []
    for line in frame.to_dict("records"):
        name = line["observableId"]
        scale = line.get("observableTransformation", "") or "lin"
        distribution = line.get("noiseDistribution", "") or "normal"
        _check_choice(f"observableTransformation of {name!r}", scale, SCALES)
        _check_choice(f"noiseDistribution of {name!r}", distribution, _DISTRIBUTIONS)
        found.append(
            Observable(
                name,
                line["observableFormula"],
                line["noiseFormula"],
                scale,
                distribution,
                line.get("observableName", ""),
            )
        )
    return found


def _conditions(frame: pd.DataFrame) -> dict[str, dict[str, Value]]:
    columns = [name for name in frame.columns if name not in ("conditionId", "conditionName")]
    return {
        line["conditionId"]: {
            name: value_of(line[name]) for name in columns if line[name] not in ("", "NaN", "nan")
        }
        for line in frame.to_dict("records")
    }


def _measurements(frame: pd.DataFrame) -> list[Measurement]:
    found = []
    for number, line in enumerate(frame.to_dict("records"), start=1):
        where = f"of measurement {number}"
        value = _number(line["measurement"], f"the value {where}", "nan")
        if value == value:  # a line without a value says nothing
            found.append(
                Measurement(
                    line["observableId"],
                    line.get("preequilibrationConditionId", "") or None,
                    line["simulationConditionId"],
                    _number(line["time"], f"the time {where}", ""),
                    value,
                    _values(line.get("observableParameters", "")),
                    _values(line.get("noiseParameters", "")),
                )
            )
    return found


def _values(cell: str) -> tuple[Value, ...]:
    return tuple(value_of(part.strip()) for part in cell.split(";")) if cell else ()


def value_of(cell: str) -> Value:
    """Return a cell as a number where it is one, else as an identifier."""
    try:
        return float(cell)
    except ValueError:
        return cell


def _number(cell: str, where: str, empty: str) -> float:
    try:
        return float(cell or empty)
    except ValueError:
        raise UsageError(f"expected {where} as a number, received {cell!r}") from None


def _check_choice(where: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UnsupportedError(
            f"expected {where} as {', '.join(known[:-1])} or {known[-1]}; received {value!r}"
        )
