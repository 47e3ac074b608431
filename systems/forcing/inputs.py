"""External inputs as tables: values at knots, linear or constant in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System


@dataclass(frozen=True)
class InputTable:
    """The I inputs of N trajectories at K knots each.

    Attributes:
        times: (N, K), increasing; NaN or infinite after the last knot of a shorter table.
        values: (N, K, I).
    """

    times: Tensor
    values: Tensor

    def select(self, index: Tensor | slice) -> InputTable:
        """Return the table of some trajectories."""
        return InputTable(self.times[index], self.values[index])

    def at(self, system: System, times: Tensor) -> Tensor:
        """Return the inputs (N, T, I) at times (N, T); NaN at times that are NaN.

        Between two knots an input is linear or keeps the value of the earlier one, as the system's
        `Input` declares; before the first knot and after the last it is constant.
        """
        # Knots and grids that all trajectories share are located once, and the places are then
        # expanded.
        knots, grid = _distinct_rows(self.times), _distinct_rows(times)
        rows = max(len(knots), len(grid))
        left, right, share = _places(knots.expand(rows, -1), grid.expand(rows, -1))
        count = len(self.values)
        wide = [
            place.expand(count, -1).unsqueeze(2).expand(-1, -1, self.values.shape[2])
            for place in (left, right)
        ]
        before, after = self.values.gather(1, wide[0]), self.values.gather(1, wide[1])
        share = share.expand(count, -1).unsqueeze(2)
        held = held_inputs(system, times.device)
        # u(t) = u_k + (t - t_k) / (t_{k+1} - t_k) (u_{k+1} - u_k). At a knot itself, the next value
        # must not enter, even as zero times an infinity.
        change = torch.where(held | (share == 0.0), 0.0, after - before)
        return before + share * change


def held_inputs(system: System, device: torch.device) -> Tensor:
    """Return (I,), True if an input keeps its value until the next knot."""
    return torch.tensor([entry.between == "held" for entry in system.inputs], device=device)


def _distinct_rows(times: Tensor) -> Tensor:
    """Return times (N, T), or their only distinct row (1, T) if the rows share memory."""
    return times[:1] if times.stride(0) == 0 else times


def _places(times: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the knots before and after each sample and the relative position between, (R, T) each.

    Args:
        times: Knots, (R, K), NaN or infinite after the last.
        grid: Sample times, (R, T).
    """
    known = times.isfinite()
    knots = torch.where(known, times, torch.inf).contiguous()
    last = known.sum(dim=1, keepdim=True) - 1
    # right=True: a sample at a knot belongs to the interval that starts there.
    left = torch.searchsorted(knots, grid.contiguous(), right=True) - 1
    left = left.clamp_min(0).minimum(last)
    right = (left + 1).minimum(last)
    begin = knots.gather(1, left)
    length = knots.gather(1, right) - begin
    # Before the first and after the last knot the clamp keeps the input constant.
    share = ((grid - begin) / torch.where(length > 0.0, length, 1.0)).clamp(0.0, 1.0)
    return left, right, share
