"""The facts about its training data that a model stores: outputs, noise, number of records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class TrainingFacts:
    """Facts about the training data that a trained model stores, in addition to ranges and scales.

    Attributes:
        outputs: Names of the outputs that it reads, in its order.
        distribution: Name of the noise model.
        trajectories: How many records it was trained on.
        supervised: Whether it saw true parameters, without which there are no bands.
        noise_settings: The noise model's own parameters; empty in files of earlier versions.
    """

    outputs: tuple[str, ...]
    distribution: str
    trajectories: int
    supervised: bool
    noise_settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> TrainingFacts:
        """Build from plain values, after a round trip through JSON."""
        return cls(**(entry | {"outputs": tuple(entry["outputs"])}))
