"""What a file of a model stores of the information head: plain values and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.likelihood.stating.choose_unknowns import choose_unknowns
from warp_phys.models.information.options import InformationOptions
from warp_phys.models.information.prior.moments import InCoordinates, moments
from warp_phys.models.information.prior.prior import NOISE, Moments
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.registry import as_noise, noise_of, noise_settings

_MEAN, _COVARIANCE = "prior_mean", "prior_covariance"


def options_to_json(options: InformationOptions, system: System) -> dict[str, Any]:
    """Return the options as plain values; priors as their moments in coordinates."""
    supports = {
        entry.label: entry.support for entry in choose_unknowns(system, set(), set(), set(), None)
    }
    priors = {
        name: moments(name, given, "positive" if name.startswith(NOISE) else supports[name])
        for name, given in options.priors.items()
    }
    noise = options.distribution
    return {
        "priors": {name: list(pair) for name, pair in priors.items()},
        "drift": dict(options.drift),
        "noise": None if noise is None else noise_settings(as_noise(noise)),
        "loss": options.loss,
        "noise_sd": _plain(options.noise_sd),
        "initial_state": _plain(options.initial_state),
        "fixed": _plain(options.fixed),
    }


def options_from_json(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the head from plain values."""
    noise = entry["noise"]
    return {
        "priors": {name: InCoordinates(*pair) for name, pair in entry["priors"].items()},
        "drift": entry["drift"],
        "distribution": None if noise is None else noise_of(noise),
        "loss": entry["loss"],
        "noise_sd": entry["noise_sd"],
        "initial_state": entry["initial_state"],
        "fixed": entry["fixed"],
    }


def moments_to_json(learned: Moments) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return plain values and tensors of a learned prior."""
    header = {
        "labels": list(learned.labels),
        "levels": {name: list(pair) for name, pair in learned.levels.items()},
        "fixed": dict(learned.fixed),
        "states": dict(learned.states),
        "noise": noise_settings(learned.noise),
        "trajectories": learned.trajectories,
    }
    return header, {_MEAN: learned.mean, _COVARIANCE: learned.covariance}


def moments_from_json(entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Moments:
    """Return a learned prior from plain values and tensors."""
    noise: Noise = noise_of(entry["noise"])
    return Moments(
        labels=tuple(entry["labels"]),
        mean=tensors[_MEAN],
        covariance=tensors[_COVARIANCE],
        levels={name: (pair[0], pair[1]) for name, pair in entry["levels"].items()},
        fixed=entry["fixed"],
        states=entry["states"],
        noise=noise,
        trajectories=entry["trajectories"],
    )


def _plain(value: Any) -> Any:
    """Return words, numbers, arrays and mappings of them in a form that JSON stores."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    array = value.numpy() if isinstance(value, torch.Tensor) else np.asarray(value, dtype=float)
    return array.tolist()
