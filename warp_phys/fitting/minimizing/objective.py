"""The lanes of a minimization: their coordinates, the engine behind them, their equations."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Engine, Evaluation, Sums
from warp_phys.likelihood.noise_levels import NoiseLevels
from warp_phys.likelihood.unknowns import Unknowns


class Minimizer:
    """Lanes to be minimized: evaluates them and puts their normal equations together.

    Args:
        engine: Evaluates them.
        unknowns: What the coordinates mean.
        rows: (L,) trajectory of each lane.
        group: (L,) group of each lane.
        levels: Objective and weights of the groups.
        precision: (L, O), one over the squared level at which the loss is taken; None for 1.
    """

    def __init__(
        self,
        engine: Engine,
        unknowns: Unknowns,
        rows: Tensor,
        group: Tensor,
        levels: NoiseLevels,
        precision: Tensor | None = None,
    ) -> None:
        self.engine = engine
        self.unknowns = unknowns
        self.rows = rows
        self.group = group
        self.levels = levels
        self.precision = precision
        self.sums = Sums.empty(len(rows), levels.floor.shape[1], len(unknowns))
        self.parameters = unknowns.parameters[rows]
        self.initial = unknowns.initial_state[rows]

    def evaluate(
        self,
        z: Tensor,
        lanes: Tensor,
        *,
        sensitivities: bool = True,
        predicted: Tensor | None = None,
    ) -> None:
        """Bring the sums of some lanes up to date at their coordinates z (n, D)."""
        parameters, initial = self.unknowns.physical(z, self.rows[lanes])
        self.parameters[lanes], self.initial[lanes] = parameters, initial
        self.engine.evaluate(
            Evaluation(
                lanes,
                self.parameters,
                self.initial,
                self.sums,
                sensitivities=sensitivities,
                precision=self.precision,
                predicted=predicted,
            )
        )

    def pooled(self, lanes: Tensor, group: Tensor, groups: int) -> tuple[Tensor, Tensor]:
        """Return squares and counted (G, O) of lanes whose groups are numbered 0 to groups - 1."""
        squares, counted = self.sums.squares[lanes], self.sums.counted[lanes]
        if groups == len(lanes):
            return squares, counted  # each lane is a group, in order
        empty = squares.new_zeros(groups, squares.shape[1])
        return empty.index_add(0, group, squares), empty.index_add(0, group, counted)

    def equations(
        self, z: Tensor, lanes: Tensor, group: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return A packed (n, K) and b (n, D) in coordinates, weighted (G, O) by the noise."""
        slopes = self.unknowns.slopes(z)
        rows, columns = torch.tril_indices(len(self.unknowns), len(self.unknowns))
        factor = weights[group].unsqueeze(2)
        matrix = (factor * self.sums.hessian[lanes]).sum(dim=1)
        vector = (factor * self.sums.gradient[lanes]).sum(dim=1)
        return matrix * slopes[:, rows] * slopes[:, columns], vector * slopes
