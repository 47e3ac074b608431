"""The facts about its training data that a model stores: outputs, noise, number of records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about the training data that a trained model stores, in addition to ranges and scales.

    Attributes:
        outputs: Names of the outputs that it reads, in its order.
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
        """Build from plain values, after a round trip through JSON."""
        return cls(**(entry | {"outputs": tuple(entry["outputs"])}))
