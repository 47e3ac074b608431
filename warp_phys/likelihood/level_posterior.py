r"""The level of noise under a log-normal prior.

With n squared residuals that sum up to Q and the prior log s ~ N(c, t^2), l = log s minimizes

    n l + Q exp(-2 l) / 2 + (l - c)^2 / (2 t^2),

which is convex. For t -> infinity that is s^2 = Q / n; without values it is l = c. With E(l) =
Q exp(-2 l) and U(l) = n + (l - c) / t^2, the minimum is where E = U.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 6
# Newton's step of the convex objective is too long where its curvature comes from the prior alone.
_LONGEST = 1.5
# Where E is larger than U by this factor, Newton's step for log E = log U is tried as well.
_FAR = 2.0


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
    # U is positive at the minimum, which is therefore above c - n t^2.
    raw = raw.maximum(center - count / pull)
    level = (2.0 * count * raw + pull * center) / (2.0 * count + pull)
    for _ in range(_ROUNDS):
        excess = squares * (-2.0 * level).exp()
        wanted = count + pull * (level - center)
        step = ((excess - wanted) / (2.0 * excess + pull)).clamp(-_LONGEST, _LONGEST)
        far = (excess > _FAR * wanted) & (wanted > 0.0)
        if far.any():
            # Here Newton's step for E = U is 1/2, however far the minimum is. U - E is concave and
            # log E - log U convex, so that neither step passes the minimum: the longer one is
            # taken.
            longer = (excess / wanted).log() / (2.0 + pull / wanted)
            step = torch.where(far, step.maximum(longer), step)
        level = level + step
    return level


def level_freedom(squares: Tensor, level: Tensor, spread: Tensor) -> Tensor:
    """Return the degrees of freedom of s: its logarithm has the variance 1 / (2 freedom)."""
    return squares * (-2.0 * level).exp() + 0.5 * spread.square().reciprocal()
