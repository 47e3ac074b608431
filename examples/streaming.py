"""Parameters as data arrive: a thousand sensors, one noisy sample at a time, without training.

Usage: python examples/streaming.py [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra

TIMES = np.linspace(0.0, 20.0, 201)
SHOWN = (10, 25, 50, 100, 200)


def main(arguments: list[str] | None = None) -> None:
    """Feed samples with 2 % noise to a model, and compare its estimates with the truth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer sensors")
    sensors = 50 if parser.parse_args(arguments).quick else 1_000

    system = LotkaVolterra()
    data = simulate(system, n=sensors, times=TIMES, noise=0.02, seed=1)
    observed, truth = data["observed"].values, data["true_parameters"].values
    model = wp.WarpPhys(system)
    state = model.init_state(sensors)
    print("samples   median error of the worst parameter   inside the 90 % bands")
    started = time.process_time()
    for sample, now in enumerate(TIMES):
        state, found = model.step(state, now, observed[:, sample])
        if sample in SHOWN:
            error = np.abs(found.parameters.numpy() / truth - 1.0).max(axis=1)
            inside = (found.lower.numpy() <= truth) & (truth <= found.upper.numpy())
            print(f"{sample + 1:7d}   {np.median(error):35.1%}   {inside.mean():21.1%}")
    spent = time.process_time() - started
    print(f"{1e6 * spent / len(TIMES) / sensors:.1f} microseconds a sample and sensor")


if __name__ == "__main__":
    main()
