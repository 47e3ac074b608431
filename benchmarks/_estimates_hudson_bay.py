"""The Hudson Bay counts without training, beside the published posterior."""

from __future__ import annotations

import math
import runpy
import time
from pathlib import Path

import xarray as xr

import warp_phys as wp
from warp_phys.systems import LotkaVolterra

EXAMPLE = Path(__file__).parents[1] / "examples" / "hudson_bay.py"
# Half the width of a normal distribution's central interval of this probability is one sd.
ONE_SD = math.erf(1.0 / math.sqrt(2.0))


def print_hudson_bay() -> None:
    """Print estimates at the last year, and their distance from the published ones."""
    example = runpy.run_path(str(EXAMPLE))
    published = dict(example["PUBLISHED"])
    published |= {f"{name}(0)": value for name, value in example["PUBLISHED_STATES"].items()}
    model = wp.WarpPhys(LotkaVolterra(), priors=example["PRIORS"], distribution="lognormal")
    record = wp.read_trajectories(example["RECORD"])
    begun = time.process_time()
    found = wp.estimate(model, record, level=ONE_SD, progress=False).isel(trajectory=0)
    seconds = time.process_time() - begun
    last = found.isel(time=-1, missing_dims="ignore")
    print(f"\nHudson Bay, published priors, no training, {seconds:.2f} s of processor time\n")
    print("| unknown | estimate | sd | published (sd) | off by, published sd | sd ratio |")
    print("|---" * 6 + "|")
    for name, (mean, sd) in published.items():
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
