"""What a memory of sensors belongs to: a model, and what was known before the first sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.prior.prior import NOISE, Prior

# Largest difference of two equal priors, as a share: sums round differently on other computers.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class About:
    """What a memory of sensors belongs to.

    Attributes:
        facts: The model, as JSON: "system", "options", "unknowns", "outputs", "noise" and "drift".
        given: What was known beforehand, as vectors, by names such as "prior of alpha".
    """

    facts: Mapping[str, Any]
    given: Mapping[str, Tensor]

    def differs(self, name: str, other: Tensor | None) -> bool:
        """Return whether a vector differs from the one of this name."""
        own = self.given[name]
        if other is None or other.shape != own.shape:
            return True
        size = float(own.nan_to_num().abs().max())
        return not torch.allclose(own, other, rtol=0.0, atol=_ROUNDING * size, equal_nan=True)


def about_sensors(problem: FitProblem, prior: Prior, drift: Mapping[str, float]) -> About:
    """Return what a memory belongs to.

    Args:
        problem: The likelihood problem of the sensors.
        prior: The prior.
        drift: Sizes of random walks by parameter.
    """
    facts = {
        "system": problem.system.name,
        "options": json.dumps(problem.system.options, sort_keys=True, default=float),
        "unknowns": list(problem.unknowns.labels),
        "outputs": list(problem.records.outputs),
        "noise": _noise(problem),
        "drift": [f"{name}: {size!r}" for name, size in sorted(drift.items())],
    }
    return About(facts, dict(_priors(problem, prior)) | dict(_known(problem)))


def _noise(problem: FitProblem) -> list[str]:
    noise = problem.distribution
    settings = [f"{name}={value!r}" for name, value in sorted(noise.settings.items())]
    return [noise.name, *settings, noise.loss_name, problem.noise]


def _priors(problem: FitProblem, prior: Prior) -> Iterator[tuple[str, Tensor]]:
    """Return the priors of the unknowns and of unknown levels, without units."""
    sd = prior.covariance().diagonal().sqrt()
    scaled = prior.precision * sd * sd.unsqueeze(1)
    for place, label in enumerate(problem.unknowns.labels):
        facts = torch.stack([prior.mean[place] / sd[place], sd[place].log()])
        yield f"prior of {label}", torch.cat([facts, scaled[place]])
    if problem.noise != "known":
        for place, name in enumerate(problem.records.outputs):
            level = torch.stack([prior.level[place], prior.level_spread[place]])
            yield f"prior of {NOISE}({name})", level


def _known(problem: FitProblem) -> Iterator[tuple[str, Tensor]]:
    """Return the known parameters, initial states and levels of noise, (N,) each."""
    system, unknowns = problem.system, problem.unknowns
    states = [f"{name}(0)" for name in system.state_names]
    for names, table in (
        (system.parameter_names, unknowns.parameters),
        (states, unknowns.initial_state),
    ):
        for place, name in enumerate(names):
            if name not in unknowns.labels:
                yield f"value of {name}", table[:, place].contiguous()
    if problem.weights is not None:
        for place, name in enumerate(problem.records.outputs):
            yield f"value of {NOISE}({name})", problem.weights[:, 0, place].rsqrt()
