"""Rounding of `linear_recurrence` in float32 and float64 over long series.

One state driven by normal numbers, A = a, T steps, from a start of 1. The error of each way is the
largest over time against the same recurrence in extended precision, divided by the scale of the
states: for float32 the largest state so far, for float64 |a^t| |theta_0| + sum |a^(t-k)| |B u_k|.

Usage: python benchmarks/recurrence_accuracy.py [--steps 100000]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import warp_phys as wp

VALUES = (0.5, 0.9, 0.999, 1.0, 1.0005, -0.9)
MODES = ("auto", "recurrent", "scan")


def exact(a: float, drive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return states and sum |a^(t-k)| |u_k| in extended precision."""
    state = scale = np.longdouble(1.0)
    states, scales = np.empty(len(drive), np.longdouble), np.empty(len(drive), np.longdouble)
    factor, size = np.longdouble(a), np.longdouble(abs(a))
    for t, u in enumerate(drive.astype(np.longdouble)):
        state = factor * state + u
        scale = size * scale + abs(u)
        states[t], scales[t] = state, scale
    return states, scales


def error(a: float, drive: np.ndarray, mode: str, dtype: torch.dtype) -> float:
    """Return the largest error of a way over the scale of its dtype."""
    value = torch.tensor([a], dtype=dtype)
    inputs = torch.as_tensor(drive, dtype=dtype).view(1, -1, 1)
    one = torch.ones(1, 1, dtype=dtype)
    found = wp.linear_recurrence(value, one, inputs, torch.ones(1, dtype=dtype), mode)
    # Against what float32 makes of a and u: their rounding is the caller's.
    states, scales = exact(float(value), inputs.double().numpy().ravel())
    if dtype == torch.float32:
        scales = np.maximum.accumulate(np.abs(states))
    return float((np.abs(found.numpy().ravel() - states) / scales).max())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100_000)
    drive = np.random.default_rng(0).standard_normal(parser.parse_args().steps)
    print("| way, dtype | " + " | ".join(f"a = {a:g}" for a in VALUES) + " |")
    print("|---|" + "---|" * len(VALUES))
    for dtype in (torch.float32, torch.float64):
        for mode in MODES:
            cells = [f"{error(a, drive, mode, dtype):.0e}" for a in VALUES]
            print(f"| {mode}, {str(dtype).removeprefix('torch.')} | " + " | ".join(cells) + " |")
    series = torch.randn(1, 1_000_001, 5, generator=torch.Generator().manual_seed(0))
    drive = series.diff(dim=1)
    states = wp.linear_recurrence(wp.Identity(5), torch.eye(5), drive, torch.zeros(5))
    truth = drive.double().cumsum(1)
    worst = float((states - truth).abs().max() / truth.abs().max())
    print(f"\nidentity, D = 5, T = 1,000,000, float32: {worst:.1e}")


if __name__ == "__main__":
    main()
