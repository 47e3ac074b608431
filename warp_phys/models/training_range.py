"""The ranges of the training data, and flags for records outside of them (extrapolation)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from warp_phys.records.records import Records
from warp_phys.systems.schema.flags import OUT_OF_RANGE

# Relative tolerance within which a time step or duration counts as inside the training range.
_ROUNDING = 1e-6


class Limits(nn.Module):
    """Ranges of the training data.

    Args:
        outputs: Number of observed outputs.
        coordinates: Number of unknowns.
    """

    values: Tensor
    steps: Tensor
    duration: Tensor
    coordinates: Tensor

    def __init__(self, outputs: int, coordinates: int) -> None:
        super().__init__()
        everything = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
        self.register_buffer("values", everything.repeat(outputs, 1))
        self.register_buffer("steps", everything.clone())
        self.register_buffer("duration", torch.tensor(torch.inf, dtype=torch.float64))
        self.register_buffer("coordinates", everything.repeat(coordinates, 1))

    def measure(self, records: Records, coordinates: Tensor) -> None:
        """Store the ranges of training records and of their true coordinates (N, Q)."""
        flat = records.observed.flatten(0, 1)
        self.values.copy_(torch.stack([_range(column) for column in flat.T]))
        self.steps.copy_(_range(records.times.diff(dim=1)))
        self.duration.copy_(records.elapsed.max())
        if coordinates.numel():
            self.coordinates.copy_(torch.stack([_range(column) for column in coordinates.T]))

    def flags(self, records: Records, mean: Tensor) -> Tensor:
        """Return the bits of `OUT_OF_RANGE`, (N,) int64.

        Args:
            records: The records to estimate.
            mean: (N, Q), estimated coordinates at the last sample of each record.
        """
        observed = records.observed
        # Comparisons with NaN are false, so that missing values and padding set no flag.
        beyond = (observed < self.values[:, 0]) | (observed > self.values[:, 1])
        steps = records.times.diff(dim=1)
        low, high = self.steps[0] * (1.0 - _ROUNDING), self.steps[1] * (1.0 + _ROUNDING)
        odd_step = (steps < low) | (steps > high)
        too_long = records.elapsed[:, -1] > self.duration * (1.0 + _ROUNDING)
        far = (mean < self.coordinates[:, 0]) | (mean > self.coordinates[:, 1])
        conditions = (
            beyond.any(dim=-1).any(dim=-1),
            too_long,
            odd_step.any(dim=-1),
            far.any(dim=-1),
        )
        return sum(
            bit * condition.long() for bit, condition in zip(OUT_OF_RANGE, conditions, strict=False)
        ) + torch.zeros(len(records), dtype=torch.int64)


def _range(values: Tensor) -> Tensor:
    finite = values[values.isfinite()]
    if not finite.numel():
        return torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
    return torch.stack([finite.min(), finite.max()])
