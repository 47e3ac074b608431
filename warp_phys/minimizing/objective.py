"""The objective of a minimization: evaluates lanes by an engine and forms normal equations."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.damped_step import unpack
from warp_phys.likelihood.engines.engine import Engine, Evaluation, Sums
from warp_phys.likelihood.noise_levels import NoiseLevels
from warp_phys.likelihood.unknowns import Unknowns


class Minimizer:
    """The objective of L lanes, with their normal equations in real coordinates.

    Args:
        engine: Evaluates the lanes.
        unknowns: The meaning of the coordinates.
        rows: (L,) trajectory of each lane.
        group: (L,) group of each lane.
        levels: Objective and weights of the groups.
        precision: (L, O), one over the squared level at which the loss is evaluated; None for 1.
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
        self.sums = Sums.empty(len(rows), levels.floor.shape[1], len(unknowns.directions()))
        self.parameters = unknowns.parameters[rows]
        self.initial = unknowns.initial_state[rows]
        if unknowns.derived is not None:
            # Steady states are looked for near the last ones, which do not exist yet.
            self.initial = torch.full_like(self.initial, torch.nan)

    def evaluate(
        self,
        z: Tensor,
        lanes: Tensor,
        *,
        sensitivities: bool = True,
        predicted: Tensor | None = None,
    ) -> None:
        """Recompute the sums of some lanes at their coordinates z (n, D)."""
        guess = None if self.unknowns.derived is None else self.initial[lanes]
        parameters, initial = self.unknowns.physical(z, self.rows[lanes], guess)
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

    def places(self, lanes: Tensor) -> Tensor | None:
        """Return `Unknowns.places` of lanes (n,), if there are any."""
        places = self.unknowns.places
        return None if places is None else places[self.rows[lanes]]

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
        # The engine differentiates by the physical values theta. The chain rule with the diagonal
        # Jacobian dtheta/dz makes b_z = (dtheta/dz) b and A_z = (dtheta/dz) A (dtheta/dz); the
        # curvature d2theta/dz2 is dropped, like the other second derivatives of Gauss-Newton.
        # A = sum_o v_o A_o, with the weights v_o = n_o / Q_o of the concentrated likelihood, see
        # `likelihood.noise_levels`. Fixed v_o omit the derivative of log Q_o from the Hessian.
        factor = weights[group].unsqueeze(2)
        matrix = (factor * self.sums.hessian[lanes]).sum(dim=1)
        vector = (factor * self.sums.gradient[lanes]).sum(dim=1)
        if self.unknowns.derived is not None:
            return self._chained(z, lanes, matrix, vector)
        slopes = self.unknowns.slopes(z)
        known = None if self.unknowns.known is None else self.unknowns.known[self.rows[lanes]]
        rows, columns = torch.tril_indices(len(self.unknowns), len(self.unknowns))
        matrix, vector = matrix * slopes[:, rows] * slopes[:, columns], vector * slopes
        if known is not None:
            # What is known in a trajectory does not move there. Selected instead of multiplied by
            # zero, because a derivative may be infinite at a known value.
            matrix = torch.where(known[:, rows] | known[:, columns], 0.0, matrix)
            vector = torch.where(known, 0.0, vector)
        return matrix, vector

    def _chained(
        self, z: Tensor, lanes: Tensor, matrix: Tensor, vector: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return A packed and b by z, of those (n, E (E + 1) / 2), (n, E) by engine directions.

        Where quantities follow from the unknowns, dtheta/dz is a dense matrix C (n, E, D), and
        A_z = C^T A C, b_z = C^T b.
        """
        unknowns = self.unknowns
        rows = self.rows[lanes]
        found = unknowns.chain(z, rows, self.parameters[lanes], self.initial[lanes])
        chain = unknowns.by_coordinates(found)
        # A direction without effect may have an infinite derivative, as at a known value of zero.
        used = (chain != 0.0).any(dim=2)
        both = used.unsqueeze(1) & used.unsqueeze(2)
        full = torch.where(both, unpack(matrix, chain.shape[1]), 0.0)
        small = chain.mT @ full @ chain
        lower, left = torch.tril_indices(len(unknowns), len(unknowns))
        moved = chain.mT @ torch.where(used, vector, 0.0).unsqueeze(2)
        return small[:, lower, left], moved.squeeze(2)
