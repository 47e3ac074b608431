"""Checkpoints, from which an interrupted training run continues to the same bits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from warp_phys.models.files import read_model, write_model
from warp_phys.systems.errors import SchemaError


@dataclass
class Progress:
    """The progress of a training run.

    Attributes:
        step: Steps done.
        seconds: Time spent in training.
        best: Lowest validation loss so far.
        best_step: The step at which it was reached.
        weights: The weights with which it was reached.
        skipped: Number of steps skipped because their gradient was not finite.
        history: One row (step, seconds, training loss, validation loss) per evaluation.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = float("inf")
    best_step: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)
    skipped: int = 0
    history: list[tuple[float, float, float, float]] = field(default_factory=list)


def write_checkpoint(
    path: str | os.PathLike[str],
    progress: Progress,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    configuration: Mapping[str, Any],
) -> None:
    """Write everything that the rest of the run depends on, replacing the last checkpoint."""
    # The weights, the best weights so far, and the moments of the optimizer.
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in progress.weights.items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    numbers = {
        name: getattr(progress, name)
        for name in ("step", "seconds", "best", "best_step", "skipped", "history")
    }
    header = {
        "kind": "checkpoint",
        "configuration": json.dumps(configuration, sort_keys=True),
        "progress": numbers,
    }
    write_model(path, tensors, header, overwrite=True)


def read_checkpoint(
    path: str | os.PathLike[str],
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    configuration: Mapping[str, Any],
) -> Progress:
    """Bring network and optimizer to where a checkpoint left them.

    Returns:
        The run's progress; a new one where there is no such file.

    Raises:
        SchemaError: The checkpoint belongs to another model, data set or call of `train`.
    """
    if not Path(path).exists():
        return Progress()
    tensors, header = read_model(path, "checkpoint")
    if header["configuration"] != json.dumps(configuration, sort_keys=True):
        raise SchemaError(
            f"the checkpoint {Path(path).name} belongs to another training run (other model, data "
            f"or settings: {_differences(json.loads(header['configuration']), configuration)}); "
            "delete it or choose another name"
        )
    network.load_state_dict(_part(tensors, "network"))
    state = optimizer.state_dict()
    for name, value in _part(tensors, "optimizer").items():
        number, moment = name.split(".", 1)
        state["state"].setdefault(int(number), {})[moment] = value
    optimizer.load_state_dict(state)
    found = header["progress"]
    found["history"] = [tuple(row) for row in found["history"]]
    return Progress(**found, weights=_part(tensors, "best"))


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(new))
    return ", ".join(sorted(key for key in {*old, *plain} if old.get(key) != plain.get(key)))
