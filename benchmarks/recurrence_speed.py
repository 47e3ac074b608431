"""Time of `linear_recurrence` forwards and backwards on one CPU thread, against JAX.

All states and the gradients to A, B, inputs and initial state, in float32. JAX computes them by
jitted `lax.scan`, with the batch inside or under `vmap`, and by `lax.associative_scan`; the step
loop is mode "recurrent", PyTorch's operations one step after the other. Every way must give the
same gradients first. The calls are interleaved; a time is the processor's, the median of the faster
half; the first call, which compiles, stands beside it.

Usage: python benchmarks/recurrence_speed.py [--repeats 7] [--rows 0 1 ...] [--quick]
Peer, if wanted: pip install jax
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import gc
import importlib.metadata
import importlib.util
import time

import numpy as np
import torch
from _recurrence_rows import ROWS, Row, Way, ours, peers, tensors

# Of the largest entry: sums of many float32 terms in another order.
AGREEMENT = 2e-4


def seconds(way: Way) -> float:
    """Return the processor time of one call."""
    begun = time.process_time()
    way()
    return time.process_time() - begun


def median_of_faster_half(times: list[float]) -> float:
    """Return what a quiet machine would have shown."""
    return float(np.median(sorted(times)[: (len(times) + 1) // 2]))


def check(name: str, found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Refuse a way that computes something else."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        error = np.abs(one - other).max() / np.abs(other).max()
        if not error < AGREEMENT:
            raise SystemExit(f"{name}: gradient {number} differs by {error:.1e} of the largest")


def measure(row: Row, repeats: int) -> dict[str, tuple[float, float]]:
    """Return warm and first time of every way."""
    leaves, weights = tensors(row, seed=0)
    makers = {"ours": ours} | peers(row)
    ways = {name: make(row, leaves, weights) for name, make in makers.items()}
    first, expected = {}, ways["ours"]()
    for name, way in ways.items():
        begun = time.process_time()
        check(f"{row.name}, {name}", way(), expected)
        first[name] = time.process_time() - begun
    # Short calls are repeated inside: the clock of the processor ticks coarsely.
    inner = {name: max(1, int(0.02 / max(1e-6, seconds(way)))) for name, way in ways.items()}
    times: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.disable()  # as timeit does: JAX's many objects would be looked through in everybody's time
    for _ in range(repeats):
        for name, way in ways.items():
            way()  # warm again: the others have just had the caches and the memory
            begun = time.process_time()
            for _ in range(inner[name]):
                way()
            times[name].append((time.process_time() - begun) / inner[name])
    gc.enable()
    return {name: (median_of_faster_half(times[name]), first[name]) for name in ways}


def report(row: Row, found: dict[str, tuple[float, float]]) -> None:
    """Print one line of the table."""
    own = found["ours"][0]
    rivals = {name: warm for name, (warm, _) in found.items() if name not in ("ours", "step loop")}
    if row.structure == "low_rank" or not rivals:
        rivals = {"step loop": found["step loop"][0]}
    best = min(rivals, key=lambda name: rivals[name])
    cells = [
        f"{name} {1e3 * warm:.3g} ms ({cold:.2g} s)"
        for name, (warm, cold) in found.items()
        if name != "ours"
    ]
    print(
        f"| {row.name} | {1e3 * own:.3g} ms | {'; '.join(cells)} | "
        f"{rivals[best] / own:.1f} ({best}) | {row.wanted:g} |",
        flush=True,
    )


def main() -> None:
    """Measure the rows asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rows", type=int, nargs="*", default=list(range(len(ROWS))))
    parser.add_argument("--quick", action="store_true", help="the small rows, three repeats")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = [ROWS[number] for number in chosen.rows]
    if chosen.quick:
        rows = [row for row in rows if np.prod(row.shape[:3]) < 1e6]
    names = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
    print("one thread;", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print()
    print("| A, (N, T, D, d) | ours | others, in brackets the first call | ratio | wanted |")
    print("|---|---|---|---|---|")
    for row in rows:
        report(row, measure(row, 3 if chosen.quick else chosen.repeats))


if __name__ == "__main__":
    main()
