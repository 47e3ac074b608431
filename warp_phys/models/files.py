"""Files of models: safetensors with a JSON header, written atomically.

Reading a file parses numbers and JSON; nothing in it is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from warp_phys.systems.catalog.registry import get_system, system_names
from warp_phys.systems.errors import SchemaError, UsageError
from warp_phys.systems.model.system import System
from warp_phys.systems.schema.atomic import check_target, write_atomic

MODEL_SCHEMA_VERSION = "1"
_KEY = "warp_phys"


def write_model(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    header: Mapping[str, Any],
    *,
    overwrite: bool,
) -> None:
    """Write tensors and header to one .safetensors file."""
    target = Path(path)
    if target.suffix != ".safetensors":
        raise UsageError(f"expected a file name ending in .safetensors, got {target.name}")
    check_target(target, overwrite=overwrite)
    # Options of a system may be NumPy scalars, which JSON cannot write.
    text = json.dumps({"schema_version": MODEL_SCHEMA_VERSION} | dict(header), default=float)
    plain = {name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}
    write_atomic(to_bytes(plain, metadata={_KEY: text}), target, overwrite=overwrite)


def read_model(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header of a file that holds a model of one kind."""
    source = Path(path)
    if not source.is_file():
        raise FileNotFoundError(f"there is no file {source}")
    try:
        with safe_open(source, framework="pt") as opened:
            header = (opened.metadata() or {}).get(_KEY)
            names = opened.keys()
            tensors = {name: opened.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise SchemaError(f"{source.name} is not a readable safetensors file: {error}") from error
    if header is None:
        raise SchemaError(
            f"{source.name} was not written by this package: its header has no entry {_KEY!r}"
        )
    facts = json.loads(header)
    if facts["schema_version"] != MODEL_SCHEMA_VERSION:
        raise SchemaError(
            f"{source.name} has model schema version {facts['schema_version']}, this package "
            f"reads {MODEL_SCHEMA_VERSION}; train the model again"
        )
    if facts["kind"] != kind:
        raise SchemaError(f"{source.name} holds a {facts['kind']}, expected a {kind}")
    return tensors, facts


def load_weights(
    network: nn.Module, tensors: Mapping[str, Tensor], path: str | os.PathLike[str]
) -> None:
    """Load the tensors of a file into a network.

    Raises:
        SchemaError: The tensors are not those of this network.
    """
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise SchemaError(
            f"the tensors of {Path(path).name} are not those of the model that its header "
            f"describes; make head, drive and structure of your own as for training: {error}"
        ) from error


def find_system(
    header: Mapping[str, Any], system: System | None, path: str | os.PathLike[str]
) -> System:
    """Return the system a model belongs to: the one given, or a shipped one by name."""
    name, source = header["system"], Path(path).name
    if system is None:
        if name not in system_names():
            raise SchemaError(
                f"{source} belongs to the system {name!r}, which this package does not ship; "
                "pass system=YourSystem()"
            )
        options = header["system_options"].items()
        system = get_system(
            name, **{key: tuple(v) if isinstance(v, list) else v for key, v in options}
        )
    if system.name != name or list(system.parameter_names) != header["parameters"]:
        raise SchemaError(
            f"{source} belongs to {name} with parameters {', '.join(header['parameters'])}, got "
            f"system={system.name} with {', '.join(system.parameter_names)}"
        )
    return system
