"""The terms of samples and what they add to the normal equations, in PyTorch.

The same as in `residuals.cpp`, for the engines without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem


@dataclass(frozen=True)
class Terms:
    """The terms of samples (..., O), see `SampleTerms`.

    Attributes:
        stretch: -dr/df.
        loss: The loss.
        score: Its score on the residual's scale.
        information: That of a step, likewise.
        own: For each output scores, information with f, and information (..., K) of the K unknown
            parameters of its noise.
    """

    stretch: Tensor
    loss: Tensor
    score: Tensor
    information: Tensor
    own: Sequence[Sequence[Tensor]]


@dataclass(frozen=True)
class Equations:
    """Gradients (..., O, D) and packed Hessians (..., O, D (D + 1) / 2)."""

    gradient: Tensor
    hessian: Tensor


def terms_of(
    problem: FitProblem,
    observed: Tensor,
    predicted: Tensor,
    precision: Tensor,
    parameters: Tensor,
    flags: Tensor | None,
) -> Terms:
    """Return the terms of values (n, ..., O) of n lanes.

    Args:
        problem: The problem.
        observed: Observed values, or limits.
        predicted: Predicted values.
        precision: One over the squared level.
        parameters: (n, P + Q), of the lanes.
        flags: Which are limits, see `Records.censored`; None where none is.
    """
    columns, own = [], []
    shape = (-1, *(1,) * (observed.ndim - 2))
    for output, one in enumerate(problem.terms):
        given = [part[..., output] for part in (observed, predicted, precision)]
        like = torch.zeros_like(given[1])
        names = () if problem.own is None else problem.own.columns[output]
        given += [like + parameters[:, column].reshape(shape) for column in names]
        if flags is not None:
            given.append(flags[..., output])
        found = one(*given)
        columns.append(found[1:5])
        own.append(found[5:])
    stretch, loss, score, information = (
        torch.stack(parts, dim=-1) for parts in zip(*columns, strict=True)
    )
    return Terms(stretch, loss, score, information, own)


def normal_equations(problem: FitProblem, terms: Terms, slopes: Tensor, seen: Tensor) -> Equations:
    """Return gradients and packed Hessians of samples, see `Sums`.

    Args:
        problem: The problem.
        terms: Of samples (..., O).
        slopes: (..., O, E), derivatives of the predictions along the directions of the flow.
        seen: (..., O), where there is a value.
    """
    unknowns = problem.unknowns
    directions = unknowns.directions()
    flow = torch.tensor([one < unknowns.of_system for one in directions], dtype=torch.bool)
    wide = slopes.new_zeros(*slopes.shape[:-1], len(directions))
    # Masked before the products, because 0 * inf is NaN.
    used = seen.unsqueeze(-1)
    wide[..., flow] = torch.where(used, slopes * terms.stretch.unsqueeze(-1), 0.0)
    score, information = (
        torch.where(seen, part, 0.0).unsqueeze(-1) for part in (terms.score, terms.information)
    )
    gradient = score * wide
    # Packed lower triangle of information_t j_t j_t^T, row by row.
    rows, columns = torch.tril_indices(len(directions), len(directions))
    hessian = (information * wide)[..., rows] * wide[..., columns]
    if problem.own is not None:
        _add_own(problem, terms, wide, seen, Equations(gradient, hessian))
    return Equations(gradient, hessian)


def _add_own(
    problem: FitProblem, terms: Terms, wide: Tensor, seen: Tensor, into: Equations
) -> None:
    """Add what unknown parameters of the noise contribute."""
    assert problem.own is not None
    directions = problem.unknowns.directions()
    for output, columns in enumerate(problem.own.columns):
        count, here = len(columns), seen[..., output]
        own = [torch.where(here, part, 0.0) for part in terms.own[output]]
        scores, crossed, both = own[:count], own[count : 2 * count], own[2 * count :]
        gradient, hessian = into.gradient[..., output, :], into.hessian[..., output, :]
        for k, column in enumerate(columns):
            at = directions.index(column)
            gradient[..., at] += scores[k]
            for other in range(len(directions)):
                place = _packed(at, other)
                # The diagonal has each product twice: e_k j^T + j e_k^T.
                times = 2.0 if at == other else 1.0
                hessian[..., place] += times * crossed[k] * wide[..., output, other]
            for m in range(k + 1):
                place = _packed(at, directions.index(columns[m]))
                hessian[..., place] += both[_packed(k, m)]


def _packed(row: int, column: int) -> int:
    """Return the place of an entry of a symmetric matrix in its packed lower triangle."""
    row, column = max(row, column), min(row, column)
    return row * (row + 1) // 2 + column
