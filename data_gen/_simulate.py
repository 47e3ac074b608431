"""Simulated data sets: sample, integrate, observe, label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from warp_phys.data_gen._observe import (
    Missing,
    Noise,
    NoiseDistribution,
    add_noise,
    noise_levels,
    remove_missing,
)
from warp_phys.data_gen._run import STATUS_MEANINGS, input_values, run_system
from warp_phys.data_gen._sampling import Floats, Recipe, sample_initial_states, sample_parameters
from warp_phys.data_gen._streams import Streams
from warp_phys.systems._errors import UsageError, unknown_name
from warp_phys.systems._labels import (
    check_times,
    input_coords,
    labelled,
    output_coords,
    parameter_coords,
    stamp,
    state_coords,
    status_attributes,
    time_coords,
    trajectory_coords,
)
from warp_phys.systems._registry import as_system
from warp_phys.systems._system import System


def simulate(
    system: System | str,
    n: int,
    times: ArrayLike,
    *,
    parameters: Mapping[str, Recipe] | ArrayLike | None = None,
    initial_states: Mapping[str, Recipe] | ArrayLike | None = None,
    inputs: Mapping[str, ArrayLike] | None = None,
    noise: Noise = 0.0,
    distribution: NoiseDistribution = "normal",
    missing: Missing = 0.0,
    observe: Sequence[str] | None = None,
    seed: int | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    method: str = "auto",
    progress: bool = True,
) -> xr.Dataset:
    """Simulate n trajectories of a system and what an instrument would have seen of them.

    A trajectory's random numbers depend on the seed, the quantity's name and the trajectory's
    number alone: the first ones are the same whatever n, and observing fewer outputs leaves the
    rest unchanged.

    Args:
        system: A system, or the name of a shipped one.
        n: Number of trajectories.
        times: Sample times in the system's unit: (T,) for all, or (n, T), each row its own grid
            with NaN as padding at the end. The initial state holds at the first.
        parameters: None (each drawn uniformly from its range, fixed ones at their value); a
            mapping from name to a number, a range as a tuple (low, high), a distribution (see
            `uniform`, `log_uniform`, `normal`, `log_normal`, `truncated_normal`; anything with
            `ppf`) or an array (n,), the rest as before; or an array (n, P) in the system's order.
        initial_states: The same for the initial state: None takes what the parameters imply where
            the system says so, else the system's default numbers and ranges.
        inputs: Input name -> a number, (T,) or (n, T) values at the sample times, linear between.
        noise: A number is relative to each output's standard deviation along its own noiseless
            trajectory, or the standard deviation of the logarithm for "lognormal". A mapping from
            output to number, range, distribution or array (n,) is absolute, in the output's unit
            (or again of the logarithm); outputs left out get none.
        distribution: "normal": noiseless + sd z. "lognormal": noiseless exp(sd z).
        missing: Probability of each single value to be missing (NaN), or output -> probability.
        observe: The outputs to keep, all by default.
        seed: Seed of all random numbers; None draws a fresh one, kept in the attribute `seed`.
        rtol: Relative tolerance of the integration.
        atol: Absolute tolerance of the integration.
        method: How to integrate, see `warp_phys.systems.integrate`.
        progress: Show a progress bar on work over two seconds.

    Returns:
        A data set with `observed` and `noiseless` (trajectory, time, output), `true_parameters`,
        `true_initial_state`, `true_noise_sd`, `inputs` where there are any, and of each
        trajectory `error_estimate` and `status`. With own grids the dimensions are (trajectory,
        sample, output) and `time` is a coordinate (trajectory, sample).

        A trajectory that failed is kept: its status says so and its values are NaN from there on.
        One way to fail is that a state which is positive by nature falls below what `atol`
        resolves and comes out as 0 or less; a smaller `atol` helps.

    Raises:
        UnknownNameError: A system, parameter, state, input or output does not exist.
        UsageError: A shape is wrong, the times do not increase, a value lies outside its support,
            or log-normal noise meets a value that is not positive.

    Example:
        >>> data = simulate("lotka_volterra", n=3, times=range(5), noise=0.1, seed=0)
        >>> dict(data.observed.sizes)
        {'trajectory': 3, 'time': 5, 'output': 2}
    """
    system = as_system(system)
    n = _count(n)
    grid = _grid(times, n)
    names = _observed_names(system, observe)
    streams = Streams(seed)
    values = sample_parameters(system, n, parameters, streams)
    starts = sample_initial_states(system, n, initial_states, values, streams)
    driven = input_values(system, n, grid, inputs)
    run = run_system(
        system,
        grid,
        starts,
        values,
        driven,
        rtol=rtol,
        atol=atol,
        method=method,
        progress=progress,
    )

    kept = [system.output_names.index(name) for name in names]
    noiseless = np.ascontiguousarray(run.outputs[:, :, kept])
    known = system.output_names
    levels = noise_levels(noiseless, names, known, noise, distribution, streams)
    observed = add_noise(noiseless, levels, names, distribution, streams)
    observed = remove_missing(observed, names, known, missing, streams)

    variables = {
        "observed": observed,
        "noiseless": noiseless,
        "true_parameters": values,
        "true_initial_state": starts,
        "true_noise_sd": levels,
        "error_estimate": run.error_estimate,
        "status": run.status,
    }
    coordinates = (
        trajectory_coords(n)
        | time_coords(system, grid)
        | output_coords(system, names)
        | state_coords(system)
        | parameter_coords(system)
    )
    if driven is not None:
        variables["inputs"] = driven
        coordinates |= input_coords(system)
    dataset = labelled(variables, coordinates)
    dataset["status"].attrs.update(status_attributes(STATUS_MEANINGS))
    if distribution == "lognormal":
        dataset["true_noise_sd"].attrs["units"] = "1"
    return stamp(
        dataset,
        title=f"Simulated trajectories of {type(system).__name__}",
        system=system,
        function="warp_phys.data_gen.simulate",
        references=system.reference,
        seed=streams.seed,
        rtol=rtol,
        atol=atol,
        settings={
            "n": n,
            "system_options": system.options,
            "parameters": parameters,
            "initial_states": initial_states,
            "inputs": inputs,
            "noise": noise,
            "distribution": distribution,
            "missing": missing,
            "observe": names,
            "method": method,
        },
    )


def _count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise UsageError(f"expected n, the number of trajectories, as an integer >= 1, got {n!r}")
    return int(n)


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
