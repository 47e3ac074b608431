"""The hidden state of the information recurrence, and what enters it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.models.information.correction import Correction
from warp_phys.models.information.innovations import Innovations
from warp_phys.models.information.rows import Rows


@dataclass(frozen=True)
class Sample:
    """One sample of N records, linearized at z*.

    Attributes:
        residual: (N, O), on the scale of the noise; NaN where nothing was observed.
        jacobian: (N, O, D), minus the derivative of the residual by the coordinates.
        size: (N, O), the reference for the size of a residual; 0 where nothing was observed.
    """

    residual: Tensor
    jacobian: Tensor
    size: Tensor


@dataclass(frozen=True)
class Sums(Rows):
    """The running sums of N records: H (N, O, D, D), g (N, O, D), q and counts (N, O)."""

    hessian: Tensor
    gradient: Tensor
    squares: Tensor
    count: Tensor

    @classmethod
    def empty(cls, records: int, outputs: int, unknowns: int) -> Sums:
        """Return sums of no samples."""
        zeros = torch.zeros(records, outputs, unknowns, unknowns, dtype=torch.float64)
        return cls(zeros, zeros[..., 0].clone(), zeros[..., 0, 0].clone(), zeros[..., 0, 0].clone())

    def added(self, sample: Sample, weight: Tensor | None) -> Sums:
        """Return the sums with one more sample, its values weighted by (N, O)."""
        seen = sample.residual.isfinite()
        residual = torch.where(seen, sample.residual, 0.0)
        weight = seen.double() if weight is None else torch.where(seen, weight, 0.0)
        pulled = weight.unsqueeze(-1) * sample.jacobian
        return Sums(
            self.hessian + pulled.unsqueeze(-1) * sample.jacobian.unsqueeze(-2),
            self.gradient + pulled * residual.unsqueeze(-1),
            self.squares + weight * residual.square(),
            self.count + seen,
        )

    def plus(self, other: Sums) -> Sums:
        """Return the sums of both, at the same point."""
        return self._made(torch.add, other)


@dataclass(frozen=True)
class Base(Rows):
    """What the sums are added to: the prior, or what was known at an earlier mark.

    Attributes:
        mean: (N, D).
        precision: (N, D, D), the inverse of the covariance.
        squares: (N, O), expected sums of squares of the samples that it contains.
        count: (N, O), their numbers.
    """

    mean: Tensor
    precision: Tensor
    squares: Tensor
    count: Tensor


@dataclass(frozen=True)
class Belief(Rows):
    """What is known about the unknowns of N records after a sample.

    Attributes:
        delta: (N, D), the estimate less z*.
        covariance: (N, D, D).
        squares: (N, O), sums of squared residuals at the estimate, from which the levels follow.
        log_level: (N, O), log s.
        freedom: (N, O), degrees of freedom of the levels.
        decrement: (N,), delta^T Lambda delta, the squared length of the step from z* in standard
            deviations.
    """

    delta: Tensor
    covariance: Tensor
    squares: Tensor
    log_level: Tensor
    freedom: Tensor
    decrement: Tensor


@dataclass(frozen=True)
class Running(Rows):
    """The hidden state of N records.

    Attributes:
        point: (N, D), z*, the coordinates at which samples are linearized.
        base: What the sums are added to.
        sums: The running sums.
        belief: What follows from base and sums.
        size: (N, O), sum of squared sizes of the observed values.
        correction: What the belief misses.
        innovations: The test whether the model describes the record.
        tries: (N,), how often several candidates were tried.
        status: (N,), bits of `ESTIMATE_STATUS`.
    """

    point: Tensor
    base: Base
    sums: Sums
    belief: Belief
    size: Tensor
    correction: Correction
    innovations: Innovations
    tries: Tensor
    status: Tensor
