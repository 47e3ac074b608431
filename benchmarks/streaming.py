"""Time of one streaming step by number of sensors, for the trained heads, regression and Warp.

A step takes in one sample of every sensor (`model.step`) of a Lotka-Volterra model with default
settings, trained for a few steps, which does not change the time. Median over the steps after the
first 20, divided by the number of sensors: with one thread processor time, pinned to one core;
with more, time by the clock. A median would leave out the marks of the information head, whose
steps `estimates.py --parts speed` times, averaged over a record.

Usage: python benchmarks/streaming.py [--sensors 1 10 100 1000 10000] [--threads 1] [--quick]
"""

from __future__ import annotations

import os

# As many threads as the table says, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import importlib.metadata
import statistics
import time
from collections.abc import Iterator

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate

HEADS = ("direct", "weights", "readout", "regression")
DTYPES = (torch.float64, torch.float32)
WARM_UP = 20
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def models(data: xr.Dataset) -> Iterator[tuple[str, wp.Warp | wp.WarpPhys]]:
    """Return every kind of model, trained."""
    for head in HEADS:
        model = wp.WarpPhys("lotka_volterra", head=head)
        if head != "regression":
            wp.train(model, data, steps=3, progress=False)
        yield f"WarpPhys, {head}", model
    warp = wp.Warp()
    wp.train(warp, data, steps=3, progress=False)
    yield "Warp", warp


def use(threads: int) -> None:
    """Run on so many threads, and on so many cores where the system can say which."""
    torch.set_num_threads(threads)
    if CORES:
        os.sched_setaffinity(0, CORES[:threads])


def time_of_a_step(
    model: wp.Warp | wp.WarpPhys, sensors: int, steps: int, dtype: torch.dtype
) -> float:
    """Return the median time of a step, in seconds."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    samples = np.random.default_rng(0).uniform(1.0, 5.0, (WARM_UP + steps, sensors, 2))
    state = model.init_state(sensors, dtype=dtype)
    times = []
    for number, observed in enumerate(samples):
        begun = clock()
        state, _ = model.step(state, 0.1 * number, observed)
        times.append(clock() - begun)
    return statistics.median(times[WARM_UP:])


def main() -> None:
    """Time all models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sensors", type=int, nargs="+", default=[1, 10, 100, 1_000, 10_000])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="ten steps, up to 1,000 sensors")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.steps, chosen.sensors = 10, [n for n in chosen.sensors if n <= 1_000]
    use(1)
    print(f"torch {importlib.metadata.version('torch')}; microseconds a sensor\n")
    print(f"| model | dtype | threads | {' | '.join(f'{n:,}' for n in chosen.sensors)} |")
    print("|---" * (3 + len(chosen.sensors)) + "|")
    data = simulate(
        "lotka_volterra",
        n=600,
        times=np.linspace(0.0, 20.0, 32),
        noise=0.05,
        seed=0,
        progress=False,
    )
    trained = list(models(data))
    for threads in chosen.threads:
        use(threads)
        for name, model in trained:
            for dtype in DTYPES[: 1 if "regression" in name else 2]:
                found = (
                    1e6 * time_of_a_step(model, n, chosen.steps, dtype) / n for n in chosen.sensors
                )
                row = " | ".join(f"{value:.3g}" for value in found)
                kind = str(dtype).removeprefix("torch.")
                print(f"| {name} | {kind} | {threads} | {row} |", flush=True)


if __name__ == "__main__":
    main()
