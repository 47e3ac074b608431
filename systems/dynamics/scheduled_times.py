"""Times at which a schedule in a right-hand side changes, found before the integration.

Where a comparison of the time holds only for a short while, as in `remainder(t, 24) < 0.1`, a step
may leap over it: at both ends of the step the comparison is the same. Comparisons that are linear
in time change once, and are seen at the ends of a step; all others of time and parameters alone are
searched for their zeros.
"""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.compiling.differentiate import gradients
from warp_phys.systems.compiling.expression import Expression, in_order
from warp_phys.systems.compiling.operations import COMPARISONS
from warp_phys.systems.compiling.switches import switches_of
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.zeros_in_time import can_be_searched, zeros_in_time
from warp_phys.systems.model.system import System

# Trajectories whose zeros are searched together.
_ROWS = 500
# Operations of which a function is linear in time if its derivative is constant.
_PLAIN = {"add", "sub", "mul", "div", "neg", "variable", "constant"}
_KNOWN: WeakKeyDictionary[System, list[Expression]] = WeakKeyDictionary()


def scheduled_times(
    system: System, start: Tensor, end: Tensor, parameters: Tensor | None = None
) -> Tensor:
    """Return (N, K) times just after each change, infinite where there are fewer.

    A step that ends there has another comparison at its end than at its start.

    Args:
        system: The system.
        start: (N,).
        end: (N,).
        parameters: (P, N); without them only changes at times that depend on no parameter.
    """
    begin, last = (time.detach().cpu().double().numpy() for time in (start, end))
    parts = [start.new_empty(len(start), 0)]
    for function in [] if system.has_solution else _functions(system):
        names = _variables(function)
        if names == {"t"}:
            (zeros,) = zeros_in_time(
                function, begin.min(keepdims=True), last.max(keepdims=True), {}
            )
            row = torch.tensor([zeros], dtype=torch.float64).to(start.detach())
            parts.append(row.expand(len(start), -1))
        elif parameters is not None:
            table = parameters.detach().cpu().double().numpy()
            columns = {f"p[{place}]": column for place, column in enumerate(table)}
            parts.append(_of_each(function, begin, last, columns).to(start.detach()))
    times = torch.cat(parts, dim=1)
    inside = (times > start.detach().unsqueeze(1)) & (times < end.detach().unsqueeze(1))
    return torch.where(inside, times, torch.inf)


def _of_each(
    function: Expression, begin: np.ndarray, last: np.ndarray, columns: dict[str, np.ndarray]
) -> Tensor:
    rows: list[list[float]] = []
    for first in range(0, len(begin), _ROWS):
        part = slice(first, first + _ROWS)
        chosen = {name: column[part] for name, column in columns.items()}
        found = zeros_in_time(function, begin[part], last[part], chosen)
        rows += found
    most = max(map(len, rows))
    table = [row + [np.inf] * (most - len(row)) for row in rows]
    return torch.tensor(table, dtype=torch.float64).reshape(len(rows), most)


def _functions(system: System) -> list[Expression]:
    """Return the switching functions of time and parameters alone that are not linear in time."""
    if system not in _KNOWN:
        graph = translated(system)
        found: list[Expression] = []
        if graph is not None:
            found = [one.arguments[0] - one.arguments[1] for one in switches_of(graph)]
            found += _kinks(graph.rhs.values)
        _KNOWN[system] = [one for one in dict.fromkeys(found) if _is_schedule(one)]
    return _KNOWN[system]


def _is_schedule(function: Expression) -> bool:
    names = _variables(function)
    if "t" not in names or any(name != "t" and not name.startswith("p[") for name in names):
        return False
    rate = gradients([function], ["t"])[0].get("t")
    plain = all(one.operation in _PLAIN for one in in_order([function]))
    linear = plain and rate is not None and not gradients([rate], ["t"])[0]
    return not linear and can_be_searched(function)


def _kinks(values: Iterable[Expression]) -> list[Expression]:
    """Return functions that are zero where `maximum` and `minimum` take another argument."""
    found, seen, waiting = [], set(), list(values)
    while waiting:
        one = waiting.pop()
        if one in seen or one.operation in COMPARISONS:
            continue
        seen.add(one)
        waiting += one.arguments
        if one.operation in ("maximum", "minimum"):
            found.append(one.arguments[0] - one.arguments[1])
    return found


def _variables(function: Expression) -> set[str]:
    return {str(one.leaf) for one in in_order([function]) if one.operation == "variable"}
