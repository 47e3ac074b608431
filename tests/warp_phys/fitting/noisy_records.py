"""Lotka-Volterra records with log-normal noise, each with levels of its own."""

from __future__ import annotations

import numpy as np
import xarray as xr

from warp_phys.data_gen import log_normal, simulate

TIMES = np.linspace(0.0, 8.0, 17)


def noisy_records(n: int, seed: int) -> xr.Dataset:
    noise = {"prey": log_normal(0.1, 0.3), "predator": log_normal(0.1, 0.3)}
    return simulate(
        "lotka_volterra", n=n, times=TIMES, noise=noise, distribution="lognormal", seed=seed
    )
