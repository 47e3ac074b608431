"""Records whose parameters are estimated, under ordinary and other conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from benchmarks._accuracy import (
    STUDIES,
    Outputs,
    Study,
    fisher_information,
    simulate_records,
    standard_deviations,
)
from benchmarks._unconstrained import unknowns_of
from warp_phys.systems import System, get_system

Floats = NDArray[np.float64]

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
SYSTEMS = {
    "lotka_volterra": replace(STUDIES["lotka_volterra"], samples=100),
    "pendulum": replace(STUDIES["pendulum"], samples=50),
    "damped_oscillator": replace(STUDIES["damped_oscillator"], samples=100),
    "sir": replace(STUDIES["sir"], end=28.0, samples=29),
    "van_der_pol": replace(STUDIES["van_der_pol"], samples=100),
}
JITTER = 0.45  # of irregular times, in steps
OUTLIERS = 0.02  # share of the values
OUTLIER_SIZE = 20.0  # in standard deviations of the noise


@dataclass(frozen=True)
class Case:
    """Records of one system under one condition.

    Attributes:
        name: The name of the system.
        condition: In words.
        study: Ranges, times and outputs of the ordinary records.
        data: Simulated records.
        loss: The loss for ways that have one.
    """

    name: str
    condition: str
    study: Study
    data: xr.Dataset
    loss: str = "linear"

    @cached_property
    def system(self) -> System:
        """The system, with the ranges of the study."""
        return get_system(self.name, **self.study.parameters)

    @cached_property
    def priors(self) -> dict[str, Any]:
        """The distribution of every parameter "name" and initial state "name(0)"."""
        return self.study.priors(self.system)

    @property
    def title(self) -> str:
        """The system's class."""
        return type(self.system).__name__

    @property
    def samples(self) -> int:
        """Samples of a record."""
        return int(self.data["observed"].shape[1])

    @property
    def beginnings(self) -> list[int]:
        """Samples in each of the beginnings of a record."""
        return [max(1, round(fraction * self.samples)) for fraction in FRACTIONS]

    @cached_property
    def truth(self) -> Floats:
        """(N, Q) the true values of the free parameters."""
        free = {"parameter": list(self.system.free_names)}
        return np.asarray(self.data["true_parameters"].sel(free).values)

    @cached_property
    def bounds(self) -> Floats:
        """(F, N, Q) the Cramer-Rao bound of each beginning, without the prior."""
        found = [standard_deviations(one) for one in self._information]
        return np.stack(found)[:, :, : self.truth.shape[1]]

    @cached_property
    def bounds_with_prior(self) -> Floats:
        """(F, N, Q) the same in unconstrained coordinates, with the prior's information added."""
        unknowns = unknowns_of(self.system, self.priors)
        values = np.concatenate([self.truth, self.data["true_initial_state"].values], axis=1)
        slopes = unknowns.slopes(unknowns.coordinates(torch.tensor(values)))
        prior = torch.diag(unknowns.sd**-2.0)
        found = [
            standard_deviations(slopes[:, :, None] * one * slopes[:, None, :] + prior)
            for one in self._information
        ]
        return np.stack(found)[:, :, : self.truth.shape[1]]

    @cached_property
    def _information(self) -> list[torch.Tensor]:
        jacobian = Outputs(self.system, self.data).differences()
        return [fisher_information(jacobian, self.data, count) for count in self.beginnings]

    @property
    def observed(self) -> xr.Dataset:
        """What an estimate may see."""
        return self.data[["observed"]]

    def first(self, count: int) -> Case:
        """Return the first records."""
        return replace(self, data=self.data.isel(trajectory=slice(count)))


def ordinary(name: str, n: int, seed: int) -> Case:
    """Return n records of a system as they are drawn and observed usually."""
    study = SYSTEMS[name]
    system = get_system(name, **study.parameters)
    return Case(name, "ordinary", study, simulate_records(system, study, n, seed))


def conditions(name: str, n: int, seed: int) -> list[Case]:
    """Return records of a system under each condition that is not ordinary."""
    study = SYSTEMS[name]
    system = get_system(name, **study.parameters)
    first, (_, high) = next(iter(study.parameters.items()))
    changes: Mapping[str, dict[str, Any]] = {
        "30 % missing": {"missing": 0.3},
        "irregular times": {"times": _jittered(study.times, n, seed)},
        "half step": {"times": np.linspace(0.0, study.end, 2 * study.samples - 1)},
        "double step": {"times": study.times[::2]},
        "four times longer": {"times": np.linspace(0.0, 4.0 * study.end, 4 * study.samples - 3)},
        "noise 10 %": {"noise": 0.1},
        f"{first} = {1.5 * high:g}, outside": {"parameters": {first: 1.5 * high}},
    }
    found = [
        Case(name, condition, study, simulate_records(system, study, n, seed, **options))
        for condition, options in changes.items()
    ]
    return [*found, _with_outliers(ordinary(name, n, seed), seed)]


def _jittered(times: Floats, n: int, seed: int) -> Floats:
    """Return own times (n, T), all but the first moved by up to a part of the step."""
    moves = np.random.default_rng(seed).uniform(-JITTER, JITTER, (n, len(times)))
    moves[:, 0] = 0.0
    return times + moves * (times[1] - times[0])


def _with_outliers(case: Case, seed: int) -> Case:
    """Return the records with a few values far off, to either side."""
    observed = case.data["observed"]
    rng = np.random.default_rng(seed)
    hit = rng.random(observed.shape) < OUTLIERS
    side = rng.choice([-OUTLIER_SIZE, OUTLIER_SIZE], observed.shape)
    moved = observed + hit * side * case.data["true_noise_sd"].values[:, None, :]
    data = case.data.assign(observed=moved.assign_attrs(observed.attrs))
    return replace(case, condition="2 % outliers", data=data, loss="huber")
