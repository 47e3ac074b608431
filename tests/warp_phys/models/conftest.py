from __future__ import annotations

import pytest
import xarray as xr

import warp_phys as wp
from tests.warp_phys.models.uneven_records import SMALL, records


@pytest.fixture(scope="module")
def training() -> tuple[xr.Dataset, xr.Dataset]:
    return records(200, 1, ragged=True), records(110, 2, ragged=True)


@pytest.fixture(scope="module")
def trained(training: tuple[xr.Dataset, xr.Dataset]) -> wp.WarpPhys:
    """One model for what does not depend on its parts; tests must leave it as it is."""
    built = wp.WarpPhys("lotka_volterra", **SMALL)
    wp.train(built, *training, steps=5, progress=False)
    return built
