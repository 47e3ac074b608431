"""Records that end earlier, and estimates compared with them."""

from __future__ import annotations

import numpy as np
import xarray as xr


def beginning(data: xr.Dataset, samples: int) -> xr.Dataset:
    """Return the first samples of records or of estimates."""
    return data.isel({"sample" if "sample" in data.dims else "time": slice(0, samples)})


def same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Compare estimates to 1e-12 of the largest value of each variable."""
    assert set(found.data_vars) == set(expected.data_vars)
    for name, one in found.data_vars.items():
        other = expected[name].values
        size = np.nanmax(np.abs(other), initial=0.0) if other.dtype.kind == "f" else 0.0
        np.testing.assert_allclose(
            one.values, other, rtol=0.0, atol=1e-12 * size, err_msg=str(name)
        )


def over_time(estimated: xr.Dataset) -> xr.Dataset:
    """Return the variables that each sample has."""
    return estimated.drop_vars(["out_of_range", "changed_at"])
