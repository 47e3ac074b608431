r"""The test whether a model still describes its record, on the innovations.

The innovation of a sample is its residual against the prediction from all samples before it, over
its standard deviation, sqrt(s^2 + J C J^T). Under the model innovations are independent and nearly
standard normal, with the level s estimated from nu degrees of freedom. Their sum of squares over
the last 1, 2, 4, ... samples, over the number of values k, then follows an F distribution with k
and nu degrees of freedom. Paulson's approximation turns it into a normal score,

    ((1 - 2 / (9 nu)) F^(1/3) - (1 - 2 / (9 k))) / sqrt(2 / (9 nu) F^(2/3) + 2 / (9 k)).

Sample number t spends alpha / (t (t + 1)) of the probability of a false alarm, which adds up to
alpha over a record of any length.

The prediction is that of a linearization, which is off where the model jumps. A suspicion therefore
becomes an alarm only if the residuals of the window are still improbable after the record, this
sample included, was linearized anew.

References:
    R. K. Mehra, J. Peschon, Automatica 7 (1971) 637-640, doi:10.1016/0005-1098(71)90028-8.
    E. Paulson, Ann. Math. Stat. 13 (1942) 233-235, doi:10.1214/aoms/1177731608.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.models.information.rows import Rows

# Windows in samples, the last is the memory of the test.
_WINDOWS = (1, 2, 4, 8, 16)
MEMORY = _WINDOWS[-1]
_ALARM = 0.01


@dataclass(frozen=True)
class Innovations(Rows):
    """The last innovations of N records, and when they stopped being noise.

    Attributes:
        squares: (N, 16), sums of squares at the last samples over all outputs, the newest last.
        counts: (N, 16), how many values each sum has.
        tested: (N,), how many samples were tested.
        suspect: (N,), whether some window is improbable.
        alarm: (N,), whether a suspicion was confirmed.
        since: (N,), the first sample of that window, as a number of samples before the newest.
    """

    squares: Tensor
    counts: Tensor
    tested: Tensor
    suspect: Tensor
    alarm: Tensor
    since: Tensor

    @classmethod
    def empty(cls, records: int) -> Innovations:
        """Return the memory before the first sample."""
        zeros = torch.zeros(records, MEMORY, dtype=torch.float64)
        number = torch.zeros(records, dtype=torch.int64)
        return cls(zeros, zeros, number, number.bool(), number.bool(), number)

    def added(self, scores: Tensor, freedom: Tensor, testable: Tensor) -> Innovations:
        """Return the memory after one more sample.

        Args:
            scores: (N, O), innovations over their standard deviations; NaN where there is none.
            freedom: (N,), degrees of freedom of the level.
            testable: (N,), whether the linearization is good enough for a test.
        """
        known = scores.isfinite() & testable.unsqueeze(1)
        fresh = torch.where(known, scores.square(), 0.0).sum(dim=1, keepdim=True)
        after = replace(
            self,
            squares=torch.cat([self.squares[:, 1:], fresh], dim=1),
            counts=torch.cat([self.counts[:, 1:], known.sum(dim=1, keepdim=True).double()], dim=1),
            tested=self.tested + known.any(dim=1),
            since=self.since + 1,
        )
        improbable, _ = after._improbable(freedom)
        return replace(after, suspect=improbable & known.any(dim=1) & ~self.alarm)

    def confirmed(self, squares: Tensor, counts: Tensor, freedom: Tensor) -> Innovations:
        """Return the memory with residuals of a new linearization, and alarms where they stay large.

        Args:
            squares: (N, 16), as the attribute.
            counts: (N, 16), as the attribute.
            freedom: (N,), degrees of freedom of the level.
        """
        # Samples that were not tested stay so.
        counts = torch.minimum(counts, self.counts)
        after = replace(self, squares=torch.where(counts > 0.0, squares, 0.0), counts=counts)
        improbable, since = after._improbable(freedom)
        return replace(
            after,
            suspect=torch.zeros_like(self.suspect),
            alarm=self.alarm | improbable,
            since=torch.where(improbable & ~self.alarm, since, self.since),
        )

    def _improbable(self, freedom: Tensor) -> tuple[Tensor, Tensor]:
        """Return whether some window is improbable (N,), and how long ago the worst one began."""
        number = self.tested.double()
        share = _ALARM / (len(_WINDOWS) * number * (number + 1.0)).clamp_min(1.0)
        nu = (2.0 / 9.0) / freedom.clamp_min(1.0).unsqueeze(1)
        total = torch.stack([self.squares[:, -width:].sum(dim=1) for width in _WINDOWS], dim=1)
        values = torch.stack([self.counts[:, -width:].sum(dim=1) for width in _WINDOWS], dim=1)
        few = (2.0 / 9.0) / values.clamp_min(1.0)
        root = (total / values.clamp_min(1.0)).pow(1.0 / 3.0)
        score = ((1.0 - nu) * root - (1.0 - few)) / (nu * root.square() + few).sqrt()
        best = torch.where(values > 0.0, score, -torch.inf).max(dim=1)
        improbable = best.values > -torch.special.ndtri(share)
        return improbable, torch.tensor(_WINDOWS)[best.indices] - 1
