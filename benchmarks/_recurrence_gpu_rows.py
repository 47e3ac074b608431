"""The rows of `recurrence_gpu.py`: problems of the recurrence, and what stands against it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import warp_phys as wp

Way = Callable[..., Tensor]


@dataclass(frozen=True)
class Row:
    """One problem.

    Attributes:
        shape: N, T, D, d.
        wanted: What is aimed at, for the states, and for them with all gradients.
        dense: Whether A is dense, else diagonal.
        backward: Whether gradients are measured, too.
    """

    shape: tuple[int, int, int, int]
    wanted: str
    dense: bool = False
    backward: bool = True

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{'dense' if self.dense else 'diagonal'}, {self.shape}"


ROWS = (
    Row((32, 1024, 2000, 2), "70 us, 205 us"),
    Row((16, 256, 5000, 4), "80 us with gradients"),
    Row((1024, 256, 3, 2), "10 us, 25 us"),
    Row((1024, 256, 3, 2), "10 us, 25 us", dense=True),
    Row((32, 256, 500, 2), "0.3 ms, 0.9 ms", dense=True),
    Row((1, 1_000_000, 3, 2), "50 us", backward=False),
    Row((1, 1_000_000, 2000, 2), "1.95 ms", backward=False),
)


def problem(row: Row) -> list[Tensor]:
    """Return A, B, inputs and initial state, which want gradients where the row does."""
    generator = torch.Generator("cuda").manual_seed(0)
    batch, length, size, width = row.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device="cuda")

    of_a = 0.9 * normal(size, size) / size**0.5 if row.dense else 1 - 0.2 * normal(size).sigmoid()
    leaves = [of_a, normal(size, width), normal(batch, length, width), normal(batch, size)]
    return [leaf.requires_grad_(row.backward) for leaf in leaves]


def step_loop(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """One step after the other in PyTorch's operations."""
    return wp.linear_recurrence(A, B, inputs, initial, mode="recurrent")


def accelerated(A: Tensor, B: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    """accelerated-scan's Triton kernel; the start goes into the first drive."""
    from accelerated_scan.scalar import scan

    drive = B @ inputs.mT
    drive = torch.cat([drive[..., :1] + (A * initial)[..., None], drive[..., 1:]], dim=2)
    return scan(A[:, None].expand_as(drive).contiguous(), drive).mT


def ways(row: Row) -> dict[str, Way]:
    """Return ours and the peers that can do this row."""
    found: dict[str, Way] = {"ours": wp.linear_recurrence}
    if row.shape[1] < 10_000:
        found["step loop"] = step_loop
    if not row.dense and importlib.util.find_spec("accelerated_scan"):
        found["accelerated-scan"] = accelerated
    return found
