"""What free vibration tells of a mass on a spring: k/m and c/m, never m, k and c apart.

The direct head learns it from simulated records; the regression head needs no training.

Usage: python examples/mass_spring_damper.py [--quick]
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import MassSpringDamper

TIMES = np.linspace(0.0, 1.0, 65)
NAMES = ("k/m", "c/m")


def ratios(parameters: xr.DataArray) -> xr.DataArray:
    """Return k/m and c/m of parameters (..., parameter)."""
    mass = parameters.sel(parameter="m", drop=True)
    parts = [parameters.sel(parameter=name, drop=True) / mass for name in ("k", "c")]
    return xr.concat(parts, dim="ratio")


def report(title: str, error: xr.DataArray) -> None:
    """Print the median relative error of both ratios at the last sample."""
    medians = error.isel(time=-1).median("trajectory").values
    print(f"{title:<42}", *(f"{n} {m:.1e}   " for n, m in zip(NAMES, medians, strict=True)))


def main(arguments: list[str] | None = None) -> None:
    """Train on simulated vibrations and test on others, with and without noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few records, short training")
    quick = parser.parse_args(arguments).quick
    system = MassSpringDamper()

    print("median relative error from 65 samples")
    for noise in (0.0, 0.02):
        data, test = (
            simulate(system, n=n, times=TIMES, noise=noise, seed=seed)
            for n, seed in ((1_000 if quick else 20_000, 1), (500, 2))
        )
        truth = ratios(test["true_parameters"])

        regression = wp.estimate(wp.WarpPhys(system, head="regression"), test)
        found = regression["coordinates"].rename(coordinate="ratio").drop_vars("ratio")
        report(f"regression head, {noise:.0%} noise", abs(found / truth - 1.0))

        model = wp.WarpPhys(system, head="direct")
        wp.train(model, data, steps=40 if quick else 2_000, time_budget=110)
        estimated = wp.estimate(model, test)
        report(
            f"direct head, {noise:.0%} noise", abs(ratios(estimated["parameters"]) / truth - 1.0)
        )

    known = MassSpringDamper(m=0.03)
    data = simulate(known, n=3, times=TIMES, seed=3)
    found = wp.estimate(wp.WarpPhys(known, head="regression"), data)
    print("\nwith the mass known, k and c follow (regression head; N/m and N s/m):")
    for row in range(3):
        at = {"trajectory": row, "parameter": ["k", "c"]}
        estimate, truth = found["parameters"].isel(time=-1).sel(at), data["true_parameters"].sel(at)
        print(f"  estimate {estimate.values.round(6)}   truth {truth.values.round(6)}")


if __name__ == "__main__":
    main()
