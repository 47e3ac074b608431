"""What every head and drive has to do inside a model: train, estimate, stream and be saved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate

TIMES = np.linspace(0.0, 2.0, 8)


def records(count: int, seed: int) -> xr.Dataset:
    return simulate("sine", n=count, times=TIMES, noise=0.05, missing=0.1, seed=seed)


def trained(**choices: Any) -> wp.WarpPhys:
    model = wp.WarpPhys("sine", **choices)
    # Fewer validation records than bands need: their calibration is not what is tested here.
    wp.train(model, records(40, 0), records(40, 1), steps=5, loss="both", progress=False)
    return model


def assert_same_seed_same_bits(**choices: Any) -> None:
    first, second = (trained(**choices).built()[0].state_dict() for _ in range(2))
    for name, value in first.items():
        # The bands' table is NaN.
        assert torch.equal(value.nan_to_num(), second[name].nan_to_num()), name


def assert_stream_equals_estimate(model: wp.WarpPhys) -> None:
    data = records(3, 2)
    batch = wp.estimate(model, data)
    state = model.init_state(3)
    for place, time in enumerate(TIMES):
        state, now = model.step(state, time, data.observed.values[:, place])
        expected = batch.parameters.values[:, place]
        np.testing.assert_allclose(now.parameters, expected, rtol=1e-11, atol=1e-12)


def assert_file_gives_the_same(model: wp.WarpPhys, path: Path, **own: Any) -> None:
    model.save(path)
    again = wp.WarpPhys.load(path, **own)
    assert again.settings == model.settings
    assert repr(again) == repr(model)
    data = records(3, 2)
    xr.testing.assert_equal(wp.estimate(model, data), wp.estimate(again, data))


def subclasses_in(names: Mapping[str, Any], base: type) -> list[Any]:
    """Return the classes of a test module (its `globals()`) that inherit a contract."""
    values = [value for value in names.values() if isinstance(value, type) and value is not base]
    return [value for value in values if issubclass(value, base)]
