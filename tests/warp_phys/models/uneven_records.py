"""Records at uneven times with gaps, and the small models that tests train on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from warp_phys.data_gen import log_normal, simulate

LENGTH = 10
SMALL: dict[str, Any] = {"head": "direct", "window": 4, "width": 8}


def uneven(count: int, seed: int) -> np.ndarray:
    random = np.random.Generator(np.random.Philox(key=seed))
    return 1900.0 + np.cumsum(random.uniform(0.2, 1.8, (count, LENGTH)), axis=1)


def records(count: int, seed: int, *, ragged: bool = False) -> xr.Dataset:
    """Return Lotka-Volterra records at uneven times, with gaps and a noise of their own."""
    times = uneven(count, seed)
    if ragged:
        times[::3, 6:] = np.nan
    level = log_normal(0.1, 0.3)
    data = simulate(
        "lotka_volterra",
        n=count,
        times=times,
        noise={"prey": level, "predator": level},
        distribution="lognormal",
        missing=0.2,
        seed=seed,
    )
    data.observed[0, :2] = np.nan  # nothing yet at the first samples
    data.observed[1, :, 0] = np.nan  # one output is never seen
    return data
