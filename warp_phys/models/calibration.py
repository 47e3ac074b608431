"""Calibrated bands by split conformal prediction: quantiles of errors on validation data.

The scale that a network emits is only an estimate. On records kept out of training the score
s = (truth - mean) / scale is known, and its empirical quantiles replace those of the normal
distribution (split conformal prediction: Lei et al., J. Am. Stat. Assoc. 113, 1094 (2018)),
separately for each unknown and for records of similar length.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor, nn

from warp_phys.models.gaussian import Gaussian
from warp_phys.systems.errors import UsageError

PROBABILITIES = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.16, 0.25, 0.5, 0.75, 0.84, 0.9, 0.95, 0.975, 0.99, 0.995),
)
_NORMAL = ndtri(np.array(PROBABILITIES))
# Rows of the table, at numbers of samples that grow geometrically.
_MOST_LENGTHS = 48
# Fewer records than this cannot determine a 5 % quantile.
FEWEST_RECORDS = 100


class Calibration(nn.Module):
    """Quantiles of scores, by number of samples seen and unknown.

    Args:
        coordinates: Number Q of unknowns.
    """

    lengths: Tensor
    quantiles: Tensor

    def __init__(self, coordinates: int) -> None:
        super().__init__()
        # Fixed sizes, so that a saved table loads whatever the records' length was.
        unknown = torch.full((_MOST_LENGTHS, len(PROBABILITIES), coordinates), torch.nan)
        self.register_buffer("lengths", torch.zeros(_MOST_LENGTHS, dtype=torch.int64))
        self.register_buffer("quantiles", unknown.double())

    @property
    def measured(self) -> bool:
        """Whether bands are available."""
        return bool(self.quantiles.isfinite().all())

    def measure(self, estimate: Gaussian, truth: Tensor, valid: Tensor) -> None:
        """Compute the quantiles of the scores and store them.

        Args:
            estimate: (N, T, Q) on validation records.
            truth: (N, Q) true coordinates.
            valid: (N, T), whether there is a sample.
        """
        length = valid.shape[1]
        # Errors shrink by about the square root of the number of samples, so that a geometric grid
        # resolves short records finely and long ones coarsely.
        edges = np.unique(np.geomspace(1, length, _MOST_LENGTHS).round().astype(int))
        edges = np.pad(edges, (0, _MOST_LENGTHS - edges.size), mode="edge")
        score = (truth.unsqueeze(1) - estimate.mean) / estimate.standard_deviation()
        levels = torch.tensor(PROBABILITIES, dtype=torch.float64)
        table: list[Tensor] = []
        for upper in edges:
            chosen = score[:, upper - 1][valid[:, upper - 1]].double()
            if chosen.shape[0] < FEWEST_RECORDS:
                # Too few records are this long: the quantiles of shorter ones are kept, which are
                # usually wider.
                table.append(table[-1] if table else self.quantiles[0])
            else:
                table.append(_conformal_quantiles(chosen, levels))
        self.lengths.copy_(torch.as_tensor(edges))
        self.quantiles.copy_(torch.stack(table))

    def offsets(self, position: Tensor, probability: float) -> Tensor:
        """Return the distance of a quantile from the mean, in scales, (..., Q).

        Args:
            position: (...) int, number of samples seen, 1 at the first.
            probability: Between 0.005 and 0.995.

        Raises:
            UsageError: The probability lies outside.
        """
        if not PROBABILITIES[0] <= probability <= PROBABILITIES[-1]:
            raise UsageError(
                f"bands are calibrated for levels up to {1 - 2 * PROBABILITIES[0]:.2f}, got a "
                f"quantile of {probability:.4g}; choose a lower level"
            )
        # Interpolation is linear in the normal quantile, which is exact for normal scores and close
        # to it for any distribution with similar tails.
        wanted = ndtri(probability)
        right = min(int(np.searchsorted(_NORMAL, wanted)), len(_NORMAL) - 1)
        left = max(right - 1, 0)
        span = _NORMAL[right] - _NORMAL[left]
        weight = (wanted - _NORMAL[left]) / span if span > 0 else 0.0
        column = self.quantiles[:, left] * (1 - weight) + self.quantiles[:, right] * weight
        # The row of the largest tabulated length that does not exceed the position.
        row = torch.searchsorted(self.lengths, position.contiguous(), right=True) - 1
        return column[row.clamp(0, _MOST_LENGTHS - 1)]

    def widening(self, position: Tensor) -> Tensor:
        """Return the ratio (..., Q) of the calibrated to the emitted scale; 1 if not calibrated."""
        if not self.measured:
            return torch.ones((*position.shape, self.quantiles.shape[-1]), dtype=torch.float64)
        spread = self.offsets(position, 0.95) - self.offsets(position, 0.05)
        return spread / float(ndtri(0.95) - ndtri(0.05))


def _conformal_quantiles(scores: Tensor, levels: Tensor) -> Tensor:
    """Return quantiles with the finite-sample correction (n + 1) p of split conformal bands."""
    count = scores.shape[0]
    ordered = scores.sort(dim=0).values
    # Of n + 1 exchangeable scores, the next one lies below the k-th smallest of n with probability
    # k / (n + 1). The rank (n + 1) p is rounded outward, so that coverage is at least nominal.
    lower = torch.floor((count + 1) * levels) - 1
    upper = torch.ceil((count + 1) * levels) - 1
    rank = torch.where(levels < 0.5, lower, upper).long().clamp(0, count - 1)
    return ordered[rank]
