"""Compares traced expressions with the functions from which they were traced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems.compiling.expression import Expression, evaluate
from warp_phys.systems.model.system import System

# Relative to the largest component. It is wide, as functions that suffer from cancellation lose
# digits differently here and in torch, whereas a wrong trace is wrong at any tolerance.
_TOLERANCE = 1e-8
_PLACES = (0.25, 0.8, 0.6, 0.35)  # positions in the ranges; tracing uses 0.5


def middle(system: System) -> dict[str, Tensor]:
    """Return t (1,), y (S, 1), p (P, 1) and u (I, 1) from the middle of the ranges."""
    return _points(system, [0.5])


def scattered(system: System, count: int) -> dict[str, np.ndarray]:
    """Return points (count,) within the ranges by the names of variables; inputs are at rest."""
    points = _by_name(_points(system, [(place + 0.5) / count for place in range(count)]))
    # A Latin hypercube: every variable takes all its values, each in an order of its own.
    generator = np.random.default_rng(0)
    spread = {name: generator.permuted(values) for name, values in points.items()}
    return spread | {f"v[{row}]": np.zeros(count) for row in range(len(system.inputs))}


def check_traced(
    system: System, function: Callable[..., Tensor], values: Sequence[Expression]
) -> str | None:
    """Compare expressions with the function they come from; several points go in one batch.

    Returns:
        None if they agree, otherwise a text with the expected and the received values.
    """
    points = _points(system, _PLACES)
    inputs = points["u"] if system.inputs else None
    try:
        with torch.no_grad():
            wanted = function(points["t"], points["y"], points["p"], inputs).numpy()
    except Exception as error:  # whatever a user's function may raise
        return f"on several points at once it raises {type(error).__name__}: {error}"
    if wanted.shape != (len(values), len(_PLACES)):
        return f"of several points at once its shape is {wanted.shape}"
    for row, value in enumerate(evaluate(values, _by_name(points))):
        expected = wanted[row].astype(np.float64)
        received = np.broadcast_to(np.asarray(value, dtype=np.float64), expected.shape)
        # Differences of large numbers are compared on the scale of all that is computed.
        scale = np.nan_to_num(np.abs(wanted).max(axis=0), posinf=0.0)
        close = np.abs(received - expected) <= _TOLERANCE * scale
        if not (close | (received == expected) | np.isnan(expected) & np.isnan(received)).all():
            return f"expected {expected} in component {row}, received {received}"
    return None


def _points(system: System, places: Sequence[float]) -> dict[str, Tensor]:
    shares = torch.tensor(places, dtype=torch.float64, device="cpu")
    ends = [value.range if value.fixed is None else None for value in system.parameters]
    fixed = [1.0 if value.fixed is None else value.fixed for value in system.parameters]
    starts = list(system.default_initial_state.values())
    return {
        "t": 0.3 + shares,
        "y": _rows([_between(value, shares) for value in starts], shares),
        "p": _rows(
            [_between(pair or value, shares) for pair, value in zip(ends, fixed, strict=True)],
            shares,
        ),
        "u": _rows([_between(0.7, shares) for _ in system.inputs], shares),
    }


def _between(value: float | tuple[float, float], shares: Tensor) -> Tensor:
    if isinstance(value, tuple):
        return value[0] + (value[1] - value[0]) * shares
    # A value without a range is varied around itself, so that a dependence on it is noticed. The
    # second term moves a value of zero, too.
    return value * (0.5 + shares) + 0.1 * (shares - 0.5)


def _rows(rows: Sequence[Tensor], shares: Tensor) -> Tensor:
    return torch.stack([*rows]) if rows else shares.new_zeros((0, len(shares)))


def _by_name(points: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    named = {"t": points["t"].numpy()}
    for letter in "ypu":
        named |= {f"{letter}[{row}]": v.numpy() for row, v in enumerate(points[letter])}
    return named
