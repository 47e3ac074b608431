r"""The batched Levenberg-Marquardt method; every group of lanes is an independent problem.

With the objective Phi(z), its gradient -b and its approximate Hessian A = J^T W J, each iteration
solves, for all groups that have not finished,

    (A + lambda diag A) s = b,      predicted gain = b^T s - s^T A s / 2,

evaluates Phi(z + s), and accepts the step where Phi falls. The damping lambda follows the gain
ratio (Phi(z) - Phi(z + s)) / predicted gain: above 1/2 it shrinks, below 1/5 it grows, and where
Phi rises it is multiplied by ten. Where steps stop getting shorter, A is not a good enough model of
the Hessian, and a secant estimate of the rest is added (`curvature.py`). Groups that have finished
leave the batch; nothing of one group enters the arithmetic of another.

References:
    D. W. Marquardt, J. SIAM 11 (1963) 431-441, doi:10.1137/0111030.
    J. J. More, The Levenberg-Marquardt algorithm: implementation and theory, in Numerical
    Analysis, Lecture Notes in Mathematics 630 (1978) 105-116, doi:10.1007/BFb0067700.
"""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import Normal, damped_step, unpack
from warp_phys.minimizing.anchor import Penalty
from warp_phys.minimizing.curvature import updated_curvature
from warp_phys.minimizing.objective import Minimizer
from warp_phys.minimizing.optimum import Optimum, Options, Outcome
from warp_phys.minimizing.trial import Trial

# Relative to a unit diagonal. The most damped step is so short that a group that rejects it is
# stuck.
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-12, 1e10
# Below this a step counts as undamped. A damped step is short because of its damping, so that its
# length is no sign of convergence.
_FREE = 1e-4
# Gauss-Newton is slow where, after this many iterations, a step is longer than this share of the
# last one; it converges linearly with about that factor.
_CRAWLING, _PATIENCE = 0.3, 5
# Distance from the optimum, in standard errors, at which such a group has converged after so many
# iterations.
_STATISTICAL, _LATE = 1e-4, 30
# Longest step along a coordinate: a factor of e^2 for a positive unknown. Further out, the linear
# model of an exponential is worthless.
_LONGEST = 2.0
# Nats per value by which the objective may rise in an accepted step: the plan of integration steps
# may have changed, and the objective with it.
_SLACK = 1e-8


def minimize(
    minimizer: Minimizer,
    z: Tensor,
    options: Options,
    *,
    anchor: Penalty | None = None,
) -> Optimum:
    """Return the optimum of every group that is reached from z (L, D)."""
    return _Descent(minimizer, z, options, anchor).run()


