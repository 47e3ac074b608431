"""Length and damping of a pendulum of which only the angle is seen, with 2 % noise.

Usage: python examples/pendulum.py [--quick]
"""

from __future__ import annotations

import argparse

import numpy as np

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import Pendulum

TIMES = np.linspace(0.0, 5.0, 51)


def main(arguments: list[str] | None = None) -> None:
    """Estimate from simulated angles, and count errors and bands."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few records")
    n = 100 if parser.parse_args(arguments).quick else 1_000

    data = simulate(Pendulum(), n=n, times=TIMES, noise=0.02, observe=["angle"], seed=2)
    found = wp.estimate(wp.WarpPhys(Pendulum()), data)

    truth = data["true_parameters"]
    error = abs(found["parameters"] / truth - 1.0)
    inside = (found["parameters_lower"] <= truth) & (truth <= found["parameters_upper"])
    print("samples   parameter   median error   inside the 90 % band")
    for sample in (10, 25, 50):
        for name in ("length", "damping"):
            at = {"time": TIMES[sample], "parameter": name}
            print(
                f"{sample + 1:7d}   {name:<9}   {float(error.sel(at).median()):12.2%}   "
                f"{float(inside.sel(at).mean()):.1%}"
            )


if __name__ == "__main__":
    main()
