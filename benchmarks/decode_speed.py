"""Decoding every state as a network's weights: without holding the states, against holding them.

A perceptron 1-42-42-2 of time, its D = 1,976 weights the state of a recurrence with A = I; every
sequence has a start of its own. Gradients go to starts, B and inputs. Materializing computes all
states (N, T, D) and multiplies them in batches; the basis keeps to theta_0 plus the span of B, in
PyTorch's operations; the kernel evaluates states as they go by. All must give the same outputs and
gradients first. Times are the processor's, medians of the faster half of interleaved calls; saved
is what lies in memory between the passes.

Usage: python benchmarks/decode_speed.py [--repeats 7] [--quick]
"""

from __future__ import annotations

import os

# One thread, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

import warp_phys as wp
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.recurrence.networks.low_rank import basis_perceptron
from warp_phys.recurrence.networks.outputs import root_outputs

WIDTHS = (1, 42, 42, 2)
AGREEMENT = 2e-5  # of the largest entry, in float32

Way = Callable[[], Tensor]


def ways(leaves: list[Tensor], points: Tensor) -> dict[str, Way]:
    """Return the ways to the outputs (N, T, 2) from initial states, B and inputs."""
    initial, B, inputs = leaves
    batch, length, _ = points.shape
    shapes = WeightNetwork(WIDTHS).shapes

    def materialized() -> Tensor:
        theta = torch.cat([initial.unsqueeze(1), initial.unsqueeze(1) + inputs.cumsum(1) @ B.mT], 1)
        hidden, offset = points.reshape(batch * length, 1, 1), 0
        for layer, (out, into) in enumerate(shapes):
            middle = offset + out * into
            weight = theta[..., offset:middle].reshape(batch * length, out, into)
            bias = theta[..., middle : middle + out].reshape(batch * length, out, 1)
            hidden = torch.bmm(weight, torch.tanh(hidden) if layer else hidden) + bias
            offset = middle + out
        return hidden.view(batch, length, -1)

    def basis() -> Tensor:
        return basis_perceptron(shapes, initial, B, pad(inputs.cumsum(1), (0, 0, 1, 0)), points)

    def kernel() -> Tensor:
        return root_outputs(wp.Identity(len(B)), B, inputs, initial, shapes, points, 0)[0]

    return {"materialized": materialized, "basis": basis, "kernel": kernel}


def saved(way: Way) -> float:
    """Return the megabytes that wait for the backward pass, each storage once."""
    sizes: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        way()
    return sum(sizes.values()) / 1e6


def check(found: list[Tensor], expected: list[Tensor], name: str) -> None:
    """Refuse a way that computes something else."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        error = float((one - other).abs().max() / other.abs().max())
        if not error < AGREEMENT:
            raise SystemExit(f"{name}: result {number} differs by {error:.1e} of the largest")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="an eighth of the steps, twice")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    batch, length, width = 32, 128 if chosen.quick else 1024, 2
    generator = torch.Generator().manual_seed(0)
    size = WeightNetwork(WIDTHS).size
    shapes = ((batch, size), (size, width), (batch, length - 1, width))
    leaves = [0.1 * torch.randn(*shape, generator=generator) for shape in shapes]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    points = torch.linspace(0, 1, length).expand(batch, -1).unsqueeze(-1).contiguous()
    weights = torch.randn(batch, length, WIDTHS[-1], generator=generator)
    known = ways(leaves, points)

    def both(way: Way) -> list[Tensor]:
        outputs = way()
        return [outputs.detach(), *torch.autograd.grad(outputs, leaves, weights)]

    expected = both(known["materialized"])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in known}
    for name, way in known.items():
        check(both(way), expected, name)
    for _ in range(2 if chosen.quick else chosen.repeats):
        for name, way in known.items():
            begun = time.process_time()
            outputs = way()
            half = time.process_time()
            torch.autograd.grad(outputs, leaves, weights)
            times[name].append((half - begun, time.process_time() - begun))
    print(f"one thread; torch {torch.__version__}; N = {batch}, T = {length}, D = {size}\n")
    print("| way | forwards (ms) | and backwards (ms) | ratio | saved (MB) | ratio |")
    print("|---|---|---|---|---|---|")
    kept = {name: saved(way) for name, way in known.items()}
    taken = {
        name: np.median(sorted(pairs, key=lambda pair: pair[1])[: (len(pairs) + 1) // 2], axis=0)
        for name, pairs in times.items()
    }
    for name, (forwards, total) in taken.items():
        print(
            f"| {name} | {1e3 * forwards:.1f} | {1e3 * total:.1f} | "
            f"{taken['materialized'][1] / total:.1f} | {kept[name]:.1f} | "
            f"{kept['materialized'] / kept[name]:.1f} |"
        )


if __name__ == "__main__":
    main()
