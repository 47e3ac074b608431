"""Files of the memories of sensors: safetensors with a JSON header."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from warp_phys.models.files import read_model, write_model
from warp_phys.models.information.stream.about import About
from warp_phys.systems.errors import SchemaError

# Before the names of tensors that say what a memory belongs to.
_ABOUT = "about."
_ADVICE = "make the model as it was when the file was written"


def write_memory(
    path: str | os.PathLike[str],
    kind: str,
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    about: About,
    *,
    overwrite: bool,
) -> None:
    """Write the tensors and the header of a memory, and what it belongs to.

    Raises:
        UsageError: The name does not end in .safetensors.
        OutputExistsError: The file exists and `overwrite` is off.
    """
    given = {_ABOUT + name: value for name, value in about.given.items()}
    facts = {"kind": kind, **header, **about.facts}
    write_model(path, {**tensors, **given}, facts, overwrite=overwrite)


def read_memory(
    path: str | os.PathLike[str], kind: str, about: About, counted: str, sensors: int
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
        SchemaError: It holds no such memory, or one of another system, other unknowns, outputs,
            noise, priors or known values, or another number of sensors.
    """
    tensors, header = read_model(path, kind)
    source = Path(path).name
    for name, own in about.facts.items():
        if header.get(name) != own:
            raise SchemaError(
                f"{source} belongs to sensors with {name} {_text(header.get(name))}, but those of "
                f"this model have {_text(own)}; {_ADVICE}"
            )
    if len(tensors[counted]) != sensors:
        raise SchemaError(
            f"{source} holds the memory of {len(tensors[counted])} sensors, expected {sensors}"
        )
    for name in about.given:
        if about.differs(name, tensors.get(_ABOUT + name)):
            raise SchemaError(
                f"the {name} is another one in {source} than in this model; {_ADVICE}"
            )
    return tensors, header


def _text(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text or "nothing"
