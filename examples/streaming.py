"""Parameters as data arrive: a thousand sensors, one sample at a time, in constant memory.

python examples/streaming.py [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra

TIMES = np.linspace(0.0, 20.0, 401)
SENSORS = 1_000


def main(arguments: list[str] | None = None) -> None:
    """Feed noise-free samples to the regression head, which needs no training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer samples")
    count = 101 if parser.parse_args(arguments).quick else len(TIMES)

    system = LotkaVolterra()
    data = simulate(system, n=SENSORS, times=TIMES[:count], seed=1)
    observed, truth = data["observed"].values, data["true_parameters"].values
    model = wp.WarpPhys(system, head="regression")
    state = model.init_state(SENSORS)
    print("samples   median over sensors of the worst parameter's relative error")
    spent = 0.0
    for sample in range(count):
        started = time.perf_counter()
        state, now = model.step(state, np.full(SENSORS, TIMES[sample]), observed[:, sample])
        spent += time.perf_counter() - started
        if sample % 50 == 0 and sample:
            error = np.abs(now.parameters.numpy() / truth - 1.0).max(axis=1)
            print(f"{sample + 1:7d}   {np.median(error):.1e}")
    print(f"{1e6 * spent / count / SENSORS:.1f} microseconds a sample and sensor")


if __name__ == "__main__":
    main()
