"""The options of `simulate`, collected in one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from warp_phys.data_gen.drawing.constraints import Condition
from warp_phys.data_gen.drawing.designs.registry import Sampling
from warp_phys.data_gen.drawing.doses import DoseRecipes
from warp_phys.data_gen.observing.limits import Limits
from warp_phys.data_gen.observing.observe import Missing, NoiseLevel
from warp_phys.systems.forcing.doses import Dose
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.registry import noise_settings


@dataclass(frozen=True, eq=False)
class SimulationOptions:
    """The options of `simulate` as given; the docstring of `simulate` explains each of them."""

    parameters: Any
    initial_states: Any
    inputs: Any
    input_times: Any
    doses: Sequence[Dose]
    noise: NoiseLevel
    distribution: Noise | str | Mapping[str, Noise | str]
    limits: Limits | None
    missing: Missing
    observe: Sequence[str] | None
    sampling: Sampling
    constraints: Condition | Sequence[Condition]
    seed: int | None
    rtol: float
    atol: float | None
    method: str

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Pick the options out of the arguments of a call."""
        return cls(**{option.name: arguments[option.name] for option in fields(cls)})


@dataclass(frozen=True, eq=False)
class CheckedOptions(SimulationOptions):
    """The options after the checks, each in a single form."""

    doses: DoseRecipes
    distribution: Noise
    limits: Limits
    observe: Sequence[str]
    constraints: Sequence[Condition]
    seed: int

    def settings(self) -> dict[str, Any]:
        """Return the options that determine the data, as given, except the seed and tolerances."""
        return {
            "parameters": self.parameters,
            "initial_states": self.initial_states,
            "inputs": self.inputs,
            "input_times": self.input_times,
            "doses": [vars(dose) for dose in self.doses],
            "noise": self.noise,
            **noise_settings(self.distribution),
            # Without limits nothing is said, as in data sets that were begun before there were any.
            **({"limits": dict(self.limits)} if self.limits else {}),
            "missing": self.missing,
            "observe": self.observe,
            "sampling": self.sampling,
            "constraints": self.constraints,
            "method": self.method,
        }

    @property
    def give_arrays(self) -> bool:
        """Whether parameters or initial states are given for each trajectory."""
        return has_arrays(self.parameters) or has_arrays(self.initial_states)


def has_arrays(recipes: Any) -> bool:
    """Return whether recipes contain values for each trajectory."""
    if isinstance(recipes, Mapping):
        return any(isinstance(recipe, np.ndarray) for recipe in recipes.values())
    return recipes is not None
