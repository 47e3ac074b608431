"""How time and memory of `linear_recurrence` grow with N, T and D, forwards and backwards.

One of the three is varied at a time, each structure of A in a process of its own. Time is the
processor's, the median of the faster half; memory is what the process's peak rose by during the
largest call of the row, over the bytes of the states, so 2 to 4 arrays of that size are expected
(states, their gradient as given, and temporaries). Straight lines have an exponent of 1: small
sizes, where a call's own cost counts, stay below.

Usage: python benchmarks/recurrence_scaling.py [--repeats 5] [--quick]
"""

from __future__ import annotations

import os

# One thread, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import multiprocessing
import resource
import time
from dataclasses import dataclass

import numpy as np
import torch

import warp_phys as wp

# For each structure the sizes N, T, D where the others stay, and what each is varied over.
FEW = ((64, 256, 3), ((64, 256, 1024, 4096), (256, 1024, 4096, 16384), (2, 4, 8, 16)))
MANY = ((32, 256, 256), ((8, 32, 128, 512), (64, 256, 1024, 4096), (64, 256, 1024, 4096)))
AXES = {
    "identity": MANY,
    "diagonal, few states": FEW,
    "diagonal": MANY,
    "complex": MANY,
    "dense, few states": FEW,
    "dense": ((32, 128, 128), ((32, 128, 512), (64, 256, 1024), (128, 256, 512, 1024))),
    "low rank": MANY,
}
WIDTH, RANK = 2, 2


@dataclass(frozen=True)
class Line:
    """One row of the table: sizes, seconds and peak memory over the bytes of the states."""

    axis: str
    sizes: tuple[int, ...]
    seconds: list[float]
    arrays: float

    @property
    def exponent(self) -> float:
        """The power of the size between the two largest."""
        ratio = self.seconds[-1] / self.seconds[-2]
        return float(np.log(ratio) / np.log(self.sizes[-1] / self.sizes[-2]))


def problem(structure: str, shape: tuple[int, int, int]) -> tuple[wp.Identity, list[torch.Tensor]]:
    """Return A and what gradients are wanted of: its tensors, B, inputs and initial states."""
    generator = torch.Generator().manual_seed(0)
    batch, length, size = shape

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    fading = 1 - 0.2 * torch.rand(size, generator=generator)
    of_a: list[torch.Tensor] = []
    if structure.startswith("diagonal"):
        of_a = [fading]
    elif structure == "complex":
        half = size // 2
        of_a = [0.9 * fading[:half].cos(), 0.9 * fading[:half].sin()]
    elif structure.startswith("dense"):
        of_a = [0.9 * normal(size, size) / size**0.5]
    elif structure == "low rank":
        of_a = [fading, *(0.1 * normal(2, size, RANK) / size**0.5)]
    rest = ((size, WIDTH), (batch, length, WIDTH), (batch, size))
    leaves = [*of_a, *(normal(*one) for one in rest)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    kinds = {"complex": wp.ComplexDiagonal, "low rank": wp.DiagonalPlusLowRank}
    kind = kinds.get(structure, wp.Dense if structure.startswith("dense") else wp.Diagonal)
    A = wp.Identity(size) if structure == "identity" else kind(*leaves[: len(of_a)])
    return A, leaves


def measure(structure: str, shape: tuple[int, int, int], repeats: int) -> float:
    """Return the processor time of one call forwards and backwards."""
    A, leaves = problem(structure, shape)
    weights = torch.ones(shape)
    times = []
    for _ in range(repeats + 1):
        begun = time.process_time()
        states = wp.linear_recurrence(A, *leaves[-3:])
        torch.autograd.grad(states, leaves, weights)
        times.append(time.process_time() - begun)
    return float(np.median(sorted(times[1:])[: (repeats + 1) // 2]))


def peak() -> int:
    """Return the most memory this process has had, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def line(structure: str, axis: int, sizes: tuple[int, ...], repeats: int) -> Line:
    """Measure one row; runs in a process of its own."""
    torch.set_num_threads(1)
    seconds = []
    for size in sizes:
        shape = [*AXES[structure][0]]
        shape[axis] = size
        before = peak()
        seconds.append(measure(structure, (shape[0], shape[1], shape[2]), repeats))
    return Line("NTD"[axis], sizes, seconds, (peak() - before) / (4 * float(np.prod(shape))))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each")
    chosen = parser.parse_args()
    print(f"one thread; torch {torch.__version__}; d = {WIDTH}, rank {RANK}, float32")
    print()
    print("| A | others (N, T, D) | varied | milliseconds | exponent | memory / states |")
    print("|---|---|---|---|---|---|")
    spawn = multiprocessing.get_context("spawn")
    for structure, (fixed, axes) in AXES.items():
        for axis, sizes in enumerate(axes):
            sizes = sizes[:2] if chosen.quick else sizes
            with spawn.Pool(1) as pool:
                found = pool.apply(line, (structure, axis, sizes, chosen.repeats))
            cells = ", ".join(
                f"{size}: {1e3 * seconds:.3g}"
                for size, seconds in zip(sizes, found.seconds, strict=True)
            )
            print(
                f"| {structure} | {fixed} | {found.axis} | {cells} | {found.exponent:.2f} | "
                f"{found.arrays:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
