"""Outputs that are counted since the last sample, from the totals that an engine predicts.

The totals and their derivatives are predicted at all times of the fine grid, which begins at the
initial time. Differences of both are those of the increments; the terms of the noise are then
summed up as in `residuals.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.engines.engine import Engine, Evaluation
from warp_phys.likelihood.engines.sample_sums import normal_equations, terms_of
from warp_phys.likelihood.grid import FineGrid
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.dynamics.problem import Status


@dataclass(frozen=True)
class IncrementEngine:
    """Evaluates lanes of a problem with outputs that are counted; see `Engine`.

    Attributes:
        inner: Predicts the outputs as they are observed at all times of the grid.
        problem: The problem.
        grid: Its fine grid.
        rows: (L,), the trajectory of each lane.
        limit: (L,), how many samples of its record each lane uses.
    """

    inner: Engine
    problem: FitProblem
    grid: FineGrid
    rows: Tensor
    limit: Tensor

    def evaluate(self, wanted: Evaluation) -> None:
        """See `Engine.evaluate`."""
        chosen, sums = wanted.chosen, wanted.sums
        rows = self.rows[chosen]
        limit = (self.limit if wanted.limit is None else wanted.limit)[chosen]
        predicted, jacobian = self._integrate(wanted)
        used = torch.arange(self.problem.records.times.shape[1]) < limit.unsqueeze(1)
        value = self._at_samples(rows, predicted)
        self._keep(wanted.predicted, chosen, value)
        weight = self._precision(wanted, rows)
        observed = torch.where(used.unsqueeze(2), self.problem.records.observed[rows], torch.nan)
        seen = observed.isfinite()
        flags = self.problem.records.censored
        terms = terms_of(
            self.problem,
            observed,
            value,
            weight,
            wanted.parameters[chosen],
            None if flags is None else flags[rows],
        )
        squares = torch.where(seen, terms.loss, 0.0).sum(dim=1)
        failed = (sums.status[chosen] == 0) & ~squares.isfinite().all(dim=1)
        sums.status[chosen[failed]] = int(Status.DIVERGED)
        good = (sums.status[chosen] == 0).unsqueeze(1)
        sums.squares[chosen] = torch.where(good, squares, torch.inf)
        if jacobian is None:
            return
        slopes = self._at_samples(rows, jacobian.flatten(2)).view(*value.shape, -1)
        self._keep(wanted.jacobian, chosen, slopes)
        found = normal_equations(self.problem, terms, slopes, seen)
        sums.counted[chosen] = seen.sum(dim=1).to(value.dtype)
        sums.gradient[chosen] = found.gradient.sum(dim=1)
        sums.hessian[chosen] = found.hessian.sum(dim=1)

    def _integrate(self, wanted: Evaluation) -> tuple[Tensor, Tensor | None]:
        """Return what is observed on the grid, (n, F, O), and its derivatives (n, F, O, E)."""
        shape: tuple[int, ...] = (
            len(self.rows),
            self.grid.records.times.shape[1],
            len(self.problem.records.outputs),
        )
        arrays: dict[str, Any] = {"predicted": torch.full(shape, torch.nan, dtype=torch.float64)}
        if wanted.sensitivities:
            size = len(self.problem.unknowns.flow_directions())
            arrays["jacobian"] = torch.full((*shape, size), torch.nan, dtype=torch.float64)
        limit = None if wanted.limit is None else self.grid.limits(self.rows, wanted.limit)
        self.inner.evaluate(replace(wanted, limit=limit, **arrays))
        jacobian = arrays.get("jacobian")
        chosen = wanted.chosen
        return arrays["predicted"][chosen], None if jacobian is None else jacobian[chosen]

    def _at_samples(self, rows: Tensor, values: Tensor) -> Tensor:
        """Return values (n, F, O K) at the samples, (n, T, O K), counted ones since the last."""
        here = self.grid.at_samples(rows, values)
        before = values.gather(1, self._previous(rows).unsqueeze(2).expand_as(here))
        outputs = len(self.problem.records.outputs)
        counted = torch.zeros(outputs, dtype=torch.bool)
        for place, name in enumerate(self.problem.records.outputs):
            counted[place] = self.problem.system.output_names.index(name) in (
                self.problem.system.increments
            )
        wide = counted.repeat_interleave(values.shape[2] // outputs)
        return torch.where(wide, here - before, here)

    def _previous(self, rows: Tensor) -> Tensor:
        """Return the positions (n, T) on the grid from which samples count."""
        place = self.grid.place[rows]
        times = self.problem.records.times[rows]
        # Measurements at the same time count from the same one before; the first ones count from
        # the initial time, with which the grid begins.
        last = torch.zeros_like(place)
        for sample in range(1, place.shape[1]):
            new = times[:, sample] > times[:, sample - 1]
            last[:, sample] = torch.where(new, place[:, sample - 1], last[:, sample - 1])
        return last

    def _precision(self, wanted: Evaluation, rows: Tensor) -> Tensor:
        weight = torch.ones_like(self.problem.records.observed[rows])
        if self.problem.weights is not None:
            weight = self.problem.weights[rows]
        if wanted.precision is not None:
            weight = weight * wanted.precision[wanted.chosen].unsqueeze(1)
        return weight

    def _keep(self, given: Tensor | None, chosen: Tensor, values: Tensor) -> None:
        """Write values (n, T, ...) where there are any."""
        if given is not None:
            given[chosen] = torch.where(values.isfinite(), values, given[chosen])
