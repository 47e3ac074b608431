r"""The profile likelihood: the least objective as a function of one unknown, followed to a level.

With the noise variances s_o^2 held at their estimates, Phi = sum_o Q_o / (2 s_o^2), and the profile
t function of Bates and Watts is tau_j(x) = sqrt(2 (min Phi at theta_j = x) - 2 Phi_min). `path`
follows it outward from the optimum.

References:
    D. M. Bates, D. G. Watts, Nonlinear Regression Analysis and Its Applications, Wiley, 1988,
    sec. 6.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from warp_phys.fitting.solved import Solved
from warp_phys.fitting.uncertainty.charts import Charts
from warp_phys.fitting.uncertainty.covariance import Uncertainty, by_coordinates
from warp_phys.fitting.uncertainty.searched import Searched
from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.groups import over_group
from warp_phys.likelihood.noise_levels import held_levels
from warp_phys.likelihood.problem import FitProblem
from warp_phys.minimizing.objective import Minimizer

# A lower objective than that of the fit counts from this many nats on, and nats per value.
_LOWER, _LOWER_PER_VALUE = 1e-3, 1e-6


@dataclass(frozen=True)
class Ends:
    """What was found along profiles of N trajectories with D unknowns.

    Attributes:
        lower: (N, D), physical values, NaN where not searched or not found in time.
        upper: (N, D).
        gain: (N,), by how many nats the objective was lower than that of the fit, if it was.
        start: (N, D), the coordinates with that objective.
    """

    lower: Tensor
    upper: Tensor
    gain: Tensor
    start: Tensor


class Profiles:
    """The fits whose profiles are followed, and what was found along them.

    Args:
        problem: The problem that was fitted.
        solved: Its fits.
        known: Their uncertainty.
        quantile: (N,), the tau at which an interval ends.
        half: (N, D), half widths of quadratic intervals in coordinates, NaN where undetermined.
        over: Returns whether the time is up.
    """

    def __init__(
        self,
        problem: FitProblem,
        solved: Solved,
        known: Uncertainty,
        quantile: Tensor,
        half: Tensor,
        over: Callable[[], bool],
    ) -> None:
        self.problem, self.solved, self.over = problem, solved, over
        self.variance, self.covariance = known.noise_variance, known.line_covariance
        self.quantile, self.half = quantile, half
        levels = held_levels(self.variance)
        self.least = levels.objective(solved.sums.squares, solved.sums.counted)
        self.values = problem.unknowns.values(solved.z)
        self.slopes = problem.unknowns.slopes(solved.z)
        nothing = torch.full_like(half, torch.nan)
        gain = torch.zeros(len(problem), dtype=half.dtype)
        self.found = Ends(nothing, nothing.clone(), gain, solved.z.clone())

    def at_quadratic_end(self, rows: Tensor, columns: Tensor, side: float) -> tuple[Tensor, Tensor]:
        """Return z (n, D) at an end of quadratic intervals, and tau (n,) without minimizing.

        The others move along the profile of the quadratic approximation, by h C_ij / C_jj where
        z_j moves by h: the regression of z_i on z_j.
        """
        row = self.covariance[rows, columns]
        own = row.gather(1, columns.unsqueeze(1))
        z = self.solved.z[rows] + side * self.half[rows, columns].unsqueeze(1) * row / own
        every = torch.arange(len(rows))
        minimizer = self.minimizer(Searched(rows, columns, every.double(), rows, every))
        minimizer.evaluate(z, every, sensitivities=False)
        reached = minimizer.levels.objective(minimizer.sums.squares, minimizer.sums.counted)
        return z, (2.0 * (reached - self.least[rows])).clamp_min(0.0).sqrt()

    def minimizer(self, ends: Searched) -> Minimizer:
        """Return the objective of the lanes of some ends, with the noise held at its level."""
        rows = ends.lanes
        # All trajectories of a group have the same noise level.
        level = torch.ones(len(ends), self.variance.shape[1], dtype=self.variance.dtype)
        level[ends.copy] = self.variance[rows]
        engine = build_engine(self.problem, rows, self.problem.counts[rows])
        return Minimizer(engine, self.problem.unknowns, rows, ends.copy, held_levels(level))

    @cached_property
    def information(self) -> Tensor:
        """The Fisher information (N, D, D) by physical values, also of those at a bound."""
        problem, sums = self.problem, self.solved.sums
        weights = (1.0 / self.variance).unsqueeze(2)
        blocks = unpack((sums.hessian * weights).sum(dim=1), len(problem.unknowns.directions()))
        if problem.unknowns.derived is not None:
            blocks = by_coordinates(problem, self.solved.z, blocks, self.slopes)
            blocks = blocks / (self.slopes.unsqueeze(1) * self.slopes.unsqueeze(2))
        known = ~problem.unknowns.estimated()
        return torch.where(known.unsqueeze(1) | known.unsqueeze(2), 0.0, blocks)

    @cached_property
    def charts(self) -> Charts:
        """The coordinates (N, D) in which profiles are followed."""
        # Standard errors with the others held: those of undetermined unknowns have no bound, and
        # would make their coordinates linear over all orders of magnitude.
        precision = self.information.diagonal(dim1=1, dim2=2).nan_to_num(0.0).clamp_min(0.0).clone()
        shared = self.problem.unknowns.shared
        # A shared unknown has one coordinate in all lanes of its group.
        precision[:, :shared] = over_group(self.problem, precision[:, :shared])
        return Charts.of(self.problem.unknowns, self.values, precision.rsqrt())

    def enter(self, ends: Searched, values: Tensor) -> None:
        """Enter the values (C,) at some ends."""
        # The end of a shared unknown is that of its whole group.
        lanes, columns = ends.held(self.problem.unknowns.shared, self.values.shape[1]).nonzero().T
        copies, rows = ends.copy[lanes], ends.lanes[lanes]
        for side, table in ((-1.0, self.found.lower), (1.0, self.found.upper)):
            chosen = ends.sides[copies] == side
            table[rows[chosen], columns[chosen]] = values[copies[chosen]]

    def remember_lower(self, ends: Searched, values: Tensor, gain: Tensor) -> None:
        """Remember where the objective is lower than that of the fit by `gain` (C,) nats."""
        counted = ends.pooled(self.solved.sums.counted[ends.lanes].sum(dim=1))
        for number in (gain > _LOWER + _LOWER_PER_VALUE * counted).nonzero()[:, 0].tolist():
            mine = ends.copy == number
            rows = ends.lanes[mine]
            if gain[number] > self.found.gain[rows[0]]:
                self.found.gain[rows] = gain[number]
                self.found.start[rows] = self.problem.unknowns.coordinates(values[mine])
