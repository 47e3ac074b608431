"""Linearization of records: residuals and sensitivities at chosen coordinates, and their sums."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.engines.engine import Sums as EngineSums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.residual_scale import sample_of, scaled
from warp_phys.models.information.state import Belief, Sample, Sums
from warp_phys.systems.noise.location_scale import LocationScale


class Linearizer:
    """Linearizes the records of a problem; keeps the plan of integration steps between calls.

    Args:
        problem: N records.
        ending: Whether to keep the states at the last sample that was linearized.

    Attributes:
        states: (N, S), those states; NaN where they could not be reached.
        sensitivity: (N, S, D), their derivatives by the coordinates.
    """

    def __init__(self, problem: FitProblem, *, ending: bool = False) -> None:
        self.problem, self.noise = problem, cast("LocationScale", problem.distribution)
        self.rows = torch.arange(len(problem))
        self.engine = self._build()
        count, states = problem.unknowns.initial_state.shape
        self.states = torch.full((count, states), torch.nan, dtype=torch.float64)
        self.sensitivity = self.states.unsqueeze(2).repeat(1, 1, len(problem.unknowns))
        self.ending = self._empty_ending() if ending else None
        outputs, unknowns = len(problem.records.outputs), len(problem.unknowns)
        self.sums = EngineSums.empty(len(problem), outputs, unknowns)
        self.parameters = problem.unknowns.parameters.clone()
        self.initial = problem.unknowns.initial_state.clone()
        shape = problem.records.observed.shape
        self.residual = torch.full(shape, torch.nan, dtype=torch.float64)
        self.predicted = torch.full(shape, torch.nan, dtype=torch.float64)
        self.jacobian = torch.zeros(*shape, unknowns, dtype=torch.float64)

    def _build(self) -> Engine:
        return build_engine(self.problem, self.rows, self.problem.counts)

    def _empty_ending(self) -> Tensor:
        count, states = self.states.shape
        shape = (count, 1 + len(self.problem.unknowns), states)
        return torch.full(shape, torch.nan, dtype=torch.float64)

    def evaluate(self, z: Tensor, rows: Tensor, samples: int) -> None:
        """Linearize the first samples of some records (n,) at coordinates z (n, D)."""
        unknowns = self.problem.unknowns
        self.parameters[rows], self.initial[rows] = unknowns.physical(z, rows)
        limit = self.problem.counts.clamp_max(samples)
        self.predicted[rows, :samples] = torch.nan
        self.engine.evaluate(
            Evaluation(
                rows,
                self.parameters,
                self.initial,
                self.sums,
                predicted=self.predicted,
                jacobian=self.jacobian,
                ending=self.ending,
                limit=limit,
            )
        )
        slopes = unknowns.slopes(z)
        if self.ending is not None:
            ending = self.ending[rows]
            self._end(rows, samples, ending[:, 0], ending[:, 1:].mT * slopes.unsqueeze(1))
        self._scale(slopes, rows, samples)

    def _end(self, rows: Tensor, samples: int, states: Tensor, sensitivity: Tensor) -> None:
        """Keep the states (n, S) of some records at the last of the first samples."""
        # The engine writes the states at the last sample that it reaches.
        reached = self.predicted[rows, samples - 1].isfinite().all(dim=1, keepdim=True)
        self.states[rows] = torch.where(reached, states, torch.nan)
        self.sensitivity[rows] = torch.where(reached.unsqueeze(2), sensitivity, torch.nan)

    def _scale(self, slopes: Tensor | None, rows: Tensor, samples: int) -> None:
        """Turn predictions and their derivatives into residuals and those of the coordinates.

        Args:
            slopes: (n, D), derivatives of the unknowns by their coordinates, unless the derivatives
                of the predictions are by the coordinates already.
            rows: (n,), records.
            samples: How many samples of them.
        """
        problem, whole = self.problem, len(rows) == len(self.rows)
        place = slice(None) if whole else rows
        self.residual[place, :samples], self.jacobian[place, :samples] = scaled(
            self.noise,
            problem.records.observed[place, :samples],
            self.predicted[place, :samples],
            self.jacobian[place, :samples],
            None if problem.weights is None else problem.weights[place, :samples],
            None if slopes is None else slopes[:, None, None],
        )

    def sample(self, number: int) -> Sample:
        """Return one sample of all records."""
        noise, observed = self.noise, self.problem.records.observed[:, number]
        return sample_of(noise, observed, self.residual[:, number], self.jacobian[:, number])

    def predicted_at(self, number: int, delta: Tensor, rows: Tensor | slice) -> Tensor:
        """Return outputs (n, O) of records at a sample, by the linearization, at z* + delta."""
        moved = (self.jacobian[rows, number] @ delta.unsqueeze(2)).squeeze(2)
        return self.predicted_after(rows, slice(number, number + 1), moved.unsqueeze(1))[:, 0]

    def predicted_after(self, rows: Tensor | slice, samples: slice, moved: Tensor) -> Tensor:
        """Return outputs (n, T, O) of records whose residuals have moved (n, T, O)."""
        if self.problem.weights is not None:
            moved = moved / self.problem.weights[rows, samples].sqrt()
        noise, predicted = self.noise, self.predicted[rows, samples]
        return torch.as_tensor(noise.moved(predicted.numpy(), moved.numpy()))

    def residuals_at(self, rows: Tensor, samples: int, delta: Tensor) -> Tensor:
        """Return the residuals (n, T, O) of some records, by the linearization, at z* + delta."""
        place = slice(None) if len(rows) == len(self.rows) else rows
        moved = (self.jacobian[place, :samples] @ delta[:, None, :, None]).squeeze(3)
        return self.residual[place, :samples] - moved

    def scores(self, rows: Tensor, samples: int, belief: Belief) -> Tensor:
        """Return the residuals (n, T, O) of some records at z* over their noise levels."""
        place = slice(None) if len(rows) == len(self.rows) else rows
        return self.residual[place, :samples] / belief.log_level.exp().unsqueeze(1)

    def total(self, rows: Tensor, samples: int, weight: Tensor | None) -> Sums:
        """Return the sums over the first samples of some records, weighted (n, T, O)."""
        place = slice(None) if len(rows) == len(self.rows) else rows
        residual, jacobian = self.residual[place, :samples], self.jacobian[place, :samples]
        seen = residual.isfinite()
        weight = seen.double() if weight is None else torch.where(seen, weight, 0.0)
        residual = torch.where(seen, residual, 0.0)
        columns = jacobian.permute(0, 2, 3, 1)
        pulled = columns * weight.permute(0, 2, 1).unsqueeze(2)
        return Sums(
            pulled @ columns.mT,
            (pulled @ residual.permute(0, 2, 1).unsqueeze(3)).squeeze(3),
            (weight * residual.square()).sum(dim=1),
            seen.sum(dim=1).double(),
        )