class _Descent:
    """The state of one minimization."""

    def __init__(
        self,
        minimizer: Minimizer,
        z: Tensor,
        options: Options,
        anchor: Penalty | None,
    ) -> None:
        self.m = minimizer
        self.options = options
        self.anchor = anchor
        count, size = z.shape
        groups = len(minimizer.levels)
        self.z, self.start = z.clone(), z
        # Held for good, and at present: at a bound towards which the objective falls.
        self.held = torch.zeros_like(z, dtype=torch.bool)
        self.frozen = self.held.clone()
        self.outcome = torch.full((groups,), int(Outcome.RUNNING))
        self.iterations = torch.zeros(groups, dtype=torch.int64)
        self.damping = torch.full((groups,), _FIRST_DAMPING, dtype=torch.float64)
        self.matrix = z.new_zeros(count, size * (size + 1) // 2)
        self.vector = torch.zeros_like(z)
        unknowns = minimizer.unknowns
        # Real unknowns have no natural size but that of their usual range: one that starts at zero
        # could otherwise move by tiny steps only.
        self.reach = torch.where(unknowns.real, unknowns.spreads, 0.0)
        self.excluded = torch.zeros(count, dtype=torch.bool)
        self.curvature = z.new_zeros(count, size, size)
        self.crawling = torch.zeros(groups, dtype=torch.bool)
        self.length = torch.full((groups,), torch.inf, dtype=z.dtype)
        self.objective, self.values = self._begin()

    def run(self) -> Optimum:
        """Iterate until no group is running."""
        while True:
            active = (self.outcome == Outcome.RUNNING).nonzero()[:, 0]
            if active.numel() == 0:
                break
            if self.options.out_of_time():
                self.outcome[active] = int(Outcome.OUT_OF_TIME)
                self.options.report(active.numel())
                break
            self._iterate(active)
            running = int((self.outcome[active] == Outcome.RUNNING).sum())
            self.options.report(active.numel() - running)
        return Optimum(
            self.z, self.objective, self.outcome, self.iterations, self.frozen, self.excluded
        )

    def _begin(self) -> tuple[Tensor, Tensor]:
        """Evaluate the start; return objective and number of values of each group."""
        lanes, group, groups = torch.arange(len(self.z)), self.m.group, len(self.outcome)
        self.m.evaluate(self.z, lanes)
        if self.m.unknowns.shared:
            # One trajectory that cannot be integrated would make the objective of its whole group
            # infinite; it is excluded instead, and reported as diverged.
            self.excluded = self.m.sums.status != 0
            for name in ("hessian", "gradient", "squares", "counted"):
                getattr(self.m.sums, name)[self.excluded] = 0.0
        squares, counted = self.m.pooled(lanes, group, groups)
        objective, values = self.m.levels.objective(squares, counted), counted.sum(dim=1)
        objective = objective + self._penalty(self.z, lanes, group, groups)
        # Without a finite start there is no decrease to look for.
        self.outcome[~objective.isfinite() | (values == 0)] = int(Outcome.DIVERGED)
        self.options.report(int((self.outcome != Outcome.RUNNING).sum()))
        weights = self.m.levels.weights(squares, counted)
        self._renew(self.z, lanes, group, weights)
        self._hold(lanes, group, groups)
        return objective, values

    def _penalty(self, z: Tensor, lanes: Tensor, group: Tensor, groups: int) -> Tensor:
        if self.anchor is None:
            return torch.zeros(groups, dtype=z.dtype)
        return z.new_zeros(groups).index_add(0, group, self.anchor.penalty(z, lanes))

    def _renew(self, z: Tensor, lanes: Tensor, group: Tensor, weights: Tensor) -> None:
        """Recompute the normal equations of lanes at their coordinates z."""
        matrix, vector = self.m.equations(z, lanes, group, weights)
        if self.anchor is not None:
            self.anchor.add(z, lanes, matrix, vector)
        self.matrix[lanes], self.vector[lanes] = matrix, vector

    def _hold(self, lanes: Tensor, group: Tensor, groups: int) -> None:
        """Hold the coordinates of lanes at bounds while the objective falls towards them.

        A coordinate is infinite at a bound, and would move there by equal steps without end. It is
        released when the objective falls inward.
        """
        if not self.m.unknowns.bounded:
            self.frozen[lanes] = self.held[lanes]
            return
        side, down = self.m.unknowns.bound_reached(self.z[lanes]), self.vector[lanes].clone()
        shared = self.m.unknowns.shared
        if shared and self.m.unknowns.places is None:
            # The slope of a shared unknown is that of its whole group.
            total = down.new_zeros(groups, shared).index_add_(0, group, down[:, :shared])
            down[:, :shared] = total[group]
        elif shared:
            side[:, :shared] = 0.0
        self.frozen[lanes] = self.held[lanes] | (side * down > 0.0)

    def _iterate(self, active: Tensor) -> None:
        """Take one step: finish the groups whose step is negligible, and try that of the others."""
        trial, done = self._propose(active)
        if bool(done.any()):
            ending = done[trial.group]
            # The last step is below the tolerance; taking it without a check saves an evaluation.
            self.z[trial.lanes[ending]] = trial.z[ending]
            self.outcome[active[done]] = int(Outcome.CONVERGED)
            trial = trial.without(done)
        if trial.active.numel():
            self._try(trial)

    def _lanes_of(self, active: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lanes of groups, and for each lane which of these groups it belongs to."""
        if not self.m.unknowns.shared:
            return active, torch.arange(active.numel())
        # Groups are renumbered 0 to G - 1 in the order of `active`, so that sums over lanes have no
        # empty rows for groups that have finished.
        compact = torch.full((len(self.outcome),), -1)
        compact[active] = torch.arange(active.numel())
        lanes = ((compact[self.m.group] >= 0) & ~self.excluded).nonzero()[:, 0]
        return lanes, compact[self.m.group[lanes]]

    def _propose(self, active: Tensor) -> tuple[Trial, Tensor]:
        """Return a step for every group, and for which groups it is negligible."""
        lanes, group = self._lanes_of(active)
        gauss, vector = unpack(self.matrix[lanes], self.z.shape[1]), self.vector[lanes]
        crawling = self.crawling[active][group]
        # A + S where Gauss-Newton is slow. Unknowns are scaled by the diagonal of A alone, which is
        # positive; that of A + S need not be.
        matrix = gauss + torch.where(crawling[:, None, None], self.curvature[lanes], 0.0)
        diagonal = gauss.diagonal(dim1=1, dim2=2)
        shared, places = self.m.unknowns.shared, self.m.places(lanes)
        normal = Normal(matrix, diagonal, vector, group, active.numel(), shared, places)
        step, fine = damped_step(normal, self.damping[active], self.frozen[lanes])
        sizes = self.m.unknowns.sizes(self.z[lanes])
        # The whole step is shortened, over all lanes of a group, so that it keeps its direction:
        # clamping single coordinates could turn it uphill.
        longest = (step.abs() / (_LONGEST * sizes.maximum(self.reach))).amax(dim=1)
        excess = normal.maximum(longest)
        step = step / excess.clamp_min(1.0)[group].unsqueeze(1)
        # The decrease that the quadratic model predicts, b^T s - s^T A s / 2, summed over the lanes
        # of a group.
        curved = (matrix @ step.unsqueeze(2)).squeeze(2)
        gained = normal.pooled(((vector - 0.5 * curved) * step).sum(dim=1))
        self.iterations[active] += 1
        relative = normal.maximum((step.abs() / sizes).amax(dim=1))
        self._judge(active, relative)
        trial = Trial(lanes, self.z[lanes] + step, group, active, gained, fine, excess > 1.0)
        return trial, self._converged(relative, gained, active) & fine & ~trial.cut

    def _judge(self, active: Tensor, relative: Tensor) -> None:
        """Mark groups whose steps hardly get shorter, for which Gauss-Newton alone is too slow."""
        slow = (relative > _CRAWLING * self.length[active]) & (relative < _LONGEST)
        slow &= self.iterations[active] > _PATIENCE
        self.crawling[active] |= slow
        self.length[active] = relative

    def _converged(self, relative: Tensor, gained: Tensor, active: Tensor) -> Tensor:
        """Return (G,): whether the step is negligible next to the unknowns or their errors."""
        tolerance = self.options.tolerance
        # The Newton decrement sqrt(2 gain) = sqrt(s^T A s) is the length of the step in standard
        # errors, where A is the Fisher information; over sqrt(n), it is the root mean square change
        # of a prediction in noise levels.
        distance = (2.0 * gained.clamp_min(0.0)).sqrt()
        errors = distance / self.values[active].clamp_min(1.0).sqrt()
        near = tolerance if self.options.near is None else self.options.near
        nothing = (relative <= tolerance) | (errors <= near)
        # Along what the data hardly determine, steps never get shorter: there the statistical
        # distance from the optimum decides.
        late = self.crawling[active] & (self.iterations[active] > _LATE)
        nothing |= late & (distance <= _STATISTICAL)
        return nothing & (self.damping[active] <= _FREE)

    def _try(self, trial: Trial) -> None:
        """Evaluate a step of every running group, and accept it where the objective falls."""
        active = trial.active
        self.m.evaluate(trial.z, trial.lanes)
        squares, counted = self.m.pooled(trial.lanes, trial.group, active.numel())
        levels = self.m.levels.of(active)
        reached, weights = levels.objective_and_weights(squares, counted)
        reached = reached + self._penalty(trial.z, trial.lanes, trial.group, active.numel())
        before = self.objective[active]
        slack = _SLACK * self.values[active]
        better = trial.fine & (reached <= before + slack)
        # The gain ratio. Where the predicted gain is below rounding, the ratio is noise and the
        # step counts as a good one.
        gain = (before - reached) / trial.gained.clamp_min(1e-300)
        self._damp(trial, better, (gain > 0.5) | (trial.gained < 10.0 * slack), gain < 0.2)
        self.objective[active] = torch.where(better, reached, before)
        taken = better[trial.group]
        kept = trial.lanes[taken]
        # s and the old b, before both are overwritten: the secant update needs s and the change y =
        # b_old - b_new of the gradient -b.
        step, gradient = trial.z[taken] - self.z[kept], self.vector[kept]
        self.z[kept] = trial.z[taken]
        self._renew(trial.z[taken], kept, trial.group[taken], weights)
        if self.options.max_iterations > _PATIENCE + 1:  # else it is never used
            self.curvature[kept] = updated_curvature(
                self.curvature[kept],
                unpack(self.matrix[kept], self.z.shape[1]),
                step,
                gradient - self.vector[kept],
            )
        # A coordinate that has run off to an end of its support is held there: predictions hardly
        # depend on it any more, so that it would keep the equations singular and the fit running.
        self.held[kept] |= self.m.unknowns.far_out(self.z[kept], self.start[kept])
        self._hold(kept, trial.group[taken], active.numel())
        late = self.iterations[active] >= self.options.max_iterations
        self.outcome[active[late]] = int(Outcome.OUT_OF_ITERATIONS)
        stuck = ~better & (self.damping[active] >= _MOST_DAMPING)
        self.outcome[active[stuck]] = int(Outcome.STALLED)

    def _damp(self, trial: Trial, better: Tensor, good: Tensor, poor: Tensor) -> None:
        """Lower the damping where the gain was as predicted, and raise it where it was not."""
        # Where even the damped step was shortened, less damping would not make it longer.
        one = torch.ones_like(self.damping[trial.active])
        eased = torch.where(trial.cut, 0.3 * one, 0.1 * one)
        factor = torch.where(good, eased, torch.where(poor, 3.0 * one, one))
        damping = self.damping[trial.active] * torch.where(better, factor, 10.0 * one)
        # After a rejected step damping must have an effect at once, not after eight rejections.
        damping = torch.where(better, damping, damping.clamp_min(_FREE))
        self.damping[trial.active] = damping.clamp_min(_LEAST_DAMPING)
