r"""The level of noise under a log-normal prior.

With n squared residuals that sum up to Q and the prior log s ~ N(c, t^2), l = log s minimizes

    n l + Q exp(-2 l) / 2 + (l - c)^2 / (2 t^2),

which is convex. For t -> infinity that is s^2 = Q / n; without values it is l = c.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 6
# Newton's step of the convex objective is too long where its curvature comes from the prior alone.
_LONGEST = 1.5


def likely_log_level(squares: Tensor, count: Tensor, center: Tensor, spread: Tensor) -> Tensor:
    """Return l of sums of squares, all of one shape.

    Args:
        squares: Q.
        count: n.
        center: c.
        spread: t.
    """
    pull = spread.square().reciprocal()
    # The average of log sqrt(Q / n), whose information is 2 n, and of the prior's center: close
    # enough for Newton's method, and exact without values.
    tiny = torch.finfo(torch.float64).tiny
    raw = 0.5 * (squares / count.clamp_min(1.0)).clamp_min(tiny).log()
    raw = raw.maximum(center - 10.0 * spread)
    level = (2.0 * count * raw + pull * center) / (2.0 * count + pull)
    for _ in range(_ROUNDS):
        excess = squares * (-2.0 * level).exp()
        slope = count - excess + pull * (level - center)
        level = level - (slope / (2.0 * excess + pull)).clamp(-_LONGEST, _LONGEST)
    return level


def level_freedom(squares: Tensor, level: Tensor, spread: Tensor) -> Tensor:
    """Return the degrees of freedom of s: its logarithm has the variance 1 / (2 freedom)."""
    return squares * (-2.0 * level).exp() + 0.5 * spread.square().reciprocal()
