"""The Hudson Bay counts without training, beside the published posterior."""

from __future__ import annotations

import math
import time
from pathlib import Path

import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_normal, truncated_normal
from warp_phys.systems import LotkaVolterra

RECORD = Path(__file__).parents[1] / "examples" / "data" / "hudson_bay.csv"
# Means and standard deviations of the reference posterior: posteriordb, hudson_lynx_hare.
PUBLISHED = {
    "alpha": (0.547, 0.063),
    "beta": (0.0277, 0.0042),
    "gamma": (0.800, 0.089),
    "delta": (0.0241, 0.0035),
    "prey(0)": (34.0, 2.9),
    "predator(0)": (5.94, 0.53),
}
# Of Carpenter's case study (2018).
PRIORS = {
    "alpha": truncated_normal(1.0, 0.5),
    "beta": truncated_normal(0.05, 0.05),
    "gamma": truncated_normal(1.0, 0.5),
    "delta": truncated_normal(0.05, 0.05),
    "prey(0)": log_normal(10.0, 1.0),
    "predator(0)": log_normal(10.0, 1.0),
}
# Half the width of a normal distribution's central interval of this probability is one sd.
ONE_SD = math.erf(1.0 / math.sqrt(2.0))


def print_hudson_bay() -> None:
    """Print estimates at the last year, and their distance from the published ones."""
    model = wp.WarpPhys(LotkaVolterra(), priors=PRIORS, distribution="lognormal")
    record = wp.read_trajectories(RECORD)
    begun = time.process_time()
    found = wp.estimate(model, record, level=ONE_SD, progress=False).isel(trajectory=0)
    seconds = time.process_time() - begun
    last = found.isel(time=-1, missing_dims="ignore")
    print(f"\nHudson Bay, published priors, no training, {seconds:.2f} s of processor time\n")
    print("| unknown | estimate | sd | published (sd) | off by, published sd | sd ratio |")
    print("|---" * 6 + "|")
    for name, (mean, sd) in PUBLISHED.items():
        value, lower, upper = (_value(last, name, end) for end in ("", "_lower", "_upper"))
        own = 0.5 * (upper - lower)
        print(
            f"| {name} | {value:.4g} | {own:.3g} | {mean:g} ({sd:g}) | {(value - mean) / sd:+.2f} "
            f"| {own / sd:.2f} |"
        )


def _value(last: xr.Dataset, name: str, end: str) -> float:
    if name.endswith("(0)"):
        return float(last[f"initial_state{end}"].sel(state=name.removesuffix("(0)")))
    return float(last[f"parameters{end}"].sel(parameter=name))
