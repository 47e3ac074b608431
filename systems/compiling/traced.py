"""Caches the traced expressions of systems."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from warp_phys.systems.compiling.recording import TracingError
from warp_phys.systems.compiling.tracing import SystemGraph, trace_system
from warp_phys.systems.model.system import System

_KNOWN: WeakKeyDictionary[System, SystemGraph | None] = WeakKeyDictionary()
# Instances of a shipped class with equal options have the same functions; the instances of a user's
# class may hold anything, so that each is traced.
_SHIPPED: dict[tuple[type[System], str], SystemGraph | None] = {}


def translated(system: System) -> SystemGraph | None:
    """Return the traced functions of a system, None if it cannot be traced."""
    kind = type(system)
    if kind.__module__.startswith("warp_phys.systems.catalog."):
        key = (kind, repr(sorted(system.options.items())))
        if key not in _SHIPPED:
            _SHIPPED[key] = _traced(system)
        return _SHIPPED[key]
    if system not in _KNOWN:
        _KNOWN[system] = _traced(system)
    return _KNOWN[system]


def untranslated(system: System) -> str:
    """Return why a system cannot be traced; an empty text if it can."""
    try:
        trace_system(system)
    except TracingError as error:
        return str(error)
    return ""


def _traced(system: System) -> SystemGraph | None:
    try:
        return trace_system(system)
    except TracingError:
        return None
