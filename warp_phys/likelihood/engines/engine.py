"""What an engine computes: sums of squares and normal equations, and how it is asked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """What the engine computes for each of L lanes; a lane is one trajectory with one start.

    Packed matrices hold the lower triangle, row by row. Derivatives are by the physical values of
    the unknowns.

    Attributes:
        hessian: (L, O, D (D + 1) / 2), J^T W J of each output.
        gradient: (L, O, D), J^T W r.
        squares: (L, O), the loss of the noise, r^T W r where it is squared; infinite where the
            model has no finite prediction.
        counted: (L, O), values that say something.
        status: (L,), 0 where the integration reached every sample, 1 where it left the finite
            numbers, 2 where it took too many steps.
    """

    hessian: Tensor
    gradient: Tensor
    squares: Tensor
    counted: Tensor
    status: Tensor

    @classmethod
    def empty(cls, lanes: int, outputs: int, unknowns: int) -> Sums:
        """Return room for the sums of `lanes` lanes."""
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
    """What an engine is asked to compute, and where it writes.

    Attributes:
        chosen: (n,) lanes to compute.
        parameters: (L, P) of all lanes.
        initial: (L, S), initial states of all lanes.
        sums: Where the results of the chosen lanes go; without sensitivities only squares and
            status.
        sensitivities: Whether the normal equations are wanted.
        precision: (L, O), one over the squared level at which the loss of the noise is taken; None
            for 1.
        predicted: (L, T, O), where predictions go if they are wanted; untouched where there are
            none.
    """

    chosen: Tensor
    parameters: Tensor
    initial: Tensor
    sums: Sums
    sensitivities: bool = True
    precision: Tensor | None = None
    predicted: Tensor | None = None


class Engine(Protocol):
    """Evaluates lanes of a problem; the plan of steps is kept between calls."""

    def evaluate(self, wanted: Evaluation) -> None:
        """Compute the chosen lanes, and write into their places."""
