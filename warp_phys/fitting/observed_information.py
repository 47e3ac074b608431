"""The observed information of samples: exact second derivatives of their log density."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from warp_phys.likelihood.density import noise_at
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.engine import Evaluation, Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import BELOW, LEVEL

Loss = Callable[..., Tensor]


def observed_information(problem: FitProblem, z: Tensor) -> Tensor:
    """Return the information (N, O, D (D + 1) / 2) at coordinates z (N, D), packed as in `Sums`.

    Curvature of the predictions themselves is left out, as in Gauss-Newton steps.
    """
    predicted, jacobian = _predictions(problem, z)
    unknowns, directions = problem.unknowns, problem.unknowns.directions()
    flow = torch.tensor([one < unknowns.of_system for one in directions], dtype=torch.bool)
    size = len(directions)
    rows, columns = torch.tril_indices(size, size)
    found = []
    for output in range(len(problem.records.outputs)):
        own = () if problem.own is None else problem.own.columns[output]
        # du/dtheta of u = (f, parameters of the noise), (N, T, 1 + K, D).
        slopes = predicted.new_zeros(*predicted.shape[:2], 1 + len(own), size)
        slopes[:, :, 0, flow] = jacobian[:, :, output]
        for k, column in enumerate(own):
            slopes[:, :, 1 + k, directions.index(column)] = 1.0
        curvature = 0.5 * _second(problem, z, predicted[..., output], output)
        seen = problem.records.seen[..., output]
        curvature = torch.where(seen[..., None, None], curvature, 0.0)
        slopes = torch.where(seen[..., None, None], slopes, 0.0)
        total = torch.einsum("ntka,ntkl,ntlb->nab", slopes, curvature, slopes)
        found.append(total[:, rows, columns])
    return torch.stack(found, dim=1)


def _predictions(problem: FitProblem, z: Tensor) -> tuple[Tensor, Tensor]:
    """Return predictions (N, T, O), and their derivatives (N, T, O, E) along the flow."""
    every = torch.arange(len(problem))
    parameters, initial = problem.unknowns.physical(z, every)
    shape = problem.records.observed.shape
    predicted = torch.full(shape, torch.nan, dtype=torch.float64)
    size = len(problem.unknowns.flow_directions())
    jacobian = torch.full((*shape, size), torch.nan, dtype=torch.float64)
    sums = Sums.empty(len(problem), shape[2], len(problem.unknowns.directions()))
    engine = build_engine(problem, every, problem.counts)
    engine.evaluate(
        Evaluation(every, parameters, initial, sums, predicted=predicted, jacobian=jacobian)
    )
    return predicted, jacobian


def _second(problem: FitProblem, z: Tensor, predicted: Tensor, output: int) -> Tensor:
    """Return second derivatives (N, T, 1 + K, 1 + K) of the loss by f and the noise."""
    records = problem.records
    level = torch.ones_like(predicted)
    if problem.weights is not None:
        level = problem.weights[..., output].rsqrt()
    names: Sequence[str] = () if problem.own is None else problem.own.names[output]
    at, size = noise_at(problem, z, output, level)
    values = [size if name == LEVEL else getattr(at, name) for name in names]
    flags = None if records.censored is None else records.censored[..., output]
    observed = records.observed[..., output]

    def loss(*u: Tensor) -> Tensor:
        given = dict(zip(names, u[1:], strict=True))
        here = given.pop(LEVEL, level)
        return _loss(at.at(given), observed, u[0], here, flags)

    # Copies, because derivatives are written into the memory of expanded tensors.
    return _hessian(loss, [predicted.clone(), *(value.clone() for value in values)])


def _loss(
    noise: Noise, observed: Tensor, predicted: Tensor, level: Tensor, flags: Tensor | None
) -> Tensor:
    """Return -2 log p of values, of which some are limits."""
    measured = noise.whole_loss(observed, predicted, level)
    if flags is None:
        return measured
    below = noise.log_below(observed, predicted, level)
    tail = torch.where(flags == BELOW, below, noise.log_above(observed, predicted, level))
    return torch.where(flags > 0.0, -2.0 * tail, measured)


def _hessian(function: Loss, at: Sequence[Tensor]) -> Tensor:
    """Return second derivatives (..., K, K) of an elementwise function of K tensors (...)."""
    one, zero = torch.ones_like(at[0]), torch.zeros_like(at[0])
    size = len(at)
    rows = []
    for k in range(size):
        first = tuple(one if place == k else zero for place in range(size))

        def slope(*u: Tensor, first: tuple[Tensor, ...] = first) -> Tensor:
            along: Tensor = torch.func.jvp(function, u, first)[1]
            return along

        row = []
        for m in range(size):
            second = tuple(one if place == m else zero for place in range(size))
            row.append(torch.func.jvp(slope, tuple(at), second)[1])
        rows.append(torch.stack(row, dim=-1))
    return torch.stack(rows, dim=-2)
