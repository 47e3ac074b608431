"""Data sets that plots draw, and figures closed after every test."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

import warp_phys as wp
from tests.warp_phys.results.drawings import TIMES
from warp_phys.data_gen import simulate
from warp_phys.systems.schema.labels import labeled, stamp

mpl.use("Agg")


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def predators() -> xr.Dataset:
    return simulate("lotka_volterra", n=3, times=TIMES, noise=0.1, missing=0.1, seed=0)


@pytest.fixture(scope="module")
def springs() -> xr.Dataset:
    return simulate("mass_spring_damper", n=2, times=TIMES, seed=0)


@pytest.fixture(scope="module")
def ragged() -> xr.Dataset:
    times = np.tile(TIMES, (2, 1))
    times[0, 20:] = np.nan
    return simulate("pendulum", n=2, times=times, noise=0.05, seed=0)


@pytest.fixture(scope="module")
def estimated(predators) -> xr.Dataset:
    """An estimate whose values and bands are known; delta counts as known beforehand."""
    shape = (*predators.observed.shape[:2], 4)
    values = np.broadcast_to(predators.true_parameters.values[:, None], shape).copy()
    values *= 1.0 + 0.1 / np.arange(1, shape[1] + 1)[:, None]
    values[..., 3] = 0.02
    width = np.where(np.arange(4) == 3, 0.0, 0.2) * values
    dataset = labeled(
        {
            "parameters": values,
            "parameters_lower": values - width,
            "parameters_upper": values + width,
            "predicted": predators.noiseless.values,
        },
        predators.drop_dims("state").coords.variables,
    )
    return stamp(dataset, title="estimates").assign_attrs(band_level=0.9)


@pytest.fixture(scope="module")
def ahead(predators) -> xr.Dataset:
    """A forecast with both bands."""
    curve = predators.noiseless.values
    dataset = labeled(
        {
            "predicted": curve,
            "predicted_lower": 0.8 * curve,
            "predicted_upper": 1.2 * curve,
            "observed_lower": xr.Variable(predators.noiseless.dims, 0.6 * curve),
            "observed_upper": xr.Variable(predators.noiseless.dims, 1.4 * curve),
        },
        predators.drop_dims(["state", "parameter"]).coords.variables,
    )
    return stamp(dataset, title="forecast").assign_attrs(band_level=0.8)


@pytest.fixture(scope="module")
def waves() -> xr.Dataset:
    """Estimates without training; the phase of the second record leaps at 6 s."""
    data = simulate("sine", n=2, times=np.arange(0.0, 12.0, 0.1), noise=0.02, seed=0)
    data["observed"].values[1, 60:] = np.roll(data["observed"].values[1], 3, axis=0)[60:]
    return wp.estimate(wp.WarpPhys("sine"), data)
