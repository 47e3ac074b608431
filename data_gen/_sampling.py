"""Values of parameters, initial states and noise levels for every trajectory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from warp_phys.data_gen._distributions import Distribution
from warp_phys.data_gen._streams import Streams
from warp_phys.systems._errors import UsageError, unknown_name
from warp_phys.systems._spec import Parameter, State
from warp_phys.systems._supports import contains, describe
from warp_phys.systems._system import System

Recipe: TypeAlias = float | tuple[float, float] | Distribution | ArrayLike
"""A number for all, a range (low, high) as a tuple, a distribution, or one value each."""

Floats: TypeAlias = NDArray[np.float64]


def draw(streams: Streams, name: str, recipe: Recipe, n: int) -> Floats:
    """Return one value for each of n trajectories, (n,).

    Args:
        streams: The random streams.
        name: What is drawn, such as "parameter alpha": the stream's name and the message's.
        recipe: A number, a tuple (low, high) drawn from uniformly, an object with `ppf`, or an
            array (n,).
        n: Number of trajectories.

    Raises:
        UsageError: The recipe is none of these.
    """
    if isinstance(recipe, Distribution):
        return np.asarray(recipe.ppf(streams.uniform(name, n)[:, 0]), dtype=np.float64)
    try:
        values = np.asarray(recipe, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected {name} as a number, a tuple (low, high), a distribution or an array "
            f"({n},), got {recipe!r}"
        ) from None
    if isinstance(recipe, tuple):
        if values.shape != (2,) or not np.isfinite(values).all() or values[0] > values[1]:
            raise UsageError(f"expected the range of {name} as (low, high), got {recipe!r}")
        low, high = values
        return low + (high - low) * streams.uniform(name, n)[:, 0]
    if values.ndim == 0:
        return np.full(n, values)
    if values.shape != (n,):
        raise UsageError(
            f"expected {name} with one value for each of {n} trajectories, got shape {values.shape}"
        )
    return values.copy()


def sample_parameters(
    system: System,
    n: int,
    given: Mapping[str, Recipe] | ArrayLike | None,
    streams: Streams,
) -> Floats:
    """Return the parameters of n trajectories, (n, P), in the system's order.

    Those not given are drawn uniformly from the system's ranges, fixed ones have their value.

    Raises:
        UnknownNameError: A name is not a parameter of the system.
        UsageError: A shape is wrong, or a value lies outside its support.
    """
    kind = f"parameter of {type(system).__name__}"
    if given is not None and not isinstance(given, Mapping):
        values = _table(given, kind, system.parameter_names, n)
    else:
        recipes = _checked_names(given, kind, system.parameter_names)
        values = np.empty((n, len(system.parameters)))
        for column, parameter in enumerate(system.parameters):
            default = parameter.range if parameter.fixed is None else parameter.fixed
            recipe = recipes.get(parameter.name, _recipe(default))
            values[:, column] = draw(streams, f"parameter {parameter.name}", recipe, n)
    _check_support(values, "parameter", system.parameters)
    return values


def sample_initial_states(
    system: System,
    n: int,
    given: Mapping[str, Recipe] | ArrayLike | None,
    parameters: Floats,
    streams: Streams,
) -> Floats:
    """Return the initial states of n trajectories, (n, S), in the system's order.

    Those not given follow from the parameters where the system says how, else from its default
    numbers and ranges.

    Raises:
        UnknownNameError: A name is not a state of the system.
        UsageError: A shape is wrong, or a value lies outside its support.
    """
    kind = f"state of {type(system).__name__}"
    if given is not None and not isinstance(given, Mapping):
        values = _table(given, kind, system.state_names, n)
    else:
        recipes = _checked_names(given, kind, system.state_names)
        derived = _derived_states(system, parameters)
        values = np.empty((n, len(system.states)))
        for column, state in enumerate(system.states):
            if state.name not in recipes and derived is not None:
                values[:, column] = derived[column]
                continue
            default = _recipe(system.default_initial_state[state.name])
            recipe = recipes.get(state.name, default)
            values[:, column] = draw(streams, f"initial state {state.name}", recipe, n)
    _check_support(values, "initial state", system.states)
    return values


def _derived_states(system: System, parameters: Floats) -> Floats | None:
    """Return the initial states that follow from parameters (n, P), (S, n), or None."""
    if type(system).initial_state is System.initial_state:
        return None
    states = system.initial_state_at(torch.from_numpy(parameters.T.copy()))
    return None if states is None else states.numpy()


def _recipe(default: Any) -> Recipe:
    """Return a system's own number or range; there a pair is a range, tuple or not."""
    return default if np.ndim(default) == 0 else tuple(default)


def _checked_names(
    given: Mapping[str, Recipe] | None, kind: str, known: Sequence[str]
) -> Mapping[str, Recipe]:
    recipes = given or {}
    for name in recipes:
        if name not in known:
            raise unknown_name(kind, name, known)
    return recipes


def _table(given: ArrayLike, kind: str, names: Sequence[str], n: int) -> Floats:
    """Return an array given as a whole, (n, names)."""
    try:
        values = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected numbers for each {kind}, as a mapping or an array; got {given!r}"
        ) from None
    if values.shape != (n, len(names)):
        hint = "; transpose it" if values.shape == (len(names), n) else ""
        raise UsageError(
            f"expected an array of shape ({n}, {len(names)}), one column for each {kind} "
            f"({', '.join(names)}), got shape {values.shape}{hint}"
        )
    return values


def _check_support(values: Floats, kind: str, entries: Sequence[Parameter | State]) -> None:
    for column, entry in enumerate(entries):
        inside = contains(torch.from_numpy(values[:, column]), entry.support).numpy()
        if not inside.all():
            trajectory = int(np.argmin(inside))
            raise UsageError(
                f"{kind} {entry.name!r} of trajectory {trajectory} is "
                f"{values[trajectory, column]:.10g} {entry.unit}, outside its support "
                f"({describe(entry.support)}); change what was given for it"
            )
