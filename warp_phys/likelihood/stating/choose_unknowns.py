"""The choice of the quantities that a fit estimates, and of their supports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from warp_phys.likelihood.unknown import Unknown, spans_decades
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.supports import Support, bounds, describe
from warp_phys.systems.model.system import System

# The usual range keeps this share of its width, or of that of its logarithm, away from either end
# of a bounded support.
_INNER = 0.05


def choose_unknowns(
    system: System,
    known: set[str],
    given: set[str],
    shared: set[str],
    limits: Mapping[str, Any] | None,
) -> tuple[Unknown, ...]:
    """Return the unknowns of a fit, shared ones first.

    Raises:
        UnknownNameError: Bounds name neither a parameter nor a state.
        UsageError: Bounds are not of the form (low, high), or are of a quantity that is known.

    Args:
        system: The system.
        known: Names of the parameters that are known in every trajectory.
        given: Names of the initial states that are known in every trajectory.
        shared: Names of the parameters and initial states that are shared.
        limits: Bounds (low, high) by name, which override the supports.
    """
    ranges = _checked_limits(system, limits)
    entries = [
        _unknown(
            "parameter",
            place,
            parameter,
            ranges,
            parameter.fixed if parameter.range is None else parameter.range,
            shared=parameter.name in shared,
        )
        for place, parameter in enumerate(system.parameters)
        if parameter.name not in known
    ]
    if not system.has_initial_state:
        entries += [
            _unknown(
                "initial_state",
                place,
                state,
                ranges,
                system.default_initial_state[state.name],
                shared=state.name in shared,
            )
            for place, state in enumerate(system.states)
            if state.name not in given
        ]
    _check_bounded(system, ranges, entries)
    return tuple(sorted(entries, key=lambda entry: not entry.shared))


def _check_bounded(
    system: System, limits: Mapping[str, tuple[float, float]], entries: Sequence[Unknown]
) -> None:
    """Raise UsageError if there are bounds of what is not estimated."""
    estimated = [entry.name for entry in entries]
    for name in limits:
        if name in estimated:
            continue
        if name in system.parameter_names:
            fixed = "its value is fixed"
        elif system.has_initial_state:
            fixed = "it follows from the parameters"
        else:
            fixed = 'its initial value is known (initial_state="estimate" estimates it)'
        raise UsageError(f"bounds[{name!r}] has no effect: {fixed}; leave it out")


def _checked_limits(
    system: System, limits: Mapping[str, Any] | None
) -> dict[str, tuple[float, float]]:
    names = (*system.parameter_names, *system.state_names)
    supports = {state.name: state.support for state in system.states}
    supports |= {parameter.name: parameter.support for parameter in system.parameters}
    found = {}
    for name, pair in as_mapping("bounds", limits).items():
        if name not in names:
            raise unknown_name(f"parameter or state of {system.name}", name, names)
        try:
            low, high = (
                default if end is None else float(end)
                for end, default in zip(pair, (-math.inf, math.inf), strict=True)
            )
        except (TypeError, ValueError):
            low, high = math.nan, math.nan
        widest = bounds(supports[name])
        low, high = max(low, widest[0]), min(high, widest[1])
        if not low < high:
            raise UsageError(
                f"expected bounds[{name!r}] as (low, high) with low < high inside the support "
                f"({describe(supports[name])}), got {pair!r}"
            )
        found[name] = (low, high)
    return found


def _unknown(
    kind: Any,
    place: int,
    spec: Parameter | State,
    limits: Mapping[str, tuple[float, float]],
    default: float | tuple[float, float] | None,
    *,
    shared: bool = False,
) -> Unknown:
    support: Support = spec.support
    if spec.name in limits:
        low, high = limits[spec.name]
        support = "positive" if (low, high) == (0.0, math.inf) else (low, high)
        support = "real" if (low, high) == (-math.inf, math.inf) else support
    if isinstance(default, tuple | list):
        ranged, usual = True, (float(default[0]), float(default[1]))
    else:
        ranged, usual = False, _around(0.0 if default is None else float(default))
    return Unknown(
        kind, spec.name, spec.unit, place, support, well_inside(support, usual), shared, ranged
    )


def _around(value: float) -> tuple[float, float]:
    # Without a declared range: half the value to either side, or half a unit around zero.
    reach = abs(value) if value else 1.0
    return value - 0.5 * reach, value + 0.5 * reach


def well_inside(support: Support, usual: tuple[float, float]) -> tuple[float, float]:
    """Return the part of the usual range that lies well inside the support."""
    low, high = bounds(support)
    first, last = max(low, usual[0]), min(high, usual[1])
    bounded = math.isfinite(low) and math.isfinite(high)
    # A range that starts at zero has no logarithm there; it is replaced by a decade further in.
    if not first < last or (first == low == 0.0 and support == "positive"):
        if not bounded:
            return _near_end(low, high, usual)
        first, last = low, high  # nothing but the bounds says what is usual
    if low > 0.0 and spans_decades(first, last):
        # The margins are those of the logarithm, in which the coordinate is nearly linear.
        factor = (last / first) ** _INNER
        return max(first, factor * low), min(last, high / factor)
    if bounded and low > 0.0:
        margin = _INNER * (high - low)
        return max(first, low + margin), min(last, high - margin)
    margin = _INNER * (last - first)
    return first if low < first else low + margin, last if last < high else high - margin


def _near_end(low: float, high: float, usual: tuple[float, float]) -> tuple[float, float]:
    """Return a decade of distances from the only end of a support."""
    reach = abs(usual[1] - usual[0]) or 1.0
    if math.isfinite(low):
        return low + 0.1 * reach, low + reach
    return high - reach, high - 0.1 * reach


def as_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return a mapping from name to value, empty for None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"expected {name} as a mapping from name to value, got {value!r}")
    return value
