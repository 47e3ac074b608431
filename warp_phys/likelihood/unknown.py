r"""One unknown of a fit, and its unconstrained coordinate.

Every unknown has a support (or the caller's bounds). A bijection maps the support to the whole real
line (logarithm, logit or identity), on which the minimizer is unconstrained, so that no step leaves
the support. Between bounds a < x < b it is the logit

.. math::
    z = \log \frac{x - a}{b - x}, \qquad
    \frac{d \log x}{d z} = \frac{(x - a) (b - x)}{x (b - a)}.

Where 0 <= a and b is many times a, this derivative is 1 all the way between the bounds: the
coordinate is the logarithm up to a constant, and both ends are infinitely far away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from warp_phys.systems.model.supports import (
    Support,
    bounds,
    slope_of_physical,
    to_unconstrained,
)

# A parameter may plausibly lie outside its usual range by this many powers of e.
_WIDE = 2.0
# A value on the end of a support is moved inside by this share of the smallest scale there is.
_INSIDE = 1e-6
# From this ratio of its ends on, a positive range counts as one of logarithms: a decade.
_DECADE = 10.0


def spans_decades(low: float, high: float) -> bool:
    """Return whether a range is positive and its ends are at least a factor of ten apart."""
    return low > 0.0 and high >= _DECADE * low


@dataclass(frozen=True)
class Unknown:
    """One estimated quantity.

    Attributes:
        kind: "parameter", "initial_state" or "noise".
        name: Its name.
        unit: Its unit.
        index: Its position among the system's parameters or states; parameters of the noise are
            numbered behind those of the system.
        support: The values that it may have: its support, or the caller's bounds.
        usual: (low, high), its usual range.
        shared: Whether all trajectories of a group have the same value.
        ranged: Whether the usual range is one that the system declares.
    """

    kind: Literal["parameter", "initial_state", "noise"]
    name: str
    unit: str
    index: int
    support: Support
    usual: tuple[float, float]
    shared: bool = False
    ranged: bool = False

    @property
    def label(self) -> str:
        """The name; for an initial state, the name of the state followed by `(0)`."""
        return f"{self.name}(0)" if self.kind == "initial_state" else self.name

    @property
    def logarithmic(self) -> bool:
        """Whether the coordinate is the logarithm of the value."""
        return self.support == "positive"

    @property
    def rising(self) -> float:
        """The sign of the slope of the value by its coordinate."""
        zero = torch.zeros(1, dtype=torch.float64)
        return float(slope_of_physical(zero, self.support).sign())

    def coordinate(self, value: Tensor) -> Tensor:
        """Return the real coordinates of values, which are first moved inside the support."""
        return to_unconstrained(self.inside(value), self.support)

    def inside(self, value: Tensor) -> Tensor:
        """Return values with those on or beyond an end of the support moved inside it.

        The coordinates of an end are infinite. A value strictly inside is not changed.
        """
        low, high = bounds(self.support)
        if low > -math.inf:
            value = torch.where(value <= low, low + self._margin(low, self.usual[0]), value)
        if high < math.inf:
            value = torch.where(value >= high, high - self._margin(high, self.usual[1]), value)
        return value

    def _margin(self, end: float, usual: float) -> float:
        """Return how far from an end of the support a value on it is moved.

        Args:
            end: The end.
            usual: The end of the usual range on that side.
        """
        low, high = bounds(self.support)
        scales = [high - low]
        if not 0.0 < low < high < _DECADE * low:
            # Wide bounds say little about the size of the quantity: a millionth of their width may
            # be many times the value expected.
            scales += [self.usual[1] - self.usual[0], abs(end) or math.inf]
        margin = min(_INSIDE * min(scales), abs(usual - end) or math.inf)
        return max(margin, 2.0 * math.ulp(end))

    def between(self, share: Tensor) -> Tensor:
        """Return the coordinates of points of the usual range, between its ends 0 and 1.

        The points are evenly spaced in the coordinate; in the logarithm where the range is positive
        and spans decades, but the support reaches below zero, so that the coordinate is linear.
        """
        ends = torch.tensor(self.usual, dtype=torch.float64)
        if bounds(self.support)[0] < 0.0 and spans_decades(*self.usual):
            logarithm = ends.log()
            return self.coordinate(torch.lerp(logarithm[0], logarithm[1], share).exp())
        ends = self.coordinate(ends)
        return torch.lerp(ends[0], ends[1], share)

    def middle(self) -> float:
        """Return the coordinate of the middle of the usual range."""
        return float(self.between(torch.tensor(0.5, dtype=torch.float64)))

    def spread(self) -> float:
        """Return half the width of the usual range in coordinates, the likely error of a start."""
        ends = self.coordinate(torch.tensor(self.usual, dtype=torch.float64))
        # A narrow range, or one value twice, still leaves room for a start to be wrong.
        return max(0.5 * abs(float(ends[1] - ends[0])), 0.1)

    def wide(self) -> float:
        """Return the standard deviation, in coordinates, of a nearly uninformative prior."""
        # A real unknown may plausibly lie several ranges away; a positive one a few powers of e.
        return 4.0 * self.spread() if self.support == "real" else self.spread() + _WIDE
