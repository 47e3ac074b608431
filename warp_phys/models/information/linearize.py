"""Linearization of records: residuals and sensitivities at chosen coordinates, and their sums."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Evaluation, Sums as EngineSums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.information.running import Belief, Sample, Sums
from warp_phys.systems.noise.noise import with_slope


class Linearizer:
    """Linearizes the records of a problem; keeps the plan of integration steps between calls."""

    def __init__(self, problem: FitProblem) -> None:
        self.problem = problem
        self.rows = torch.arange(len(problem))
        self.engine = build_engine(problem, self.rows, problem.counts)
        outputs, unknowns = len(problem.records.outputs), len(problem.unknowns)
        self.sums = EngineSums.empty(len(problem), outputs, unknowns)
        self.parameters = problem.unknowns.parameters.clone()
        self.initial = problem.unknowns.initial_state.clone()
        shape = problem.records.observed.shape
        self.residual = torch.full(shape, torch.nan, dtype=torch.float64)
        self.predicted = torch.full(shape, torch.nan, dtype=torch.float64)
        self.jacobian = torch.zeros(*shape, unknowns, dtype=torch.float64)

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
                limit=limit,
            )
        )
        self._scale(z, rows, samples)

    def _scale(self, z: Tensor, rows: Tensor, samples: int) -> None:
        """Turn predictions and their derivatives into residuals and those of the coordinates."""
        problem, whole = self.problem, len(rows) == len(self.rows)
        place = slice(None) if whole else rows
        observed = problem.records.observed[place, :samples]
        predicted, jacobian = self.predicted[place, :samples], self.jacobian[place, :samples]
        noise = problem.distribution
        if noise.transforms:
            residual, slope = with_slope(lambda f: noise.residual(observed, f), predicted)
            stretch = -slope
        else:
            residual, stretch = observed - predicted, None
        if problem.weights is not None:
            root = problem.weights[place, :samples].sqrt()
            residual, stretch = residual * root, root if stretch is None else stretch * root
        slopes = problem.unknowns.slopes(z)[:, None, None]
        if stretch is not None:
            slopes = slopes * stretch.unsqueeze(-1)
        jacobian = jacobian * slopes
        sound = predicted.isfinite() & jacobian.isfinite().all(dim=-1)
        self.residual[place, :samples] = torch.where(sound, residual, torch.nan)
        self.jacobian[place, :samples] = torch.where(sound.unsqueeze(-1), jacobian, 0.0)

    def sample(self, number: int) -> Sample:
        """Return one sample of all records."""
        residual = self.residual[:, number]
        observed = self.problem.records.observed[:, number]
        size = self.problem.distribution.magnitude(observed)
        seen = residual.isfinite()
        return Sample(residual, self.jacobian[:, number], torch.where(seen, size, 0.0))

    def predicted_at(self, number: int, delta: Tensor, rows: Tensor | slice) -> Tensor:
        """Return outputs (n, O) of records at a sample, by the linearization, at z* + delta."""
        moved = (self.jacobian[rows, number] @ delta.unsqueeze(2)).squeeze(2)
        return self.predicted_after(rows, slice(number, number + 1), moved.unsqueeze(1))[:, 0]

    def predicted_after(self, rows: Tensor | slice, samples: slice, moved: Tensor) -> Tensor:
        """Return outputs (n, T, O) of records whose residuals have moved (n, T, O)."""
        if self.problem.weights is not None:
            moved = moved / self.problem.weights[rows, samples].sqrt()
        noise, predicted = self.problem.distribution, self.predicted[rows, samples]
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
