"""Where paths start: the prior of parameters and states, and starts from constant parameters."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.unknown import Unknown
from warp_phys.models.information.drift.coordinate_flow import CoordinateFlow, Observed
from warp_phys.models.information.drift.filter import ByLevel, Normal
from warp_phys.models.information.drift.level import Level
from warp_phys.models.information.drift.path import Base
from warp_phys.models.information.marks.settle import settle
from warp_phys.models.information.prior.points import prior_mean, prior_points
from warp_phys.models.information.prior.prior import Prior
from warp_phys.records.records import Records


def opening(problem: FitProblem, prior: Prior, entries: tuple[Unknown, ...]) -> Normal:
    """Return what is known about the parameters and states of records at the start.

    States that are known have a variance of zero. An initial state that follows from the parameters
    is linearized at the mean of their prior.

    Args:
        problem: N records.
        prior: The prior of their D unknowns.
        entries: The K parameters and states, see `current_entries`.
    """
    count, states = problem.unknowns.initial_state.shape
    free = len(entries) - states
    every = torch.arange(count)
    parameters, initial = problem.unknowns.physical(prior.mean.expand(count, -1), every)
    by_prior = torch.zeros(count, len(entries), len(prior.mean), dtype=torch.float64)
    by_prior[:, places(problem), torch.arange(len(prior.mean))] = 1.0
    if problem.system.has_initial_state:
        initial, by_prior[:, free:] = _implied(problem, parameters, prior.mean)
    moving = [entry.coordinate(initial[:, place]) for place, entry in enumerate(entries[free:])]
    mean = torch.stack(moving, dim=1)
    mean = torch.cat([prior.mean[:free].expand(count, -1), mean], dim=1)
    covariance = by_prior @ prior.covariance() @ by_prior.mT
    return Normal(mean, covariance, ByLevel(torch.zeros_like(mean), torch.zeros_like(covariance)))


def places(problem: FitProblem) -> Tensor:
    """Return the positions (D,) of the unknowns of a problem among parameters and states."""
    entries = problem.unknowns.entries
    free = sum(entry.kind == "parameter" for entry in entries)
    found = [
        place if entry.kind == "parameter" else free + entry.index
        for place, entry in enumerate(entries)
    ]
    return torch.tensor(found, dtype=torch.int64)


def _implied(problem: FitProblem, parameters: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return initial states (N, S) that parameters determine, and derivatives by coordinates."""
    index = [entry.index for entry in problem.unknowns.entries]

    def states(values: Tensor) -> Tensor:
        found = problem.system.initial_state_at(values.T)
        assert found is not None
        return found.T

    slopes = problem.unknowns.slopes(z.unsqueeze(0))[0]
    columns = []
    for place, parameter in enumerate(index):
        direction = torch.zeros_like(parameters)
        direction[:, parameter] = slopes[place]
        columns.append(torch.func.jvp(states, (parameters,), (direction,))[1])
    return states(parameters), torch.stack(columns, dim=2)


class StillStarts:
    """Starts of paths that fit a short record with constant parameters.

    Args:
        problem: Tells system, unknowns, noise and tolerance.
        prior: The prior.
        flow: Gives physical values.
    """

    def __init__(self, problem: FitProblem, prior: Prior, flow: CoordinateFlow) -> None:
        self.problem, self.prior, self.flow = problem, prior, flow
        self.places = places(problem)

    def first(self, base: Base, samples: Observed) -> Tensor:
        """Return u (N, K) of paths that start at the prior's mean, and from states as observed."""
        return self._pull(prior_mean(self._problem(base, samples), self.prior))

    def best(self, base: Base, samples: Observed, level: Level) -> Tensor:
        """Return u (N, K) of paths that start where constant parameters fit best.

        Args:
            base: N records at their initial time, with another start to try.
            samples: All samples.
            level: The noise levels.
        """
        problem, prior = self._problem(base, samples), self.prior
        z = prior.mean + base.pull[:, self.places] @ prior.covariance()
        mean, points = prior_mean(problem, prior), prior_points(problem, prior, seed=0)
        candidates = torch.cat([z.unsqueeze(0), mean.unsqueeze(0), points])
        count = samples.time.shape[1]
        reached, objective = settle(problem, prior, candidates, count, level.logarithm)
        best = objective.argmin(dim=0)
        return self._pull(reached[best, torch.arange(len(z))])

    def _pull(self, z: Tensor) -> Tensor:
        """Return u (N, K) of coordinates z (N, D)."""
        found = torch.zeros(len(z), len(self.flow.entries), dtype=torch.float64)
        found[:, self.places] = (z - self.prior.mean) @ self.prior.precision
        return found

    def _problem(self, base: Base, samples: Observed) -> FitProblem:
        """Return the problem of records that consist of some samples."""
        problem, count = self.problem, len(samples.time)
        records = problem.records
        parameters, states = self.flow.physical(base.known.mean, base.place)
        return replace(
            problem,
            records=Records(
                samples.values,
                samples.time,
                samples.inputs,
                outputs=records.outputs,
                labels=tuple(range(count)),
                own_grids=True,
            ),
            start=base.place.time,
            unknowns=replace(problem.unknowns, parameters=parameters, initial_state=states),
            group=torch.arange(count),
            weights=samples.weights if problem.noise == "known" else None,
            jumps=samples.jumps if samples.jumps.any() else None,
            fine=None,
        )
