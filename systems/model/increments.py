"""Outputs that are counted between samples: the increase of a running total since the last one."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.systems.model.equations import Equations


def as_increments(system: Equations, outputs: Tensor, before: Tensor) -> Tensor:
    """Return outputs (N, T, O), those of the kind "increment" as increases since the last sample.

    Args:
        system: The system.
        outputs: What `observe` returned at the samples: running totals, where they are counted.
        before: (N, O), the same at the time from which the first sample counts.
    """
    if not system.increments:
        return outputs
    previous = torch.cat([before.unsqueeze(1), outputs[:, :-1]], dim=1)
    counted = torch.zeros(outputs.shape[2], dtype=torch.bool)
    counted[list(system.increments)] = True
    return torch.where(counted, outputs - previous, outputs)
