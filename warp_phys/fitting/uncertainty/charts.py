r"""Coordinates for profiles: logarithmic far from a bound, linear near it.

With the standard error c of a value theta in (low, high), the coordinate is

    a = log(theta - low + c) - log(high - theta + c),

without the part of a bound that is infinite, and theta itself on the real line. Where the error is
small compared with the distance from the bounds this is the logarithm, or the logit, by which
values of any order of magnitude are reached in a few steps. Near a bound it is linear in the value,
whose logarithm would put the bound infinitely far away and bend the valleys of the objective, so
that a minimum on the bound takes no longer to reach than another one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.systems.model.supports import bounds

# The end of a support is approached to this share of the standard error.
_END = 1e-9
# Largest scale, relative to the value and its usual range; it makes the coordinate linear.
_LARGEST = 1e3


@dataclass(frozen=True)
class Charts:
    """The coordinates of values of one shape.

    Attributes:
        low: Lower bounds, minus infinity where there is none.
        high: Upper bounds.
        scale: Standard errors c.
    """

    low: Tensor
    high: Tensor
    scale: Tensor

    @classmethod
    def of(cls, unknowns: Unknowns, values: Tensor, errors: Tensor) -> Charts:
        """Return the charts of all unknowns at values with standard errors, (N, D)."""
        table = torch.tensor([(*bounds(e.support), *e.usual) for e in unknowns.entries]).double()
        low, high, first, last = table.T
        scale = errors.minimum(_LARGEST * (values.abs() + (last - first).abs()))
        return cls(low.expand_as(scale), high.expand_as(scale), scale)

    def select(self, lanes: Tensor) -> Charts:
        """Return the charts of some lanes."""
        return Charts(self.low[lanes], self.high[lanes], self.scale[lanes])

    def column(self, columns: Tensor) -> Charts:
        """Return the charts of one unknown of each lane, (L,)."""
        place = columns.unsqueeze(1)
        parts = (self.low, self.high, self.scale)
        return Charts(*(part.gather(1, place).squeeze(1) for part in parts))

    def coordinate(self, value: Tensor) -> Tensor:
        """Return the coordinates of values."""
        above = torch.where(self.low.isfinite(), (value - self.low + self.scale).log(), 0.0)
        below = torch.where(self.high.isfinite(), (self.high - value + self.scale).log(), 0.0)
        return torch.where(self._real, value, above - below)

    def value(self, at: Tensor) -> Tensor:
        """Return the values at coordinates, inside the support."""
        ratio, c = at.exp(), self.scale
        one = self.low + ratio - c
        other = self.high - 1.0 / ratio + c
        both = (self.low - c + ratio * (self.high + c)) / (1.0 + ratio)
        value = torch.where(self.low.isfinite(), both, other)
        value = torch.where(self.high.isfinite(), value, one)
        return torch.where(self._real, at, self.inside(value))

    def slope(self, value: Tensor) -> Tensor:
        """Return the derivative of the value by its coordinate."""
        # 1 / infinity is zero, which drops the parts of infinite bounds.
        parts = 1.0 / (value - self.low + self.scale) + 1.0 / (self.high - value + self.scale)
        return torch.where(self._real, 1.0, 1.0 / parts)

    def inside(self, value: Tensor) -> Tensor:
        """Return values kept away from the ends of the support, by a negligible distance."""
        low, high = self.ends()
        return value.maximum(low).minimum(high)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Return the least and the largest value that are used, infinite where unbounded."""
        margin = _END * self.scale.minimum(self.high - self.low)
        return self.low + margin, self.high - margin

    @property
    def _real(self) -> Tensor:
        return ~self.low.isfinite() & ~self.high.isfinite()
