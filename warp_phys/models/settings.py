"""The choices of a model, checked where they are made and kept with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch

from warp_phys.models.drives import DriveName
from warp_phys.models.heads import HeadName
from warp_phys.recurrence.layer import STABLE_STRUCTURES, StructureName
from warp_phys.systems.errors import UsageError, unknown_name

RootName = Literal["auto", "solution", "step", "rollout"]
InitialName = Literal["first_sample", "learned"]
DtypeName = Literal["float32", "float64"]

# Differences alone tell a state of a few physical unknowns too little; the paper's head is
# driven by them.
_USUAL_DRIVE: dict[str, DriveName] = {
    "direct": "features",
    "weights": "difference",
    "readout": "features",
    "regression": "difference",
}


@dataclass(frozen=True)
class Settings:
    """What a model is made of; see `WarpPhys` for the meaning of each."""

    head: HeadName = "direct"
    drive: DriveName = "features"
    structure: StructureName = "diagonal"
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
        """The dtype as torch knows it."""
        return torch.float64 if self.dtype == "float64" else torch.float32

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        return asdict(self)


def check_settings(**given: Any) -> Settings:
    """Return settings with what depends on the head filled in.

    Raises:
        UsageError: A choice is unknown or a number is out of range.
    """
    known = [field.name for field in fields(Settings)]
    for name in given:
        if name not in known:
            raise unknown_name("setting of a model", name, known)
    values = {name: value for name, value in given.items() if value is not None}
    head = values.get("head", "direct")
    _check_choice("head", head, HeadName)
    values.setdefault("drive", _USUAL_DRIVE[head])
    # A window of features already averages; a state that forgets keeps it from drifting.
    if values["drive"] == "features":
        values.setdefault("stable", True)
        values.setdefault("decay", 0.5)
    for name, kind in (
        ("drive", DriveName),
        ("structure", StructureName),
        ("initial", InitialName),
        ("root", RootName),
        ("dtype", DtypeName),
    ):
        if name in values:
            _check_choice(name, values[name], kind)
    _check_drive(head, values["drive"])
    _check_numbers(values)
    if values.get("stable") and values.get("structure", "diagonal") not in STABLE_STRUCTURES:
        values.pop("stable")
        values.pop("decay", None)
    return Settings(**values)


def _check_drive(head: HeadName, drive: DriveName) -> None:
    of_regression = ("difference", "log_difference")
    if head == "regression" and drive not in of_regression:
        raise UsageError(
            f"expected drive='difference' or 'log_difference' for the regression head, whose sums "
            f"are of differences, got {drive!r}"
        )
    if head != "regression" and drive == "log_difference":
        raise UsageError(
            "expected drive='difference', 'raw' or 'features', got 'log_difference', which is of "
            "the regression head alone"
        )


def _check_numbers(values: dict[str, Any]) -> None:
    for name in ("window", "width", "root_width", "state_size", "rank"):
        value = values.get(name, 1)
        if not isinstance(value, int) or value < 1:
            raise UsageError(f"expected {name} to be a positive whole number, got {value!r}")
    frequencies = values.get("frequencies", 0)
    if not isinstance(frequencies, int) or frequencies < 0:
        raise UsageError(f"expected frequencies to be 0, 1, 2, ..., got {frequencies!r}")
    if not 0.0 < values.get("forgetting", 1.0) <= 1.0:
        raise UsageError(f"expected 0 < forgetting <= 1, got {values['forgetting']!r}")


def _check_choice(name: str, value: object, kind: Any) -> None:
    if value not in get_args(kind):
        raise unknown_name(name, value, get_args(kind))
