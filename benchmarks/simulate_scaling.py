"""How time, disk and memory of `simulate` into a folder grow with the number of trajectories.

Lotka-Volterra trajectories of 100 samples with noise, made in shards of the default size. Every
size runs in a process of its own, after a small warm call; the peak is that process's, and so is
what the run added to the peak before it. Then the set is opened, and a mean taken over all of it.

Usage: python benchmarks/simulate_scaling.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = (10_000, 100_000, 1_000_000)
QUICK = (20_000,)
TARGET = 2.0
"""The peak, in GB, under which a million trajectories are to stay."""


def main() -> None:
    """Measure and print a table."""
    options = _options()
    if options.n:
        print(json.dumps(measure(options.n)))
        return
    print(
        "| trajectories | shards | time (s) | trajectories/s | disk (GB) | peak (GB) "
        "| of it the run (GB) | mean of all (s) | failed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for n in QUICK if options.quick else SIZES:
        row = _in_process(n)
        print(
            f"| {n:,} | {row['shards']:.0f} | {row['seconds']:.1f} | {n / row['seconds']:,.0f} "
            f"| {row['disk']:.2f} | {row['peak']:.2f} | {row['added']:.2f} | {row['mean']:.1f} "
            f"| {row['failed']:.0f} |",
            flush=True,
        )
        if row["peak"] > TARGET:
            raise SystemExit(f"expected a peak below {TARGET} GB, got {row['peak']:.2f} GB")


def measure(n: int) -> dict[str, float]:
    """Make n trajectories in a temporary folder; return seconds, bytes and memory."""
    import numpy as np

    from warp_phys.data_gen import simulate

    options = {"times": np.linspace(0.0, 10.0, 100), "noise": 0.05, "seed": 0, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        simulate("lotka_volterra", 100, **options, output=Path(folder) / "warm", shard_size=50)
        before = _peak()
        begin = time.perf_counter()
        data = simulate("lotka_volterra", n, **options, output=Path(folder) / "set")
        made = time.perf_counter()
        peak = _peak()
        data["noiseless"].mean().compute()
        done = time.perf_counter()
        files = list((Path(folder) / "set").glob("*.nc"))
        failed = int((data["status"] != 0).sum())
        if failed > n / 500:
            raise SystemExit(f"expected 99.8 % of the trajectories converged, {failed} failed")
        return {
            "seconds": made - begin,
            "mean": done - made,
            "failed": failed,
            "shards": len(files),
            "disk": sum(file.stat().st_size for file in files) / 1e9,
            "peak": peak,
            "added": peak - before,
        }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _in_process(n: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--n", str(n)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="20,000 trajectories, in seconds")
    parser.add_argument("--n", type=int, help="measure one size, as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
