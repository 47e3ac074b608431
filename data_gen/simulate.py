"""Simulates data sets: sample, integrate, observe, label; in memory or in shards on disk."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

import xarray as xr
from numpy.typing import ArrayLike

from warp_phys.data_gen.drawing.quantity import Recipe
from warp_phys.data_gen.drawing.sampling import Condition, Sampling
from warp_phys.data_gen.making.arguments import check_count, check_options, plan_dataset
from warp_phys.data_gen.making.dataset_plan import DatasetPlan
from warp_phys.data_gen.making.options import CheckedOptions, SimulationOptions
from warp_phys.data_gen.observing.limits import Limits
from warp_phys.data_gen.observing.observe import Missing, NoiseLevel
from warp_phys.data_gen.storing.identity import canonical
from warp_phys.data_gen.storing.manifest import FILE, read_manifest
from warp_phys.data_gen.storing.open import open_dataset
from warp_phys.data_gen.storing.software import computing_software
from warp_phys.data_gen.storing.write import write_dataset
from warp_phys.systems.catalog.registry import as_system
from warp_phys.systems.errors import UsageError
from warp_phys.systems.forcing.doses import Dose
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise

_SHARD_BYTES = 64 * 2**20
"""About what one shard holds, where `shard_size` does not say."""


def simulate(
    system: System | str,
    n: int,
    times: ArrayLike,
    *,
    parameters: Mapping[str, Recipe] | ArrayLike | None = None,
    initial_states: Mapping[str, Recipe] | ArrayLike | None = None,
    inputs: Mapping[str, ArrayLike] | None = None,
    input_times: ArrayLike | None = None,
    doses: Sequence[Dose] = (),
    noise: NoiseLevel = 0.0,
    distribution: Noise | str | Mapping[str, Noise | str] = "normal",
    limits: Limits | None = None,
    missing: Missing = 0.0,
    observe: Sequence[str] | None = None,
    sampling: Sampling = "random",
    constraints: Condition | Sequence[Condition] = (),
    seed: int | None = None,
    rtol: float = 1e-8,
    atol: float | None = None,
    method: str = "auto",
    output: str | os.PathLike[str] | None = None,
    shard_size: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Simulate n trajectories of a system and their measurement with noise and missing values.

    The random numbers of a trajectory depend on the seed, the name of the quantity and the number
    of the trajectory alone: the first trajectories are the same for any n, and observing fewer
    outputs does not change the others.

    With `output` the data set may be larger than memory: it is made in shards, files of some
    trajectories each, in a folder with a manifest. If it is interrupted, the same call continues
    with the missing shards, and the result is the same, byte for byte, on machines of one kind and
    for any number of workers.

    Right-hand sides that jump (`torch.where`) and the system's events are integrated as by
    `integrate`: every jump is located. A sample at the time of an event shows the state after it.

    Args:
        system: A system, or the name of a shipped one.
        n: Number of trajectories.
        times: Sample times in the system's unit: (T,) for all, or (n, T), one grid for each
            trajectory, padded with NaN at the end. The first is the time of the initial state.
        parameters: None (each drawn uniformly from its range, fixed ones at their value); a
            mapping from name to a number, a range as a tuple (low, high), a distribution (see
            `uniform`, `log_uniform`, `normal`, `log_normal`, `truncated_normal`; anything with
            `ppf`) or an array (n,), the rest as before; or an array (n, P) in the system's order.
        initial_states: The same for the initial state. None: the initial state follows from the
            parameters if the system defines it so, else from its default numbers and ranges.
            States given as a number in a mapping are known: they are written as
            `known_initial_state`, and `fit` does not estimate them. States given as a range, a
            distribution or an array vary between trajectories and are unknown, and so are the
            system's default numbers, which the caller did not state.
        inputs: Input name -> a number, (K,) or (n, K) values at `input_times`; linear between
            them or held, as the system's `Input` declares.
        input_times: Times of the inputs' values, (K,) or (n, K) padded with NaN at the end; the
            sample times by default.
        doses: `Dose(state, amount, time)` each, amount and time as numbers, ranges, distributions
            or arrays (n,).
        noise: A number is relative to each output's standard deviation along its own noiseless
            trajectory, or the standard deviation of the logarithm for "lognormal". A mapping from
            output to number, range, distribution or array (n,) is absolute, in the output's unit
            (or again of the logarithm); omitted outputs have no noise.
        distribution: "normal": noiseless + sd z. "lognormal": noiseless exp(sd z). Or
            another name of `noise_names`, or a `Noise` object with parameters of its own, such as
            `NegativeBinomial(dispersion=0.1)`; or a mapping from output to one of these. Noise of
            counts has no level: leave out `noise`.
        limits: Limits of detection by output, (low, high), None where there is none: values beyond
            them become the limit, and `censored` says which.
        missing: Probability that a value is missing (NaN), or output -> probability.
        observe: The outputs to keep, all by default.
        sampling: How parameters and initial states are drawn: "random", independently; "sobol" or
            "latin_hypercube", spread evenly over their ranges; or a `Design` of your own.
        constraints: Conditions on parameters and initial states, such as "beta > gamma": one or
            several texts, or functions of a mapping name -> values (m,). Draws that violate one
            are repeated and counted in `rejected`.
        seed: Seed of all random numbers. None draws a fresh one, which the attribute `seed`
            records, or takes that of the data set in `output`.
        rtol: Relative tolerance of the integration.
        atol: Absolute tolerance of the integration; by default it follows the size of each state,
            see `warp_phys.systems.integrate`. With log-normal noise every value is accurate
            relative to itself.
        method: Integration method, see `warp_phys.systems.integrate`.
        output: A folder to write to, created if it does not exist. If it contains a data set of the
            same settings, that is completed; other settings and foreign files raise an error.
        shard_size: Trajectories in a shard; by default as many as take about 64 MiB.
        executor: Makes the shards, with `output`: any `concurrent.futures.Executor`, such as
            a ProcessPoolExecutor, `Client.get_executor()` of dask.distributed, or an
            MPIPoolExecutor of mpi4py. Workers write to `output` themselves, so all must see it.
        overwrite: Replace a data set in `output` instead of continuing it.
        progress: Show a progress bar if the work takes more than two seconds.

    Returns:
        A data set with `observed` and `noiseless` (trajectory, time, output), `true_parameters`,
        `true_initial_state`, `true_noise_sd`, `inputs` at the sample times and doses if there are
        any, and for each trajectory `error_estimate` and `status`. With `limits`, `censored` of
        the shape of `observed`: 0 measured, 1 below, 2 above the limit. With numbers in
        `initial_states`, `known_initial_state` (trajectory, state), NaN for the states that are
        not known, and its `initial_time` (trajectory). With `input_times`, the table of
        inputs is stored as `input_table` (trajectory, knot, input) and `input_time`. If each
        trajectory has its own times, the dimensions are (trajectory, sample, output), and `time` is
        a coordinate (trajectory, sample).

        A trajectory that failed is kept: its status records the failure, and its values are NaN
        from that point on. One way to fail is that a state which is positive by nature falls below
        the resolution of `atol` and is computed as 0 or less; a smaller `atol` helps. Log-normal
        noise on an output of 0 or less has the same status: `noiseless` is kept, and `observed` is
        NaN there.

        With `output`, the result of `open_dataset`: the same data set, read lazily.

    Raises:
        UnknownNameError: A system, parameter, state, input or output does not exist.
        UsageError: A shape is wrong, the times do not increase, a value lies outside its support,
            log-normal noise meets values that are not positive in every trajectory, or relative
            noise a trajectory with a single sample.
        OutputExistsError: `output` contains another data set or foreign files.
        ShardError: A shard could not be made, or a worker ended; the same call continues.
        OSError: The disk is full; the finished shards are intact, and the same call continues.

    Example:
        >>> data = simulate("lotka_volterra", n=3, times=range(5), noise=0.1, seed=0)
        >>> dict(data.observed.sizes)
        {'trajectory': 3, 'time': 5, 'output': 2}
    """
    options = SimulationOptions.from_arguments(locals())
    system = _known_system(system)
    if output is None and (executor is not None or shard_size is not None or overwrite):
        raise UsageError("executor, shard_size and overwrite need output, a folder to write to")
    if output is not None and seed is None and not overwrite:
        options = replace(options, seed=_recorded_seed(Path(output)))
    checked = check_options(system, options)
    plan = plan_dataset(system, n, times, checked)
    if output is None:
        return plan.dataset(progress=progress)
    plan.check_arrays()
    configuration = _configuration(plan, checked, _shard_size(plan, shard_size))
    write_dataset(
        plan, Path(output), configuration, executor=executor, overwrite=overwrite, progress=progress
    )
    return open_dataset(output)


