"""The settings of a model as plain values, which files of models store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from warp_phys.systems.errors import UsageError, unknown_name

RootName = Literal["auto", "solution", "step", "rollout"]
InitialName = Literal["first_sample", "learned"]
DtypeName = Literal["float32", "float64"]


@dataclass(frozen=True)
class Settings:
    """The settings of a model; `WarpPhys` explains each of them."""

    head: str = "information"
    drive: str = "difference"
    structure: str = "diagonal"
    rank: int = 4
    stable: bool = False
    decay: float | None = None
    initial: InitialName = "first_sample"
    root: RootName = "auto"
    window: int = 20
    width: int = 128
    root_width: int = 16
    frequencies: int = 12
    state_size: int = 64
    forgetting: float = 1.0
    dtype: DtypeName = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype as a `torch.dtype`."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def select(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return some of the settings by name: the arguments of a head or a drive."""
        return {name: getattr(self, name) for name in names}

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def check_values(values: Mapping[str, Any]) -> None:
    """Raise UsageError unless all given words and numbers are valid settings."""
    for name, kind in (("initial", InitialName), ("root", RootName), ("dtype", DtypeName)):
        if name in values and values[name] not in get_args(kind):
            raise unknown_name(name, values[name], get_args(kind))
    for name in ("window", "width", "root_width", "state_size", "rank"):
        value = values.get(name, 1)
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"expected {name} to be a positive whole number, got {value!r}")
    frequencies = values.get("frequencies", 0)
    if not isinstance(frequencies, int) or frequencies < 0:
        raise UsageError(f"expected frequencies to be 0, 1, 2, ..., got {frequencies!r}")
    if not 0.0 < values.get("forgetting", 1.0) <= 1.0:
        raise UsageError(f"expected 0 < forgetting <= 1, got {values['forgetting']!r}")
