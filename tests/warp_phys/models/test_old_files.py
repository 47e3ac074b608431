"""Files of models that earlier versions wrote: they load and estimate what they did.

Written by version 0.1.0 before heads, drives and structures had files of their own; one of them
holds a setting (`forgetting`) that its head never used.
"""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate

FOLDER = Path(__file__).parents[2] / "data" / "models_of_schema_1"
NAMES = sorted(path.stem for path in FOLDER.glob("*_*.safetensors"))


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(FOLDER / "expected.npz") as table:
        return dict(table)


@pytest.fixture(scope="module")
def record(expected: dict[str, np.ndarray]) -> xr.Dataset:
    data = simulate("sine", n=2, times=expected["times"], seed=0)
    return data.assign(observed=data.observed.copy(data=expected["observed"]))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("warp")])
def test_estimates_are_what_they_were(
    name: str, expected: dict[str, np.ndarray], record: xr.Dataset
) -> None:
    model = wp.WarpPhys.load(FOLDER / f"{name}.safetensors")
    for part in (model.settings.head, model.settings.drive, model.settings.structure):
        assert part in name
    found = wp.estimate(model, record).parameters
    np.testing.assert_allclose(found, expected[name], rtol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("warp")])
def test_forecasts_of_warp_are_what_they_were(
    name: str, expected: dict[str, np.ndarray], record: xr.Dataset
) -> None:
    model = wp.Warp.load(FOLDER / f"{name}.safetensors")
    assert name.endswith(model.settings.structure)
    found = wp.forecast(model, [1.0, 1.5], data=record).predicted
    np.testing.assert_allclose(found, expected[name], rtol=1e-12)
