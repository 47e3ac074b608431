"""Simulated data sets: sample, integrate, observe, label; in memory or in shards on disk."""

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
    distribution: Noise | str = "normal",
    missing: Missing = 0.0,
    observe: Sequence[str] | None = None,
    sampling: Sampling = "random",
    constraints: Condition | Sequence[Condition] = (),
    seed: int | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-10,
    method: str = "auto",
    output: str | os.PathLike[str] | None = None,
    shard_size: int | None = None,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> xr.Dataset:
    """Simulate n trajectories of a system and what an instrument would have seen of them.

    A trajectory's random numbers depend on the seed, the quantity's name and the trajectory's
    number alone: the first ones are the same whatever n, and observing fewer outputs leaves the
    rest unchanged.

    With `output` the data set may be larger than memory: it is made in shards, files of some
    trajectories each, in a folder with a manifest. Stopped at any moment, the same call goes on
    with the shards that are missing, and what comes out is the same, byte for byte, on machines
    of one kind and whatever number of workers.

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
        inputs: Input name -> a number, (K,) or (n, K) values at `input_times`; linear between
            them or held, as the system's `Input` says.
        input_times: Times of the inputs' values, (K,) or (n, K) padded with NaN at the end; the
            sample times by default.
        doses: `Dose(state, amount, time)` each, amount and time as numbers, ranges, distributions
            or arrays (n,).
        noise: A number is relative to each output's standard deviation along its own noiseless
            trajectory, or the standard deviation of the logarithm for "lognormal". A mapping from
            output to number, range, distribution or array (n,) is absolute, in the output's unit
            (or again of the logarithm); outputs left out get none.
        distribution: "normal": noiseless + sd z. "lognormal": noiseless exp(sd z). Or a `Noise` of
            one's own.
        missing: Probability of each single value to be missing (NaN), or output -> probability.
        observe: The outputs to keep, all by default.
        sampling: How parameters and initial states are drawn: "random", independently; "sobol" or
            "latin_hypercube", spread evenly over their ranges; or a `Design` of your own.
        constraints: What parameters and initial states must meet, such as "beta > gamma": one or
            several texts, or functions of a mapping name -> values (m,). Draws that do not are
            drawn again and counted in `rejected`.
        seed: Seed of all random numbers; None draws a fresh one, kept in the attribute `seed`, or
            takes that of the data set in `output`.
        rtol: Relative tolerance of the integration.
        atol: Absolute tolerance of the integration.
        method: How to integrate, see `warp_phys.systems.integrate`.
        output: A folder to write to, made where it does not exist. A data set of the same
            settings in it is finished; other settings are refused, and so are foreign files.
        shard_size: Trajectories in a shard; by default as many as take about 64 MiB.
        executor: Where shards are made, with `output`: any `concurrent.futures.Executor`, such as
            a ProcessPoolExecutor, `Client.get_executor()` of dask.distributed, or an
            MPIPoolExecutor of mpi4py. Workers write to `output` themselves, so all must see it.
        overwrite: Replace a data set in `output` instead of going on with it.
        progress: Show a progress bar on work over two seconds.

    Returns:
        A data set with `observed` and `noiseless` (trajectory, time, output), `true_parameters`,
        `true_initial_state`, `true_noise_sd`, `inputs` at the sample times and doses where there
        are any, and of each trajectory `error_estimate` and `status`. With `input_times` the table
        is kept as `input_table` (trajectory, knot, input) and `input_time`. With own grids the
        dimensions are (trajectory, sample, output) and `time` is a coordinate (trajectory,
        sample).

        A trajectory that failed is kept: its status says so and its values are NaN from there on.
        One way to fail is that a state which is positive by nature falls below what `atol`
        resolves and comes out as 0 or less; a smaller `atol` helps. Log-normal noise on an output
        of 0 or less has the same status: `noiseless` is kept, `observed` is NaN there.

        With `output`, what `open_dataset` returns: the same, read lazily.

    Raises:
        UnknownNameError: A system, parameter, state, input or output does not exist.
        UsageError: A shape is wrong, the times do not increase, a value lies outside its support,
            log-normal noise meets values that are not positive in every trajectory, or relative
            noise a trajectory with a single sample.
        OutputExistsError: `output` holds another data set or files of somebody else.
        ShardError: A shard could not be made, a worker ended; the same call goes on.
        OSError: The disk is full; what is there is intact and the same call goes on.

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
    """Return all that decides on the bits of the shards, as JSON holds it."""
    exact = {
        "system": plan.system,
        "times": plan.grid,
        "seed": options.seed,
        "rtol": options.rtol,
        "atol": options.atol,
    }
    storage = {"shard_size": shard_size, "software": computing_software()}
    return canonical({"n": plan.n} | options.settings() | exact | storage)


def _recorded_seed(folder: Path) -> int | None:
    """Return the seed of the data set in a folder, if there is one."""
    if not (folder / FILE).is_file():
        return None
    return int(read_manifest(folder).configuration["seed"])


def _shard_size(plan: DatasetPlan, given: int | None) -> int:
    """Return the trajectories of a shard.

    One trajectory is made to see how large it is, and what is wrong before all workers do.
    """
    one = plan.part(0, 1).dataset()
    if given is not None:
        return min(check_count("shard_size", given), plan.n)
    size = sum(entry.nbytes for entry in one.variables.values() if "trajectory" in entry.dims)
    return int(min(max(1, _SHARD_BYTES // size), plan.n))
