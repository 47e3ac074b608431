"""Doses with a lag time, a duration or a bioavailability, as events and infusions of a system.

Where a system declares `Dosing`, times and amounts of the doses become known parameters of a twin
of the system, in which each dose is an event or a pulse of the right-hand side. Locating events and
carrying derivatives across them then covers doses, too.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.assemble import assemble
from warp_phys.systems.model.dosing import Dosing
from warp_phys.systems.model.equations import Equations
from warp_phys.systems.model.events import Event
from warp_phys.systems.model.quantities import Parameter
from warp_phys.systems.model.system import System

# The class of a twin by the class of the system and the states of its doses.
_KINDS: dict[tuple[type[Equations], tuple[str, ...]], type[System]] = {}
# The twins of each system, by the states of its doses.
_TWINS: WeakKeyDictionary[System, dict[tuple[str, ...], System]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Dosed:
    """A system in which doses are parameters.

    Attributes:
        system: The twin of the system; its parameters are those of the system, then the added ones.
        columns: (N, 2 M), the values of the added parameters.
        plain: The doses that no `Dosing` concerns, or None without any.
    """

    system: System
    columns: Tensor
    plain: Doses | None


def with_dosing(system: System, doses: Doses | None) -> Dosed | None:
    """Return the twin of a system in which its doses are parameters, None where there are none.

    Args:
        system: The system.
        doses: Doses of N trajectories.
    """
    governed = [one.state for one in system.dosing]
    if doses is None or not set(doses.states) & set(governed):
        return None
    own = [place for place, state in enumerate(doses.states) if state in governed]
    times, amounts = doses.times[:, own], doses.amounts[:, own]
    given = times.isfinite()
    # A dose that a trajectory does not get comes at a time that is never reached.
    never = 1e-3 * torch.finfo(times.dtype).max
    pairs = torch.stack(
        [torch.where(given, times, never), torch.where(given, amounts, 0.0)], dim=2
    )
    states = tuple(doses.states[place] for place in own)
    return Dosed(_twin(system, states), pairs.flatten(1), plain_doses(system, doses))


def plain_doses(system: System, doses: Doses | None) -> Doses | None:
    """Return the doses that no `Dosing` of the system concerns, None without any."""
    governed = {one.state for one in system.dosing}
    if doses is None or not governed:
        return doses
    rest = [place for place, state in enumerate(doses.states) if state not in governed]
    if not rest:
        return None
    states = tuple(doses.states[place] for place in rest)
    return Doses(states, doses.amounts[:, rest], doses.times[:, rest])


def _twin(system: System, states: tuple[str, ...]) -> System:
    """Return the twin of a system for doses into these states; the same one each time."""
    # Tracing and compiling a system takes seconds, and its twins live as long as it does.
    known = _TWINS.setdefault(system, {})
    if states not in known:
        twin = copy.copy(system)
        twin.__class__ = _kind(type(system), states)
        twin.parameters = (*system.parameters, *_parameters(system, states))
        twin.events = (*system.events, *_boluses(system, states))
        known[states] = twin
    return known[states]


def _parameters(system: System, states: tuple[str, ...]) -> list[Parameter]:
    units = {state.name: state.unit for state in system.states}
    found = []
    for number, state in enumerate(states):
        found.append(Parameter(_time(number), system.time_unit, fixed=0.0))
        found.append(Parameter(_amount(number), units[state], fixed=0.0))
    return found


def _time(number: int) -> str:
    return f"time_of_dose_{number}"


def _amount(number: int) -> str:
    return f"amount_of_dose_{number}"


def _kind(kind: type[System], states: tuple[str, ...]) -> type[System]:
    """Return the class of a twin, with the infusions in its right-hand side."""
    if (kind, states) not in _KINDS:

        def rhs(self: System, t: Any, y: Tensor, p: Any) -> Tensor:
            rates = list(
                assemble(kind.rhs(self, t, y, p), y, self.state_names, f"{kind.__name__}.rhs")
            )
            for number, state in enumerate(states):
                dosing = _dosing(self.dosing, state)
                if dosing.duration is not None:
                    place = self.state_names.index(state)
                    rates[place] = rates[place] + _infusion(dosing, number, t, p)
            return torch.stack(rates)

        body = {"rhs": rhs, "__doc__": kind.__doc__, "__module__": kind.__module__}
        body["__qualname__"] = kind.__qualname__
        _KINDS[kind, states] = type(kind.__name__, (kind,), body)
    return _KINDS[kind, states]


def _dosing(dosing: tuple[Dosing, ...], state: str) -> Dosing:
    return next(one for one in dosing if one.state == state)


def _begin(dosing: Dosing, number: int, p: Any) -> Any:
    time = getattr(p, _time(number))
    return time if dosing.lag is None else time + getattr(p, dosing.lag)


def _arriving(dosing: Dosing, number: int, p: Any) -> Any:
    amount = getattr(p, _amount(number))
    if dosing.bioavailability is None:
        return amount
    return getattr(p, dosing.bioavailability) * amount


def _infusion(dosing: Dosing, number: int, t: Any, p: Any) -> Tensor:
    begin, duration = _begin(dosing, number, p), getattr(p, str(dosing.duration))
    running = (t >= begin) & (t < begin + duration)
    return torch.where(running, _arriving(dosing, number, p) / duration, 0.0)


def _boluses(system: System, states: tuple[str, ...]) -> list[Event]:
    every = [(number, state, _dosing(system.dosing, state)) for number, state in enumerate(states)]
    return [
        _bolus(one, number, system.state_names.index(state))
        for number, state, one in every
        if one.duration is None
    ]


def _bolus(dosing: Dosing, number: int, place: int) -> Event:
    def due(t: Any, y: Tensor, p: Any) -> Any:
        return t >= _begin(dosing, number, p)

    def raised(t: Any, y: Tensor, p: Any) -> Any:
        return y[place] + _arriving(dosing, number, p)

    return Event(due, {dosing.state: raised})