def _known_system(system: System | str) -> System:
    if isinstance(system, str) and system.startswith("paper_"):
        raise UsageError(
            f"{system} is a data set, made by its published recipe: write paper_data({system!r})"
        )
    return as_system(system)


def _configuration(plan: DatasetPlan, options: CheckedOptions, shard_size: int) -> Any:
    """Return everything that determines the bytes of the shards, in a form JSON can store."""
    exact = {
        "system": plan.system,
        "times": plan.grid,
        "seed": options.seed,
        "rtol": options.rtol,
        "atol": options.atol,
    }
    storage = {"shard_size": shard_size, "software": computing_software()}
    # Earlier versions did not write this variable, and their shards must not be mixed with others.
    known = {"known_initial_state": list(plan.known_states)} if plan.known_states else {}
    return canonical({"n": plan.n} | options.settings() | exact | storage | known)


def _recorded_seed(folder: Path) -> int | None:
    """Return the seed of the data set in a folder, if there is one."""
    if not (folder / FILE).is_file():
        return None
    return int(read_manifest(folder).configuration["seed"])


def _shard_size(plan: DatasetPlan, given: int | None) -> int:
    """Return the number of trajectories of a shard.

    One trajectory is made to measure its size, and to find errors before all workers find them.
    """
    one = plan.part(0, 1).dataset()
    if given is not None:
        return min(check_count("shard_size", given), plan.n)
    size = sum(entry.nbytes for entry in one.variables.values() if "trajectory" in entry.dims)
    return int(min(max(1, _SHARD_BYTES // size), plan.n))
