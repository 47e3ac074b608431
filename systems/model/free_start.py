"""Systems whose initial state is given, although their parameters would determine one."""

from __future__ import annotations

import copy

from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.system import System

_FREED: dict[type[System], type[System]] = {}


def with_free_start(system: System) -> System:
    """Return the system without its `initial_state(p)`; the system itself where it has none."""
    if not system.has_initial_state:
        return system
    twin = copy.copy(system)
    twin.__class__ = _freed(type(system))
    return twin


def _freed(kind: type[System]) -> type[System]:
    if kind in _FREED:
        return _FREED[kind]
    body = {
        "initial_state": Equations.initial_state,
        "__doc__": kind.__doc__,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
    }
    _FREED[kind] = type(kind.__name__, (kind,), body)
    return _FREED[kind]
