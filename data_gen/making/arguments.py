"""Checks the options of `simulate`, and builds the plan of the data set from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from warp_phys.data_gen.drawing.constraints import Condition
from warp_phys.data_gen.drawing.doses import check_doses
from warp_phys.data_gen.drawing.inputs import read_inputs
from warp_phys.data_gen.drawing.quantity import Floats, is_drawn
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.torch_distributions import with_quantiles
from warp_phys.data_gen.drawing.values import known_states
from warp_phys.data_gen.making.dataset_plan import DatasetPlan
from warp_phys.data_gen.making.options import CheckedOptions, SimulationOptions
from warp_phys.data_gen.observing.limits import check_limits
from warp_phys.data_gen.observing.observe import check_known, check_samples
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.by_output import noise_for
from warp_phys.systems.noise.registry import as_noise
from warp_phys.systems.schema.checks import check_times
from warp_phys.systems.schema.labels import plain


def check_options(system: System, options: SimulationOptions) -> CheckedOptions:
    """Return the options, each in a single form; arrays for each trajectory are checked later.

    Raises:
        UnknownNameError: An output, or the state of a dose, does not exist.
        UsageError: The outputs, the doses or the seed are not valid.
    """
    observe = _observed_names(system, options.observe)
    distribution = check_known(noise_for(as_noise(options.distribution), observe))
    given = vars(options) | {
        "parameters": with_quantiles(options.parameters),
        "initial_states": with_quantiles(options.initial_states),
        "noise": with_quantiles(options.noise),
        "doses": check_doses(system, options.doses),
        "distribution": distribution,
        "limits": check_limits(options.limits, observe, distribution),
        "observe": observe,
        "constraints": _constraints(options.constraints),
        "seed": Streams(options.seed).seed,
    }
    return CheckedOptions(**given)


def plan_dataset(system: System, n: int, times: ArrayLike, options: CheckedOptions) -> DatasetPlan:
    """Return the plan of a whole data set.

    Raises:
        UsageError: The times, the inputs or the noise do not fit the trajectories.
    """
    n = check_count("n, the number of trajectories,", n)
    grid = _grid(times, n)
    table = read_inputs(system, n, grid, options.inputs, options.input_times)
    check_samples(grid, options.observe, options.noise, options.distribution)
    settings = {"n": n, "system_options": system.options} | options.settings()
    initial_states = _settled(options.initial_states)
    return DatasetPlan(
        system=system,
        n=n,
        first=0,
        count=n,
        grid=grid,
        options=replace(
            options,
            parameters=_settled(options.parameters),
            initial_states=initial_states,
            # The table holds them, sliced to the trajectories of each block.
            inputs=None,
            input_times=None,
        ),
        inputs=table,
        known_states=known_states(system, initial_states),
        drawn=None,
        settings=plain(settings),
    )


def check_count(what: str, number: int) -> int:
    """Return a whole number of at least 1."""
    if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
        raise UsageError(f"expected {what} as an integer >= 1, got {number!r}")
    return int(number)


def _grid(times: ArrayLike, n: int) -> Floats:
    try:
        grid = np.asarray(times)
    except ValueError:
        raise UsageError(
            "expected times as one array (T,) or (n, T); pad shorter rows with NaN at the end"
        ) from None
    if grid.ndim == 2 and grid.shape[0] != n:
        hint = ": time is on the wrong axis, transpose it" if grid.shape[1] == n else ""
        raise UsageError(f"expected times of shape (T,) or ({n}, T), got {grid.shape}{hint}")
    check_times(grid)
    return grid.astype(np.float64)


def _observed_names(system: System, observe: Sequence[str] | None) -> list[str]:
    if observe is None:
        return list(system.output_names)
    if isinstance(observe, str):
        raise UsageError(
            f"expected observe as a list of outputs, got {observe!r}; write [{observe!r}]"
        )
    names = list(observe)
    for name in names:
        if name not in system.output_names:
            raise unknown_name(f"output of {type(system).__name__}", name, system.output_names)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"expected observe to name at least one output, each once, got {names}")
    return names


def _constraints(given: Condition | Sequence[Condition]) -> list[Condition]:
    return [given] if isinstance(given, str) or callable(given) else list(given)


def _settled(recipes: Any) -> Any:
    """Return recipes with sequences as arrays, which are quick to slice into blocks."""
    if isinstance(recipes, Mapping):
        return {
            name: recipe if is_drawn(recipe) else _settled(recipe)
            for name, recipe in recipes.items()
        }
    try:
        array = np.asarray(recipes, dtype=np.float64)
    except (TypeError, ValueError):
        return recipes
    return recipes if array.ndim == 0 else array
