"""The plan of a data set: checked once, small enough to send to workers, able to make any block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from warp_phys.data_gen.drawing.doses import doses_of, draw_doses
from warp_phys.data_gen.drawing.inputs import Driven, InputSeries
from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.sampling import Sample, sample
from warp_phys.data_gen.making.blocks import BLOCK, Run, run_system
from warp_phys.data_gen.making.options import CheckedOptions, has_arrays
from warp_phys.data_gen.observing.limits import censor
from warp_phys.data_gen.observing.observe import (
    add_noise,
    cannot_be_noisy,
    noise_levels,
    noise_of,
    not_noisy_error,
    remove_missing,
)
from warp_phys.systems.forcing.dataset import dose_variables
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.flags import SimulationStatus
from warp_phys.systems.schema.labels import (
    Coordinates,
    input_coords,
    labeled,
    output_coords,
    parameter_coords,
    stamp,
    state_coords,
    time_coords,
    trajectory_coords,
)
from warp_phys.systems.schema.variables import SIMULATED


@dataclass(frozen=True, eq=False)
class DatasetPlan:
    """The recipe of trajectories `first` to `first + count` of the `n` of a data set.

    Attributes:
        system: The system.
        n: Number of trajectories of the whole data set.
        first: The first trajectory of this block.
        count: Number of trajectories of this block.
        grid: Sample times, (T,) or (count, T).
        options: The checked options; arrays of noise and doses are sliced to the block, recipes of
            parameters and initial states are those of the whole data set.
        inputs: The inputs, or None.
        known_states: The states whose initial value is one number for all trajectories.
        drawn: The parameters and initial states themselves, if they come from arrays; those of the
            options are then left out.
        settings: The options as the attribute `settings` of a data set records them.
    """

    system: System
    n: int
    first: int
    count: int
    grid: Floats
    options: CheckedOptions
    inputs: InputSeries | None
    known_states: tuple[str, ...]
    drawn: Sample | None
    settings: Mapping[str, Any]

    def part(self, first: int, count: int) -> DatasetPlan:
        """Return the plan of `count` trajectories of the whole data set, from `first` on.

        Arrays are sliced to these trajectories, so that the plan is quick to send to a worker.
        """
        rows = slice(first, first + count)
        options = replace(
            self.options,
            doses=doses_of(self.options.doses, self.n, first, count),
            noise=noise_of(self.options.noise, self.n, first, count),
        )
        drawn = None
        if self.options.give_arrays:
            drawn = replace(self, first=first, count=count).sample()
            options = replace(options, parameters=None, initial_states=None, constraints=())
        return replace(
            self,
            first=first,
            count=count,
            grid=self.grid if self.grid.ndim == 1 else self.grid[rows],
            options=options,
            inputs=None if self.inputs is None else self.inputs.rows(rows),
            drawn=drawn,
        )

    def check_arrays(self) -> None:
        """Check all values given for each trajectory, before long work begins.

        Raises:
            UsageError: A value lies outside its support, violates a constraint, or is no dose.
        """
        doses = any(has_arrays(vars(dose)) for dose in self.options.doses)
        if not self.options.give_arrays and not doses:
            return
        for first in range(0, self.n, BLOCK):
            block = self.part(first, min(BLOCK, self.n - first))
            block.sample()
            block.doses()

    def sample(self) -> Sample:
        """Return the parameters and initial states of this block."""
        return self.drawn or sample(
            self.system,
            self.n,
            first=self.first,
            count=self.count,
            parameters=self.options.parameters,
            initial_states=self.options.initial_states,
            seed=self.options.seed,
            sampling=self.options.sampling,
            constraints=self.options.constraints,
        )

    def doses(self) -> Doses | None:
        """Return the doses of this block."""
        return draw_doses(self._streams, self.options.doses, self.count, self.grid)

    def dataset(self, *, dated: bool = True, progress: bool = False) -> xr.Dataset:
        """Return the data set of this block.

        Args:
            dated: Put the clock's time into `history`.
            progress: Show a progress bar on work over two seconds.

        Raises:
            UsageError: The noise can be added to no trajectory of the whole data set.
        """
        values = self.sample()
        driven = None if self.inputs is None else self.inputs.driven(self.count, self.grid)
        doses = self.doses()
        run = run_system(
            self.system,
            self.grid,
            values.initial_states,
            values.parameters,
            driven,
            doses,
            rtol=self.options.rtol,
            atol=self.options.atol,
            relative=self.options.distribution.relative,
            method=self.options.method,
            progress=progress,
        )
        variables = self._observed(run, values)
        if self.known_states:
            variables |= self._known(values)
        if self.settings["constraints"]:
            variables["rejected"] = values.rejected
        return self._labeled(variables, driven, doses, dated=dated)

    @property
    def _streams(self) -> Streams:
        return Streams(self.options.seed, self.first)

    def _observed(self, run: Run, values: Sample) -> dict[str, Any]:
        """Return the observed variables, and the true values behind them."""
        names, known = self.options.observe, self.system.output_names
        noise, distribution = self.options.noise, self.options.distribution
        noiseless = run.outputs
        if tuple(names) != tuple(known):
            noiseless = noiseless[:, :, [known.index(name) for name in names]]
        levels = noise_levels(noiseless, names, known, noise, distribution, self._streams)
        lost = cannot_be_noisy(noiseless, levels, distribution)
        # A block does not know the others: the error is raised only if the block is the whole data
        # set.
        if self.count == self.n and lost.all():
            raise not_noisy_error(noiseless, levels, names, distribution, self.first)
        # A trajectory whose integration failed keeps that status, which tells more.
        newly = lost & (run.status == SimulationStatus.CONVERGED)
        observed = add_noise(noiseless, levels, names, distribution, self._streams)
        observed = remove_missing(observed, names, known, self.options.missing, self._streams)
        found: dict[str, Any] = {}
        if self.options.limits:
            observed, found["censored"] = censor(observed, names, self.options.limits)
        return found | {
            "observed": observed,
            "noiseless": noiseless,
            "true_parameters": values.parameters,
            "true_initial_state": values.initial_states,
            "true_noise_sd": levels,
            "error_estimate": run.error_estimate,
            "status": np.where(newly, SimulationStatus.NOT_POSITIVE, run.status),
        }

    def _known(self, values: Sample) -> dict[str, Any]:
        """Return the known initial states, NaN where not known, and the time they hold at."""
        known = [name in self.known_states for name in self.system.state_names]
        # The time stays with records that are cut later, whose first state is then not known.
        return {
            "known_initial_state": np.where(known, values.initial_states, np.nan),
            "initial_time": np.broadcast_to(self.grid[..., 0], self.count).copy(),
        }

    def _labeled(
        self,
        variables: dict[str, Any],
        driven: Driven | None,
        doses: Doses | None,
        *,
        dated: bool,
    ) -> xr.Dataset:
        coordinates = (
            trajectory_coords(np.arange(self.first, self.first + self.count))
            | time_coords(self.system, self.grid)
            | output_coords(self.system, self.options.observe)
            | state_coords(self.system)
            | parameter_coords(self.system)
        )
        forcing, more = _forcing(self.system, driven, doses)
        dataset = labeled(variables | forcing, coordinates | more, SIMULATED)
        noise = self.options.distribution
        dataset["true_noise_sd"].attrs["long_name"] = f"{noise.level_words} of the noise added"
        if noise.relative:
            dataset["true_noise_sd"].attrs["units"] = "1"
        return stamp(
            dataset,
            title=f"Simulated trajectories of {type(self.system).__name__}",
            system=self.system,
            function="warp_phys.data_gen.simulate",
            references=self.system.reference,
            seed=self.options.seed,
            rtol=self.options.rtol,
            atol=self.options.atol,
            settings=self.settings,
            dated=dated,
        )


def _forcing(
    system: System, driven: Driven | None, doses: Doses | None
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
    if doses is None:
        return variables, coordinates
    values, labels = dose_variables(system, doses)
    return variables | values, coordinates | labels
