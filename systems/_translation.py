"""Systems as expressions, traced once each."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from warp_phys.systems._system import System
from warp_phys.systems._tracing import SystemGraph, TracingError, trace_system

_KNOWN: WeakKeyDictionary[System, SystemGraph | None] = WeakKeyDictionary()


def translated(system: System) -> SystemGraph | None:
    """Return what a system computes as expressions, None where it cannot be traced."""
    if system not in _KNOWN:
        try:
            _KNOWN[system] = trace_system(system)
        except TracingError:
            _KNOWN[system] = None
    return _KNOWN[system]
