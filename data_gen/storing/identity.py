"""The configuration of a data set as JSON: equal configurations give bit-equal data.

Long arrays are represented by a digest, distributions by their arguments or quantiles, functions
and a user's own system by their compiled code.
"""

from __future__ import annotations

import dis
import hashlib
import json
import pickle
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch

from warp_phys.data_gen.drawing.distributions import Distribution
from warp_phys.data_gen.storing.wording import listed
from warp_phys.systems.compiling.cpp import system_source
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.forcing.doses import Dose
from warp_phys.systems.model.events import Event
from warp_phys.systems.model.system import System

_LONGEST_LISTED = 16
_EXACT = 2**53  # floats represent every integer up to here
_PROBABILITIES = np.linspace(0.001, 0.999, 99)
_DECLARED = ("states", "outputs", "inputs", "parameters", "default_initial_state")
_LIBRARIES = ("numpy", "scipy", "torch", "xarray")
_NUMBERS = int | float | np.number
_ARRAYS = np.generic | np.ndarray | torch.Tensor


def canonical(value: Any) -> Any:
    """Return a setting in a form that JSON can store; different settings stay different."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return _real(value)
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, System):
        return _system(value)
    if isinstance(value, Dose):
        return {name: canonical(getattr(value, name)) for name in ("state", "amount", "time")}
    if isinstance(value, Event):
        return {name: canonical(getattr(value, name)) for name in ("condition", "new_state")}
    if isinstance(value, Distribution):
        return _distribution(value)
    if isinstance(value, tuple) and all(isinstance(item, _NUMBERS) for item in value):
        return {"range": [canonical(item) for item in value]}
    return _other(value)


def differences(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return a description of the differences of two configurations."""
    old, new = dict(_flat(there)), dict(_flat(wanted))
    # Compared as JSON texts: 0 and false are equal in Python, and an absent entry is not null.
    before, after = ({name: json.dumps(flat[name]) for name in flat} for flat in (old, new))
    names = [name for name in old | new if before.get(name) != after.get(name)]
    return listed(
        [f"{name} ({_short(old, name)} there, {_short(new, name)} now)" for name in names]
    )


def _other(value: Any) -> Any:
    """Return numbers, functions, lists and other objects in a form that JSON can store."""
    # Functions have no value to compare: name and code stand for them.
    if hasattr(value, "__code__"):
        return {"function": value.__qualname__, "code": _code_digest(value)}
    if _numeric(value):
        return _array(np.asarray(value))
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return {"type": type(value).__qualname__, "pickle": _pickle_digest(value)}


def _real(value: float) -> int | float | str:
    """Return a float in a form that JSON can store; 1.0 and 1 are the same setting."""
    if not np.isfinite(value):
        return str(value)
    return int(value) if value.is_integer() and abs(value) <= _EXACT else float(value)


def _numeric(value: Any) -> bool:
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except (TypeError, ValueError):
        return False


def _array(array: np.ndarray[Any, Any]) -> Any:
    if array.size <= _LONGEST_LISTED:
        return canonical(array.item()) if array.ndim == 0 else [_array(entry) for entry in array]
    content = np.ascontiguousarray(array, dtype=np.float64)
    return {"shape": list(array.shape), "sha256": hashlib.sha256(content.tobytes()).hexdigest()}


def _pickle_digest(value: Any) -> str:
    """Return a digest of the pickled value, empty if it cannot be pickled."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except (pickle.PicklingError, AttributeError, TypeError):
        return ""


def _distribution(value: Any) -> dict[str, Any]:
    if hasattr(value, "dist") and hasattr(value, "kwds"):
        arguments = [canonical(item) for item in value.args]
        return {"distribution": value.dist.name, "args": arguments} | canonical(value.kwds)
    quantiles = np.asarray(value.ppf(_PROBABILITIES), dtype=np.float64)
    return {"distribution": type(value).__qualname__, "quantiles": _array(quantiles)["sha256"]}


def _system(system: System) -> dict[str, Any]:
    """Return the class, its options and attributes, and digests of its declaration and code.

    Where the system can be traced, its formulas have a digest as well.
    """
    kind = type(system)
    declared = {name: getattr(system, name) for name in ("time_unit", *_DECLARED)}
    classes = [one for one in kind.__mro__ if issubclass(one, System) and one is not System]
    methods = [
        f"{name} {_code_digest(function)}"
        for one in classes
        for name, member in vars(one).items()
        if hasattr(function := getattr(member, "__func__", member), "__code__")
    ]
    own = {
        name: canonical(value)
        for name, value in vars(system).items()
        if name not in (*_DECLARED, "options")
        and not isinstance(getattr(kind, name, None), cached_property)
    }
    graph = translated(system)
    # Left out where there are none, as in data sets written before there were any.
    sudden = {"events": canonical(list(system.events)), "dosing": repr(system.dosing)}
    return {
        "class": kind.__qualname__,
        "options": canonical(system.options),
        "attributes": own,
        "declaration": _sha256(repr(declared)),
        "code": _sha256("\n".join(methods)),
        "formulas": "" if graph is None else _sha256(system_source(graph)),
        **{name: value for name, value in sudden.items() if getattr(system, name)},
    }


def _code_digest(function: Any) -> str:
    """Return a digest of a function: its code, defaults, what it closes over and what it calls.

    Comments and line numbers do not change it.
    """
    return _sha256("\n".join(_function_words(function, set())))


def _function_words(function: Any, seen: set[Any]) -> Iterator[str]:
    """Yield the code of a function and of the module's functions and constants that it uses.

    Functions of libraries are left out: their versions are settings themselves.
    """
    code = function.__code__
    yield function.__qualname__
    library = str(function.__module__).partition(".")[0] in _LIBRARIES
    if function in seen or library:
        return
    seen.add(function)
    yield from _code_words(code)
    yield repr(canonical(function.__defaults__))
    yield repr(canonical(function.__kwdefaults__))
    for cell in function.__closure__ or ():
        yield from _value_words(cell.cell_contents, seen)
    for name in _globals_read(code):
        value = function.__globals__.get(name)
        if isinstance(value, FunctionType | bool | int | float | str | tuple | _ARRAYS):
            yield name
            yield from _value_words(value, seen)


def _value_words(value: Any, seen: set[Any]) -> Iterator[str]:
    if isinstance(value, FunctionType):
        yield from _function_words(value, seen)
    else:
        yield repr(canonical(value))


def _globals_read(code: CodeType) -> list[str]:
    """Return the global names that code reads and never sets (a counter is no setting)."""
    read, written = set(), set()
    for one in _codes(code):
        for step in dis.get_instructions(one):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(step.argval)
            elif step.opname == "STORE_GLOBAL":
                written.add(step.argval)
    return sorted(read - written)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _code_words(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames, code.co_freevars))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_words(constant)
        elif isinstance(constant, frozenset):
            yield repr(sorted(map(repr, constant)))
        else:
            yield repr(constant)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def _short(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "none"
    text = json.dumps(values[name])
    return text if len(text) <= 24 else f"{text[:20]}..."
