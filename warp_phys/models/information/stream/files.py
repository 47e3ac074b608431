"""Files of the memories of sensors: safetensors with a JSON header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from warp_phys.models.files import read_model, write_model
from warp_phys.systems.errors import SchemaError


def write_memory(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write the tensors and the header of a memory.

    Raises:
        UsageError: The name does not end in .safetensors.
        OutputExistsError: The file exists and `overwrite` is off.
    """
    write_model(path, tensors, {"kind": kind, **header}, overwrite=overwrite)


def read_memory(
    path: str | os.PathLike[str], kind: str, about: Mapping[str, Any], counted: str, sensors: int
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a memory.

    Args:
        path: The file.
        kind: The kind of memory.
        about: What it must belong to.
        counted: Name of a tensor with one row for each sensor.
        sensors: How many sensors it must have.

    Raises:
        FileNotFoundError: There is no such file.
        SchemaError: It holds no such memory, or one of another system, other unknowns, outputs or
            noise, or another number of sensors.
    """
    tensors, header = read_model(path, kind)
    source = Path(path).name
    for name, own in about.items():
        if header[name] != own:
            raise SchemaError(
                f"{source} belongs to sensors with {name} {_text(header[name])}, but those of "
                f"this model have {_text(own)}; make the model as it was when the file was "
                "written"
            )
    if len(tensors[counted]) != sensors:
        raise SchemaError(
            f"{source} holds the memory of {len(tensors[counted])} sensors, expected {sensors}"
        )
    return tensors, header


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
