"""Time of `linear_recurrence` on a GPU, forwards and with gradients, against the copy bandwidth.

Float32. Every way must first give the states and the gradients of a float64 scan, on the first and
last sequences and lanes of the problem. A time is the median of warm calls between CUDA events. The
share of the copy bandwidth is that of the time which a copy, measured in the same run, takes for
what must be moved: forwards one write of all states, backwards one read of them and of their
gradient. The step loop is mode "recurrent"; accelerated-scan (float32, states as (N, D, T)) gets
gates and drive made by PyTorch, as a user would.

Usage: python benchmarks/recurrence_gpu.py [--repeats 20] [--rows 0 1 ...] [--write]
`--write` puts the table into README.md beside this file. Without a GPU the table is empty.
Peer, if wanted: pip install accelerated-scan
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
from collections.abc import Callable
from pathlib import Path

import torch
from _recurrence_gpu_rows import ROWS, Row, Way, problem, ways
from torch import Tensor

import warp_phys as wp

BEGIN, END = "<!-- recurrence_gpu: begin -->", "<!-- recurrence_gpu: end -->"
UNKNOWN = "not yet measured"
# Of the largest entry: sums of many float32 terms in another order.
AGREEMENT = 2e-4


def check(row: Row, name: str, way: Way, leaves: list[Tensor]) -> None:
    """Refuse a way that computes something else than a float64 scan does."""
    batch, _, size, _ = row.shape
    some = sorted({0, batch - 1})
    lanes = list(range(size)) if row.dense or size <= 16 else [*range(8), *range(size - 8, size)]
    A, B, inputs, initial = (leaf.detach().double() for leaf in leaves)
    chosen = (A if row.dense else A[lanes], B[lanes], inputs[some], initial[some][:, lanes])
    small = [leaf.requires_grad_(row.backward) for leaf in chosen]
    expected = wp.linear_recurrence(*small, mode="scan")
    states = way(*leaves)
    pairs = [(states[..., lanes][some], expected)]
    if row.backward:
        # No other state has a weight, hence no other entry a gradient.
        of_some = torch.randn_like(expected)
        weights = torch.zeros_like(states)
        for number, sequence in enumerate(some):
            weights[sequence, :, lanes] = of_some[number].to(weights.dtype)
        found = torch.autograd.grad(states, leaves, weights)
        of_a = found[0] if row.dense else found[0][lanes]
        parts = (of_a, found[1][lanes], found[2][some], found[3][some][:, lanes])
        gradients = torch.autograd.grad(expected, small, of_some)
        pairs += list(zip(parts, gradients, strict=True))
    for number, (one, other) in enumerate(pairs):
        error = ((one - other).abs().max() / other.abs().max()).item()
        if not error < AGREEMENT:
            raise SystemExit(f"{row.name}, {name}: result {number} differs by {error:.1e}")


def seconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of a warm call on the GPU."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        begun, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begun.record()
        call()
        ended.record()
        ended.synchronize()
        times.append(begun.elapsed_time(ended) / 1e3)
    return sorted(times)[len(times) // 2]


def copy_bandwidth(repeats: int) -> float:
    """Return the bytes a second, read and written, of copying 1 GiB."""
    source = torch.zeros(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source), repeats)


def measure(row: Row, way: Way, leaves: list[Tensor], repeats: int) -> tuple[float, float | None]:
    """Return the time of the states, and of them with all gradients."""
    with torch.no_grad():
        forward = seconds(lambda: way(*leaves), repeats)
        weights = torch.ones_like(way(*leaves)) if row.backward else None
    if weights is None:
        return forward, None
    return forward, seconds(lambda: torch.autograd.grad(way(*leaves), leaves, weights), repeats)


def cells(row: Row, bandwidth: float, repeats: int) -> list[str]:
    """Return what was measured of one row: ours, its share, the peers."""
    leaves = problem(row)
    batch, length, size, _ = row.shape
    texts, share = {}, ""
    for name, way in ways(row).items():
        try:
            check(row, name, way, leaves)
            times = [t for t in measure(row, way, leaves, repeats) if t is not None]
        except torch.OutOfMemoryError:
            times = []
        texts[name] = ", ".join(f"{1e6 * t:,.0f} us" for t in times) or "out of memory"
        if name == "ours":
            floor = 4 * batch * length * size / bandwidth
            share = ", ".join(f"{n * floor / t:.0%}" for n, t in zip((1, 3), times, strict=False))
    peers = [texts.get(name, "-") for name in ("step loop", "accelerated-scan")]
    return [texts["ours"], share, *peers]


def table(rows: list[Row], repeats: int) -> str:
    """Return the table, of unknown times where there is no GPU."""
    lines = [f"Device: {UNKNOWN}."]
    bandwidth = None
    if torch.cuda.is_available():
        names = [name for name in ("torch", "triton", "accelerated_scan") if installed(name)]
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
        bandwidth = copy_bandwidth(repeats)
        device = torch.cuda.get_device_name()
        lines = [f"Device: {device}, copy {bandwidth / 1e12:.2f} TB/s; {versions}."]
    header = ("A, (N, T, D, d)", "ours", "of copy bandwidth", "step loop", "accelerated-scan")
    lines += ["", f"| {' | '.join(header)} | wanted |", "|---" * (len(header) + 1) + "|"]
    for row in rows:
        found = [UNKNOWN] * 4 if bandwidth is None else cells(row, bandwidth, repeats)
        lines.append(f"| {row.name} | {' | '.join(found)} | {row.wanted} |")
    return "\n".join(lines)


def installed(name: str) -> bool:
    """Whether a package can be imported."""
    return importlib.util.find_spec(name) is not None


def main() -> None:
    """Measure the rows asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--rows", type=int, nargs="*", default=list(range(len(ROWS))))
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    chosen = parser.parse_args()
    text = table([ROWS[number] for number in chosen.rows], chosen.repeats)
    print(text)
    if chosen.write and torch.cuda.is_available():
        readme = Path(__file__).with_name("README.md")
        before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
