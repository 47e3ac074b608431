"""What acts on records from outside, beside inputs known at the samples: tables and doses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.systems.dynamics.doses import Dose
from warp_phys.systems.errors import SchemaError, UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.checks import check_times


@dataclass(frozen=True)
class InputTable:
    """The inputs of N trajectories at times of their own.

    Attributes:
        times: (N, K), NaN behind the last of a shorter table.
        values: (N, K, I).
    """

    times: Tensor
    values: Tensor

    def select(self, index: Tensor | slice) -> InputTable:
        """Return that of some trajectories."""
        return InputTable(self.times[index], self.values[index])

    def at(self, system: System, times: Tensor) -> Tensor:
        """Return the inputs (N, T, I) at times (N, T), linear or held in between, held outside."""
        known = self.times.isfinite()
        knots = torch.where(known, self.times, torch.inf).contiguous()
        last = known.sum(dim=1, keepdim=True) - 1
        left = torch.searchsorted(knots, times.contiguous(), right=True) - 1
        left = left.clamp_min(0).minimum(last)
        right = (left + 1).minimum(last)
        begin = knots.gather(1, left)
        length = knots.gather(1, right) - begin
        share = ((times - begin) / torch.where(length > 0.0, length, 1.0)).clamp(0.0, 1.0)
        wide = [place.unsqueeze(2).expand(-1, -1, self.values.shape[2]) for place in (left, right)]
        before, after = self.values.gather(1, wide[0]), self.values.gather(1, wide[1])
        held = torch.tensor([entry.between == "held" for entry in system.inputs])
        change = torch.where(held | (share == 0.0).unsqueeze(2), 0.0, after - before)
        return before + share.unsqueeze(2) * change


@dataclass(frozen=True)
class Doses:
    """Doses of N trajectories, M each; see `warp_phys.systems.Dose`.

    Attributes:
        states: The state that each dose goes to.
        amounts: (N, M).
        times: (N, M), NaN where a trajectory has no such dose.
    """

    states: tuple[str, ...]
    amounts: Tensor
    times: Tensor

    def select(self, index: Tensor | slice) -> Doses:
        """Return those of some trajectories."""
        return Doses(self.states, self.amounts[index], self.times[index])

    def as_sequence(self) -> list[Dose]:
        """Return them as `integrate` takes them."""
        columns = zip(self.states, self.amounts.unbind(1), self.times.unbind(1), strict=True)
        return [Dose(state, amount, time) for state, amount, time in columns]

    def rise(self, system: System, number: int) -> Tensor:
        """Return what dose `number` adds to the states, (N, S)."""
        added = self.amounts.new_zeros(len(self.amounts), len(system.states))
        given = self.times[:, number].isfinite()
        place = system.state_names.index(self.states[number])
        added[:, place] = torch.where(given, self.amounts[:, number], 0.0)
        return added

    def rise_at(self, system: System, times: Tensor) -> Tensor:
        """Return what the doses given at times (N,) add to the states, (N, S)."""
        total = self.amounts.new_zeros(len(self.amounts), len(system.states))
        for number in range(len(self.states)):
            here = (self.times[:, number] == times).unsqueeze(1)
            total = total + torch.where(here, self.rise(system, number), 0.0)
        return total

    def check_start(self, start: Tensor, labels: Sequence[Any]) -> None:
        """Refuse doses before the initial times (N,)."""
        early = self.times < start.unsqueeze(1)
        if early.any():
            row, number = early.nonzero()[0].tolist()
            when = float(self.times[row, number])
            raise UsageError(
                f"dose {number} of trajectory {labels[row]} comes at {when:g}, before its initial "
                f"state at {float(start[row]):g}; let that hold when the first dose is given, "
                f"initial_time={when:g}, or put what the dose left into the initial state"
            )


def read_table(dataset: xr.Dataset, system: System, labels: Sequence[Any]) -> InputTable | None:
    """Return the table of inputs of a data set (trajectory, ...), None where it has none.

    Raises:
        SchemaError: The table has no times, or lacks an input.
        UsageError: Its times do not increase, or a value is missing.
    """
    if not system.inputs or "input_table" not in dataset:
        return None
    if "input_time" not in dataset:
        raise SchemaError(
            "the data set has an 'input_table' but not its times: add 'input_time' "
            "(trajectory, knot)"
        )
    table = dataset["input_table"].transpose("trajectory", "knot", "input")
    missing = [name for name in system.input_names if name not in table["input"].values]
    if missing:
        raise SchemaError(
            f"the 'input_table' lacks {', '.join(missing)}; {system.name} needs "
            f"{', '.join(system.input_names)}"
        )
    times = _numbers(dataset["input_time"].transpose("trajectory", "knot"))
    check_times(times.numpy(), name="input_time", labels=labels)
    values = _numbers(table.sel(input=list(system.input_names)))
    unknown = ~values.isfinite().all(dim=2) & times.isfinite()
    if unknown.any():
        row, knot = unknown.nonzero()[0].tolist()
        raise UsageError(
            f"the input_table of trajectory {labels[row]} has no value at knot {knot}; drop it "
            "there, with its time, by moving the later ones up"
        )
    return InputTable(times, values.nan_to_num(0.0))


def read_doses(dataset: xr.Dataset, system: System, labels: Sequence[Any]) -> Doses | None:
    """Return the doses of a data set (trajectory, ...), None where it has none.

    Raises:
        SchemaError: Amounts, times or states of the doses are missing.
        UnknownNameError: A dose goes to no state of the system.
        UsageError: A dose that is given has no amount.
    """
    parts = ("dose_amount", "dose_time", "dose_state")
    found = [name for name in parts if name in dataset.variables]
    if not found:
        return None
    if len(found) < len(parts):
        raise SchemaError(
            f"doses are 'dose_amount' and 'dose_time' (trajectory, dose) with the coordinate "
            f"'dose_state' (dose); the data set has only {', '.join(found)}"
        )
    states = tuple(str(name) for name in np.atleast_1d(dataset["dose_state"].values))
    for name in states:
        if name not in system.state_names:
            raise unknown_name(f"state of {system.name}", name, system.state_names)
    amounts, times = (_numbers(dataset[name].transpose("trajectory", "dose")) for name in parts[:2])
    unknown = times.isfinite() & ~amounts.isfinite()
    if unknown.any():
        row, number = unknown.nonzero()[0].tolist()
        raise UsageError(
            f"dose {number} of trajectory {labels[row]} has a time but no amount; where there is "
            "no dose, the time is NaN"
        )
    return Doses(states, amounts, torch.where(times.isfinite(), times, torch.nan))


def _numbers(array: xr.DataArray) -> Tensor:
    return torch.as_tensor(np.array(array.values, dtype=np.float64))
