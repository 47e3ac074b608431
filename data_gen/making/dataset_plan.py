"""The plan of a data set: checked once, small to send, and able to make any block of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.data_gen.drawing.constraints import Condition
from warp_phys.data_gen.drawing.designs import Sampling
from warp_phys.data_gen.drawing.doses import Doses, doses_of, draw_doses
from warp_phys.data_gen.drawing.inputs import Driven, InputTable
from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.sampling import Sample, sample
from warp_phys.data_gen.making.blocks import BLOCK, NOT_POSITIVE, STATUS_MEANINGS, run_system
from warp_phys.data_gen.observing.observe import (
    Missing,
    NoiseLevel,
    add_noise,
    cannot_be_noisy,
    noise_levels,
    noise_of,
    not_noisy_error,
    remove_missing,
)
from warp_phys.systems.dynamics.problem import Status
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.schema.labels import (
    Coordinates,
    dose_coords,
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


@dataclass(frozen=True, eq=False)
class DatasetPlan:
    """How to make trajectories `first` to `first + count` of the `n` of a data set.

    Attributes:
        system: The system.
        n: Number of trajectories of the whole data set.
        first: The first trajectory of this block.
        count: How many it has.
        grid: Sample times, (T,) or (count, T).
        parameters: Recipes, or arrays of the whole data set; unused where `drawn` is there.
        initial_states: The same.
        drawn: The values themselves, where they come from arrays.
        inputs: The inputs, or None.
        doses: The doses, arrays cut to the block.
        noise: The noise, arrays cut to the block.
        distribution: The noise model.
        missing: Probability of a value to be missing.
        observed: Names of the outputs kept.
        sampling: How values are drawn.
        constraints: What they must meet.
        seed: The seed.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        method: See `integrate`.
        settings: What `simulate` was called with, as JSON holds it.
    """

    system: System
    n: int
    first: int
    count: int
    grid: Floats
    parameters: Any
    initial_states: Any
    drawn: Sample | None
    inputs: InputTable | None
    doses: Doses
    noise: NoiseLevel
    distribution: Noise
    missing: Missing
    observed: Sequence[str]
    sampling: Sampling
    constraints: Sequence[Condition]
    seed: int
    rtol: float
    atol: float
    method: str
    settings: Mapping[str, Any]

    def part(self, first: int, count: int) -> DatasetPlan:
        """Return the plan of `count` trajectories of the whole data set, from `first` on.

        It holds of arrays no more than its own rows, so that it is quick to send.
        """
        rows = slice(first, first + count)
        drawn = None
        if has_arrays(self.parameters) or has_arrays(self.initial_states):
            drawn = replace(self, first=first, count=count).sample()
        return replace(
            self,
            first=first,
            count=count,
            grid=self.grid if self.grid.ndim == 1 else self.grid[rows],
            parameters=None if drawn else self.parameters,
            initial_states=None if drawn else self.initial_states,
            drawn=drawn,
            constraints=() if drawn else self.constraints,
            inputs=None if self.inputs is None else self.inputs.rows(rows),
            doses=doses_of(self.doses, self.n, first, count),
            noise=noise_of(self.noise, self.n, first, count),
        )

    def check_arrays(self) -> None:
        """Check what was given for each trajectory, of all of them, before long work begins.

        Raises:
            UsageError: A value lies outside its support, breaks a constraint, or is no dose.
        """
        arrays = (self.parameters, self.initial_states, *map(vars, self.doses))
        if not any(map(has_arrays, arrays)):
            return
        for first in range(0, self.n, BLOCK):
            block = self.part(first, min(BLOCK, self.n - first))
            block.sample()
            draw_doses(Streams(self.seed, first), block.doses, block.count, block.grid)

    def sample(self) -> Sample:
        """Return the parameters and initial states of this block."""
        return self.drawn or sample(
            self.system,
            self.n,
            first=self.first,
            count=self.count,
            parameters=self.parameters,
            initial_states=self.initial_states,
            seed=self.seed,
            sampling=self.sampling,
            constraints=self.constraints,
        )

    def dataset(self, *, dated: bool = True, progress: bool = False) -> xr.Dataset:
        """Return the data set of this block.

        Args:
            dated: Put the clock's time into `history`.
            progress: Show a progress bar on work over two seconds.

        Raises:
            UsageError: The noise can be added to no trajectory of the whole data set.
        """
        streams = Streams(self.seed, self.first)
        values = self.sample()
        driven = None if self.inputs is None else self.inputs.driven(self.count, self.grid)
        doses = draw_doses(streams, self.doses, self.count, self.grid)
        run = run_system(
            self.system,
            self.grid,
            values.initial_states,
            values.parameters,
            driven,
            doses,
            rtol=self.rtol,
            atol=self.atol,
            method=self.method,
            progress=progress,
        )
        known = self.system.output_names
        noiseless = run.outputs
        if tuple(self.observed) != tuple(known):
            noiseless = noiseless[:, :, [known.index(name) for name in self.observed]]
        levels = noise_levels(
            noiseless, self.observed, known, self.noise, self.distribution, streams
        )
        lost = cannot_be_noisy(noiseless, levels, self.distribution)
        # A block cannot know of the others; in each some trajectories may be lost.
        if self.count == self.n and lost.all():
            raise not_noisy_error(noiseless, levels, self.observed, self.distribution, self.first)
        status = np.where(lost & (run.status == Status.CONVERGED), NOT_POSITIVE, run.status)
        observed = add_noise(noiseless, levels, self.observed, self.distribution, streams)
        variables = {
            "observed": remove_missing(observed, self.observed, known, self.missing, streams),
            "noiseless": noiseless,
            "true_parameters": values.parameters,
            "true_initial_state": values.initial_states,
            "true_noise_sd": levels,
            "error_estimate": run.error_estimate,
            "status": status,
        }
        if self.settings["constraints"]:
            variables["rejected"] = values.rejected
        return self._labelled(variables, driven, doses, dated=dated)

    def _labelled(
        self, variables: dict[str, Any], driven: Driven | None, doses: Doses, *, dated: bool
    ) -> xr.Dataset:
        coordinates = (
            trajectory_coords(np.arange(self.first, self.first + self.count))
            | time_coords(self.system, self.grid)
            | output_coords(self.system, self.observed)
            | state_coords(self.system)
            | parameter_coords(self.system)
        )
        outside, more = _outside(self.system, driven, doses)
        dataset = labelled(variables | outside, coordinates | more)
        dataset["status"].attrs.update(status_attributes(STATUS_MEANINGS))
        if self.distribution.relative:
            dataset["true_noise_sd"].attrs["units"] = "1"
        for name in ("input_time", "dose_time"):
            if name in dataset:
                dataset[name].attrs["units"] = self.system.time_unit
        return stamp(
            dataset,
            title=f"Simulated trajectories of {type(self.system).__name__}",
            system=self.system,
            function="warp_phys.data_gen.simulate",
            references=self.system.reference,
            seed=self.seed,
            rtol=self.rtol,
            atol=self.atol,
            settings=self.settings,
            dated=dated,
        )


def has_arrays(recipes: Any) -> bool:
    """Whether recipes hold values for each trajectory."""
    if isinstance(recipes, Mapping):
        return any(isinstance(recipe, np.ndarray) for recipe in recipes.values())
    return recipes is not None


def _outside(
    system: System, driven: Driven | None, doses: Doses
) -> tuple[dict[str, Any], Coordinates]:
    """Return the variables and coordinates of inputs and doses."""
    variables: dict[str, Any] = {}
    coordinates: Coordinates = {}
    if driven is not None:
        variables["inputs"] = driven.at_samples
        coordinates |= input_coords(system)
        if driven.knots is not None:
            variables["input_table"] = driven.at_knots
            shape = driven.at_knots.shape[:2]
            variables["input_time"] = np.broadcast_to(driven.knots, shape).copy()
    if doses:
        variables["dose_amount"] = np.stack([dose.amount for dose in doses], axis=1)
        variables["dose_time"] = np.stack([dose.time for dose in doses], axis=1)
        coordinates |= dose_coords(system, [dose.state for dose in doses])
    return variables, coordinates
