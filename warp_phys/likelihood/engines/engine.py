"""The interface of engines: sums of squares and normal equations of lanes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """The sums that an engine computes for each of L lanes: one trajectory with one start.

    Packed matrices hold the lower triangle, row by row. Derivatives are by the physical values of
    the unknowns: D directions, see `Unknowns.directions`.

    Attributes:
        hessian: (L, O, D (D + 1) / 2), J^T W J of each output.
        gradient: (L, O, D), J^T W r.
        squares: (L, O), the loss of the noise, r^T W r where it is squared; infinite where the
            model has no finite prediction.
        counted: (L, O), how many values were measured.
        status: (L,), 0 where the integration reached every sample, 1 where it left the finite
            numbers, 2 where it took too many steps, 5 where events never ended.
    """

    hessian: Tensor
    gradient: Tensor
    squares: Tensor
    counted: Tensor
    status: Tensor

    @classmethod
    def empty(cls, lanes: int, outputs: int, unknowns: int) -> Sums:
        """Return sums of zero for `lanes` lanes."""
        packed = unknowns * (unknowns + 1) // 2
        zeros = torch.zeros
        return cls(
            hessian=zeros(lanes, outputs, packed, dtype=torch.float64),
            gradient=zeros(lanes, outputs, unknowns, dtype=torch.float64),
            squares=zeros(lanes, outputs, dtype=torch.float64),
            counted=zeros(lanes, outputs, dtype=torch.float64),
            status=zeros(lanes, dtype=torch.int32),
        )


@dataclass(frozen=True)
class Evaluation:
    """A request to an engine, with the arrays that it writes into.

    Attributes:
        chosen: (n,) lanes to compute.
        parameters: (L, P + Q) of all lanes, those of the system before those of the noise.
        initial: (L, S), initial states of all lanes.
        sums: The results of the chosen lanes are written here; without sensitivities only squares
            and status.
        sensitivities: Whether to compute the normal equations.
        precision: (L, O), one over the squared level at which the loss is evaluated; None for 1.
        predicted: (L, T, O), predictions are written here unless it is None; entries without a
            prediction are left as they are.
        jacobian: (L, T, O, E), derivatives of the predictions along the E directions on which the
            flow depends are written here unless it is None, as `predicted`; only with
            sensitivities.
        ending: (L, 1 + E, S), the states at the last sample and their derivatives are written here
            unless it is None; only with sensitivities.
        limit: (L,), how many samples of its record each lane uses, if not those that the engine was
            built for.
    """

    chosen: Tensor
    parameters: Tensor
    initial: Tensor
    sums: Sums
    sensitivities: bool = True
    precision: Tensor | None = None
    predicted: Tensor | None = None
    jacobian: Tensor | None = None
    ending: Tensor | None = None
    limit: Tensor | None = None


class Engine(Protocol):
    """Evaluates lanes of a problem; the plan of steps is kept between calls."""

    def evaluate(self, wanted: Evaluation) -> None:
        """Compute the chosen lanes and write their results in place."""
