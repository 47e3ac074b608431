"""How time and memory of `fit` grow with the number of trajectories.

Two cases: Lotka-Volterra records of 100 samples, each fitted on its own from a start 10 % off, and
pendulums of known length that share the acceleration of gravity (one group, tied by an arrow of
normal equations). Every size runs in a process of its own on one thread; memory is the process's
peak, data set and result included, and how much the fit added to the peak before it.

Usage: python benchmarks/fit_scaling.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time

CASES = {"own": (1_000, 10_000, 100_000), "shared": (100, 1_000, 10_000)}


def main() -> None:
    """Measure and print a table."""
    options = _options()
    if options.case:
        print(json.dumps(measure(options.case, options.n)))
        return
    print("| unknowns | trajectories | fit (s) | for each (us) | peak (GB) | of it the fit (GB) |")
    print("|---|---|---|---|---|---|")
    for case, sizes in CASES.items():
        for n in (200,) if options.quick else sizes:
            row = _in_process(case, n)
            print(
                f"| {case} | {n:,} | {row['seconds']:.2f} | {1e6 * row['seconds'] / n:.0f} "
                f"| {row['peak']:.2f} | {row['added']:.2f} |",
                flush=True,
            )


def measure(case: str, n: int) -> dict[str, float]:
    """Fit n trajectories, a second time after a small warm call; return seconds and memory."""
    import numpy as np
    import torch

    import warp_phys as wp
    from warp_phys.data_gen import simulate
    from warp_phys.systems import LotkaVolterra, Pendulum, System

    torch.set_num_threads(1)
    system: System
    if case == "own":
        system = LotkaVolterra(
            alpha=(0.5, 1.5), beta=(0.3, 1.0), gamma=(0.5, 1.5), delta=(0.3, 1.0)
        )
        data = simulate(
            system,
            n=n,
            times=np.linspace(0.0, 10.0, 100),
            initial_states={"prey": (0.5, 2.0), "predator": (0.5, 2.0)},
            noise=0.02,
            seed=0,
            progress=False,
        )
        settings = {"initial": 1.1 * data["true_parameters"], "noise_sd": "common"}
    else:
        system = Pendulum(g=(1.0, 30.0))
        data = simulate(
            system,
            n=n,
            times=np.linspace(0.0, 5.0, 60),
            parameters={"g": 9.7},
            observe=["angle"],
            noise=0.05,
            seed=0,
            progress=False,
        )
        length = data["true_parameters"].sel(parameter="length").values
        settings = {"initial": {"g": 12.0}, "shared": ["g"], "fixed": {"length": length}}
    warm = dict(settings)
    few = data.isel(trajectory=slice(0, 8))
    if case == "shared":
        warm["fixed"] = {"length": length[:8]}
    wp.fit(system, few, progress=False, **warm)
    before = _peak()
    begin = time.perf_counter()
    found = wp.fit(system, data, progress=False, **settings)
    seconds = time.perf_counter() - begin
    if not bool((found["status"] == 0).mean() > 0.995):
        raise SystemExit(f"expected 99.5 % of the fits converged, got {found['status'].values}")
    return {"seconds": seconds, "peak": _peak(), "added": _peak() - before}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _in_process(case: str, n: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--case", case, "--n", str(n)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a few trajectories, in seconds")
    parser.add_argument("--case", choices=sorted(CASES), help="measure one case, as JSON")
    parser.add_argument("--n", type=int, default=1_000, help="trajectories of that case")
    return parser.parse_args()


if __name__ == "__main__":
    main()
