r"""The test whether a model still describes its record.

With the sum of squares S_t of an output at the estimate after t samples, and its level s_t with
nu_t degrees of freedom, the samples of a window of width w add

    (S_t - S_{t-w}) / s_{t-w}^2 = sum of e^2 / (s^2 + J C J^T) s^2 / s_{t-w}^2,

the squared innovations e of the window over their variances. Under the model, over their number k,
that follows an F distribution with k and nu_{t-w} degrees of freedom (the predictive test of Chow,
whose denominator does not contain the window). By Paulson's approximation, a normal score is

    ((1 - 2 / (9 nu)) F^(1/3) - (1 - 2 / (9 k))) / sqrt(2 / (9 nu) F^(2/3) + 2 / (9 k)),

for windows of 1, 2, 4, ... samples and each output: a sum over outputs, of which some have a level
of few degrees of freedom, would have no F distribution. Sample number t spends alpha / (t (t + 1))
of the probability of a false alarm, shared by windows and outputs, which adds up to alpha over a
record of any length.

S_t is that of a linearization, which is off where the model itself moves fast. A suspicion becomes
an alarm only if S_t is still improbable after the record was linearized anew at its optimum.

References:
    G. C. Chow, Econometrica 28 (1960) 591-605, doi:10.2307/1910133.
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
_ALARM = 0.01
# Degrees of freedom that the level of an output must have before a window.
LEAST_FREEDOM = 8.0


@dataclass(frozen=True)
class Innovations(Rows):
    """What N records had added up to after each of the last samples, the newest last.

    Attributes:
        squares: (N, 17, O), sums of squares at the estimates.
        count: (N, 17, O), numbers of values.
        log_level: (N, 17, O), logarithms of the levels.
        freedom: (N, 17, O), their degrees of freedom.
        tested: (N,), how many samples were tested.
        suspect: (N,), whether some window is improbable.
        alarm: (N,), whether a suspicion was confirmed.
        since: (N,), the first sample of that window, as a number of samples before the newest.
    """

    squares: Tensor
    count: Tensor
    log_level: Tensor
    freedom: Tensor
    tested: Tensor
    suspect: Tensor
    alarm: Tensor
    since: Tensor

    @classmethod
    def empty(cls, records: int, outputs: int) -> Innovations:
        """Return the memory before the first sample."""
        zeros = torch.zeros(records, _WINDOWS[-1] + 1, outputs, dtype=torch.float64)
        number = torch.zeros(records, dtype=torch.int64)
        return cls(zeros, zeros, zeros, zeros, number, number.bool(), number.bool(), number)

    def added(
        self, squares: Tensor, count: Tensor, log_level: Tensor, freedom: Tensor, fewest: int
    ) -> Innovations:
        """Return the memory after one more sample.

        Args:
            squares: (N, O), the sum of squares at the estimate.
            count: (N, O), the number of values.
            log_level: (N, O), the logarithm of the level.
            freedom: (N, O), its degrees of freedom.
            fewest: Values that a record must have before a window.
        """
        fresh = (count > self.count[:, -1]).any(dim=1)
        after = replace(
            self,
            squares=_pushed(self.squares, squares),
            count=_pushed(self.count, count),
            log_level=_pushed(self.log_level, log_level),
            freedom=_pushed(self.freedom, freedom),
            since=self.since + 1,
        )
        testable = self.count[:, -1].sum(dim=1) >= fewest
        after = replace(after, tested=self.tested + (fresh & testable))
        improbable, _ = after._improbable(fewest)
        return replace(after, suspect=improbable & fresh & ~self.alarm)

    def relinearized(
        self, squares: Tensor, log_level: Tensor, freedom: Tensor, fewest: int
    ) -> Innovations:
        """Return the memory with the newest sums at a new optimum, and alarms where they are large.

        The arguments are those of `added`.
        """
        after = replace(
            self,
            squares=_last_replaced(self.squares, squares),
            log_level=_last_replaced(self.log_level, log_level),
            freedom=_last_replaced(self.freedom, freedom),
        )
        improbable, since = after._improbable(fewest)
        return replace(
            after,
            suspect=torch.zeros_like(self.suspect),
            alarm=self.alarm | improbable,
            since=torch.where(improbable & ~self.alarm, since, self.since),
        )

    def _improbable(self, fewest: int) -> tuple[Tensor, Tensor]:
        """Return whether some window is improbable (N,), and how long ago the worst one began."""
        before = -1 - torch.tensor(_WINDOWS)
        values = self.count[:, -1:] - self.count[:, before]
        unit = (-2.0 * self.log_level[:, before]).exp()
        excess = (self.squares[:, -1:] - self.squares[:, before]) * unit
        nu = (2.0 / 9.0) / self.freedom[:, before].clamp_min(1.0)
        few = (2.0 / 9.0) / values.clamp_min(1.0)
        root = (excess / values.clamp_min(1.0)).clamp_min(0.0).pow(1.0 / 3.0)
        score = ((1.0 - nu) * root - (1.0 - few)) / (nu * root.square() + few).sqrt()
        enough = self.count[:, before].sum(dim=2, keepdim=True) >= fewest
        # While as many unknowns as values were fitted, a level says nothing.
        enough = enough & (self.freedom[:, before] >= LEAST_FREEDOM) & (values > 0.0)
        best = torch.where(enough, score, -torch.inf).amax(dim=2).max(dim=1)
        threshold = improbable_score(self.tested, self.count.shape[2])
        return best.values > threshold, torch.tensor(_WINDOWS)[best.indices] - 1


def improbable_score(tested: Tensor, outputs: int) -> Tensor:
    """Return the normal scores above which tests of these numbers are improbable."""
    number, tests = tested.double(), len(_WINDOWS) * outputs
    share = _ALARM / (tests * number * (number + 1.0)).clamp_min(1.0)
    return -torch.special.ndtri(share)


def _pushed(history: Tensor, newest: Tensor) -> Tensor:
    return torch.cat([history[:, 1:], newest.unsqueeze(1)], dim=1)


def _last_replaced(history: Tensor, newest: Tensor) -> Tensor:
    return torch.cat([history[:, :-1], newest.unsqueeze(1)], dim=1)
