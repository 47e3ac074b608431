"""A thousand pendulums fitted in one call: only the angle is seen, each with noise of its own.

Are the errors what the standard errors say? And what becomes of records that tell nothing?

python examples/fit_many.py [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_uniform, simulate
from warp_phys.systems import Pendulum

TIMES = np.linspace(0.0, 5.0, 101)
SHORT, SILENT, DRIFTING = 3, 4, 5
NAMES = ("length", "damping")


def simulate_records(n: int) -> xr.Dataset:
    """Return angles of n pendulums; three of the records are spoiled."""
    data = simulate(
        Pendulum(),
        n=n,
        times=TIMES,
        initial_states={"angle": (0.3, 1.5), "angular_velocity": (-1.0, 1.0)},
        observe=["angle"],
        noise={"angle": log_uniform(0.003, 0.1)},  # rad, a level of its own for each
        seed=1,
    )
    observed = data["observed"].values
    observed[SHORT, 3:] = np.nan
    observed[SILENT] = np.nan
    observed[DRIFTING, :, 0] += 0.3 * TIMES
    return data


def with_error(one: xr.Dataset, name: str) -> str:
    """Return a parameter and its standard error as text."""
    value, error = (
        float(one[key].sel(parameter=name)) for key in ("parameters", "standard_errors")
    )
    return f"{value:.4f} +/- {error:.4f}" if np.isfinite(value) else "not fitted"


def print_some(fitted: xr.Dataset, data: xr.Dataset, rows: range) -> None:
    """Print fits of some trajectories beside the truth."""
    meanings = fitted["status"].attrs["flag_meanings"].split()
    print("trajectory   length (m)             true     damping (1/s)          true     status")
    for row in rows:
        one, truth = fitted.isel(trajectory=row), data["true_parameters"].isel(trajectory=row)
        parts = [
            f"{with_error(one, name):<20}   {float(truth.sel(parameter=name)):.4f}"
            for name in NAMES
        ]
        status = meanings[int(one["status"])].replace("_", " ")
        misfit = ", misfit" if int(one["misfit"]) else ""
        print(f"{row:10d}   {'   '.join(parts)}   {status}{misfit}")


def print_limit(fitted: xr.Dataset, data: xr.Dataset) -> None:
    """Print how large the errors are in standard errors, and how often the intervals hold."""
    sound = fitted.isel(
        trajectory=np.flatnonzero((fitted["status"] == 0) & (fitted["misfit"] == 0))
    )
    truth = data["true_parameters"].sel(trajectory=sound["trajectory"])
    score = (sound["parameters"] - truth) / sound["standard_errors"]
    inside = (sound["parameters_lower"] <= truth) & (truth <= sound["parameters_upper"])
    print(f"\n{sound.sizes['trajectory']} that converged, without misfit:")
    print("parameter   median relative error   error / standard error (rms)   in the 95 % interval")
    for name in NAMES:
        at = {"parameter": name}
        error = float(abs(sound["parameters"] / truth - 1.0).sel(at).median())
        rms = float(np.sqrt((score.sel(at) ** 2).mean()))
        print(f"{name:<9}   {error:<21.2%}   {rms:<28.2f}   {float(inside.sel(at).mean()):.1%}")


def main(arguments: list[str] | None = None) -> None:
    """Simulate, fit and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer pendulums")
    n = 100 if parser.parse_args(arguments).quick else 1_000

    data = simulate_records(n)
    started = time.perf_counter()
    fitted = wp.fit(Pendulum(), data)
    seconds = time.perf_counter() - started
    print_some(fitted, data, range(8))
    print_limit(fitted, data)
    print(f"\n{n} fits of {len(TIMES)} samples in {seconds:.1f} s, compiling included\n")
    print(wp.summary(fitted))


if __name__ == "__main__":
    main()
