"""The facts of its training that a model keeps: outputs, noise, number of records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingFacts:
    """What a trained model must know of its training data, beside ranges and scales.

    Attributes:
        outputs: Names of the outputs it reads, in its order.
        distribution: "normal" or "lognormal" noise.
        trajectories: How many records it was trained on.
        supervised: Whether it saw true parameters, without which there are no bands.
    """

    outputs: tuple[str, ...]
    distribution: str
    trajectories: int
    supervised: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> TrainingFacts:
        """Build from what JSON made of it."""
        return cls(**(entry | {"outputs": tuple(entry["outputs"])}))
