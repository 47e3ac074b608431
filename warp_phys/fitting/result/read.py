"""Reading of data sets that `fit` returned: recognition, noise model, flags and status."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from warp_phys.systems.errors import SchemaError
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.registry import noise_of

_MARKS = ("parameters", "initial_state", "information", "estimated_kind", "status")


def is_fit(dataset: Any) -> bool:
    """Return whether an object is a result of `fit`, or one trajectory of it."""
    return isinstance(dataset, xr.Dataset) and all(name in dataset.variables for name in _MARKS)


def as_fit(dataset: Any) -> xr.Dataset:
    """Return a result of `fit` with a dimension of trajectories.

    Raises:
        SchemaError: The object is not a result of `fit`.
    """
    if not is_fit(dataset):
        raise SchemaError(
            f"expected what fit(...) returned, got {_described(dataset)}; fit(system, data) makes "
            "one"
        )
    fitted: xr.Dataset = dataset
    if "trajectory" in fitted.dims:
        return fitted
    # One trajectory, selected with isel(trajectory=0); `fixed` never had the dimension.
    batch = fitted.drop_vars("fixed").expand_dims("trajectory").assign(fixed=fitted["fixed"])
    if "sample" in fitted["time"].dims:
        batch = batch.assign_coords(time=fitted["time"].expand_dims("trajectory"))
    return batch


def flags(variable: xr.DataArray) -> dict[int, str]:
    """Return the codes or bits of a CF flag variable, each with its meaning."""
    codes = variable.attrs.get("flag_masks", variable.attrs.get("flag_values", []))
    words = str(variable.attrs.get("flag_meanings", "")).split()
    return {
        int(code): word.replace("_", " ")
        for code, word in zip(np.atleast_1d(codes).tolist(), words, strict=True)
    }


def noise_model(fitted: xr.Dataset) -> Noise:
    """Return the noise model of a fit or an estimate."""
    return noise_of(fitted.attrs)


def converged(fitted: xr.Dataset) -> NDArray[np.bool_]:
    """Return (N,), which fits have converged."""
    return np.asarray(fitted["status"].values == 0)


def _described(dataset: Any) -> str:
    if not isinstance(dataset, xr.Dataset):
        return type(dataset).__name__
    names = ", ".join(map(str, dataset.data_vars))
    return f"a data set with the variables {names or 'none'}"
