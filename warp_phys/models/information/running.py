r"""The information recurrence: the hidden state of N records, and how a sample changes it.

The unknowns z (D coordinates of parameters and initial states) are linearized at a point z*, where
the model predicts h_t and has the sensitivities J_t = dh_t/dz. What the samples so far say about
z = z* + delta are running sums for each output o, a linear recurrence with A = 1:

    H_t = H_{t-1} + w_t J_t^T J_t     g_t = g_{t-1} + w_t J_t^T r_t     q_t = q_{t-1} + w_t r_t^2

with the residuals r_t = x_t - h_t(z*) (of logarithms where the noise is log-normal) and the weights
w_t of a robust loss, 1 for normal noise. From the base N(m, P), the prior, and the noise levels s_o
follow the information matrix and vector, and from these the estimate:

    Lambda_t = P^-1 + sum_o H_t / s_o^2     eta_t = P^-1 (m - z*) + sum_o g_t / s_o^2
    delta_t = Lambda_t^-1 eta_t             covariance of z: Lambda_t^-1

Since H, g and q do not contain s_o, the level may change at every sample. It follows from
q - 2 delta^T g + delta^T H delta + tr(H Lambda^-1), the expected sum of squared residuals over the
posterior of z.

References:
    B. D. O. Anderson, J. B. Moore, Optimal Filtering, Prentice-Hall, 1979, ch. 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.likelihood.level_posterior import level_freedom, likely_log_level
from warp_phys.models.information.correction import Correction
from warp_phys.models.information.innovations import Innovations
from warp_phys.models.information.prior.prior import Prior
from warp_phys.models.information.state import Base, Belief, Running, Sample, Sums
from warp_phys.systems.noise.location_scale import LocationScale

# Residuals below this share of the data's size come from the integration, not from noise.
_FLOOR = 1e-6
# Rise of the objective that rounding and changed plans of integration steps explain.
_SLACK = 1e-6


@dataclass(frozen=True)
class Recurrence:
    """The constants of the recurrence.

    Attributes:
        prior: The prior.
        noise: The noise model, with its loss.
        kind: "each" output has an unknown level, all have one in "common", or it is "known".
    """

    prior: Prior
    noise: LocationScale
    kind: str

    @property
    def fewest(self) -> int:
        """Values that a record must have before changes are looked for."""
        return len(self.prior.mean) + 2

    def start(self, point: Tensor, outputs: int) -> Running:
        """Return the state before the first sample, to be linearized at a point (N, D)."""
        records, unknowns = point.shape
        zero = torch.zeros(records, outputs, dtype=torch.float64)
        known = self.kind == "known"
        mean = self.prior.mean.expand(records, -1)
        belief = Belief(
            mean - point,
            self.prior.covariance().expand(records, -1, -1),
            zero,
            zero if known else self.prior.level_center(zero),
            zero + (torch.inf if known else 1.0),
            zero.new_zeros(records),
        )
        sums = Sums.empty(records, outputs, unknowns)
        number = torch.zeros(records, dtype=torch.int64)
        return Running(
            point,
            self.base(records),
            sums,
            belief,
            zero,
            Correction.none(records, unknowns),
            Innovations.empty(records, outputs),
            tries=number,
            status=number,
        )

    def base(self, records: int) -> Base:
        """Return the prior as the base of records."""
        zero = torch.zeros(records, len(self.prior.level), dtype=torch.float64)
        mean = self.prior.mean.expand(records, -1)
        return Base(mean, self.prior.precision.expand(records, -1, -1), zero, zero)

    def advance(self, before: Running, sample: Sample) -> Running:
        """Return the state after one more sample, linearized at the same point."""
        scores = innovation_scores(before.belief, sample)
        sums = before.sums.added(sample, self.weight(scores))
        size = before.size + sample.size.square()
        squares = None
        if not self.noise.is_squared:
            # In a linear model this increment has the mean s^2, like those of the squared residuals
            # at the estimate and of what its covariance adds to them together.
            added = (2.0 * before.belief.log_level).exp() * self.terms(scores).nan_to_num(0.0)
            squares = before.belief.squares + added
        belief = self.solve(before.point, before.base, sums, size, before.belief, squares)
        innovations = before.innovations.added(
            belief.squares,
            before.base.count + sums.count,
            belief.log_level,
            belief.freedom,
            self.fewest,
        )
        return replace(before, sums=sums, belief=belief, size=size, innovations=innovations)

    def weight(self, scores: Tensor) -> Tensor | None:
        """Return the weights of the loss at scaled residuals; None where all are 1."""
        if self.noise.is_squared:
            return None
        return self.noise.weight(scores.square().nan_to_num(0.0))

    def solve(
        self,
        point: Tensor,
        base: Base,
        sums: Sums,
        size: Tensor,
        before: Belief,
        squares: Tensor | None = None,
    ) -> Belief:
        """Return the belief of base and sums, at the levels of the belief before.

        Args:
            point: (N, D), z*.
            base: What the sums are added to.
            sums: The running sums.
            size: (N, O), sums of squared sizes of the observed values.
            before: The belief before.
            squares: (N, O), sums of squares for the levels, where the loss is not squared.
        """
        precision = (-2.0 * before.log_level).exp()
        matrix = base.precision + (precision[..., None, None] * sums.hessian).sum(dim=1)
        vector = (base.precision @ (base.mean - point).unsqueeze(2)).squeeze(2)
        vector = vector + (precision.unsqueeze(-1) * sums.gradient).sum(dim=1)
        # Scaled to a unit diagonal, so that the sizes of the unknowns cost no digits.
        scale = matrix.diagonal(dim1=1, dim2=2).rsqrt()
        scales = scale.unsqueeze(1) * scale.unsqueeze(2)
        covariance = torch.linalg.inv_ex(matrix * scales)[0] * scales
        delta = (covariance @ vector.unsqueeze(2)).squeeze(2)
        spread = (sums.hessian * covariance.unsqueeze(1)).sum(dim=(2, 3))
        if squares is None:
            squares = base.squares + squares_at(sums, delta)
        log_level, freedom = before.log_level, before.freedom
        if self.kind != "known":
            count = base.count + sums.count
            log_level, freedom = self._levels(squares, spread, count, size)
        decrement = (delta * vector).sum(dim=1)
        return Belief(delta, covariance, squares, log_level, freedom, decrement)

    def _levels(
        self, squares: Tensor, spread: Tensor, count: Tensor, size: Tensor
    ) -> tuple[Tensor, Tensor]:
        # Where all values are zero, there is no size.
        size = torch.where(size > 0.0, size, count)
        squares = squares + _FLOOR**2 * size
        typical = (size / count.clamp_min(1.0)).sqrt()
        center, width = self.prior.level_center(typical), self.prior.level_spread
        if self.kind == "common":
            squares, spread, count = (
                part.sum(dim=1, keepdim=True) for part in (squares, spread, count)
            )
            center, width = center.amax(dim=1, keepdim=True), width[:1]
        log_level = likely_log_level(squares + spread, count, center, width)
        # As in linear regression, unknowns that were estimated take degrees of freedom.
        freedom = level_freedom(squares, log_level, width)
        return log_level.expand_as(size), freedom.expand_as(size)

    def terms(self, scores: Tensor) -> Tensor:
        """Return squares of scaled residuals, those of outliers bounded if the loss is robust."""
        squares = scores.square()
        return squares if self.noise.is_squared else self.noise.level_term(squares)

    def no_worse(self, state: Running, before: Running) -> Tensor:
        """Return (N,) whether the point of a state is at least as good as that of one before.

        Both are compared at the noise levels before: with levels of their own, all points fit well.
        """
        level = before.belief.log_level
        return self._objective(state, level) <= self._objective(before, level) + _SLACK

    def _objective(self, state: Running, log_level: Tensor) -> Tensor:
        """Return minus the log posterior (N,) at the point of a state, at noise levels (N, O)."""
        away = state.point - self.prior.mean
        precision = (-2.0 * log_level).exp()
        squares = ((state.base.squares + state.sums.squares) * precision).sum(dim=1)
        return 0.5 * (squares + ((away @ self.prior.precision) * away).sum(dim=1))

    def freedom(self, state: Running) -> Tensor:
        """Return the degrees of freedom (N, D) of the standard deviations of the unknowns.

        The variance of an unknown is a sum over what each output says about it, with its own level,
        and the base. By Satterthwaite's approximation its degrees of freedom are
        1 / sum_o c_o^2 / nu_o, where c_o is the share of output o.
        """
        belief = state.belief
        if self.kind == "known":
            return torch.full_like(belief.delta, torch.inf)
        covariance = belief.covariance
        share = torch.einsum("nij,nojk,nik->noi", covariance, state.sums.hessian, covariance)
        share = share * (-2.0 * belief.log_level).exp().unsqueeze(2)
        share = share / belief.covariance.diagonal(dim1=1, dim2=2).unsqueeze(1)
        if self.kind == "common":
            share = share.sum(dim=1, keepdim=True)
        nu = belief.freedom[:, : share.shape[1]].unsqueeze(2)
        return 1.0 / (share.square() / nu).sum(dim=1).clamp_min(1e-12)


def squares_at(sums: Sums, delta: Tensor) -> Tensor:
    """Return the sums of squared residuals (N, O) at z* + delta."""
    pulled = (sums.hessian @ delta[:, None, :, None]).squeeze(-1)
    squares = sums.squares + ((pulled - 2.0 * sums.gradient) * delta.unsqueeze(1)).sum(dim=2)
    return squares.clamp_min(0.0)


def innovation_scores(belief: Belief, sample: Sample) -> Tensor:
    """Return (N, O): residuals against the belief over their standard deviations."""
    jacobian = sample.jacobian
    error = sample.residual - (jacobian @ belief.delta.unsqueeze(2)).squeeze(2)
    spread = ((jacobian @ belief.covariance) * jacobian).sum(dim=2)
    return error / ((2.0 * belief.log_level).exp() + spread).sqrt()
