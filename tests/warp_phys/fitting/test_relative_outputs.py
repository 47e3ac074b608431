"""Relative and logarithmic data: outputs with a scale and an offset for each batch, by SciPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.optimize import least_squares

from tests.warp_phys.fitting.fit_records import CONVERGED, fit
from warp_phys.systems import Output, Parameter, State, System

TIMES = np.linspace(0.0, 5.0, 14)
BATCH = ["a", "a", "b", "b", "c"]
DOSE = np.array([1.0, 2.0, 1.0, 3.0, 2.0])
SCALE = {"a": 3.0, "b": 50.0, "c": 0.2}
OFFSET = {"a": 0.5, "b": 10.0, "c": 0.0}


class Chain(System):
    """A decays to B; a blot shows B on a scale of its own, the logarithm of A is measured."""

    time_unit = "h"
    states = (State("a", "1"), State("b", "1"))
    parameters = (
        Parameter("k1", "1/h", support="positive", range=(0.1, 3.0)),
        Parameter("k2", "1/h", support="positive", range=(0.1, 3.0)),
        Parameter("scale", "1", support="positive", range=(0.1, 100.0)),
        Parameter("offset", "1", range=(0.0, 10.0)),
    )
    outputs = (Output("blot", "1"), Output("log_a", "1"))

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        a, b = y
        return -p.k1 * a, p.k1 * a - p.k2 * b

    def observe(self, t: Any, y: Any, p: Any) -> Any:
        a, b = y
        return p.scale * b + p.offset, torch.log10(a)


class LogChain(Chain):
    """The blot is read on a logarithmic scale, on which an unknown scale is an offset."""

    parameters = Chain.parameters[:3]

    def observe(self, t: Any, y: Any, p: Any) -> Any:
        a, b = y
        return torch.log(p.scale * b), torch.log10(a)


def curves(k1: Any, k2: Any, dose: float) -> tuple[Any, Any]:
    a = dose * np.exp(-k1 * TIMES)
    return a, dose * k1 / (k2 - k1) * (np.exp(-k1 * TIMES) - np.exp(-k2 * TIMES))


def outputs(q: Any, row: int, scale: Any, offset: Any, *, logarithmic: bool) -> Any:
    a, b = curves(q[0], q[1], DOSE[row])
    with np.errstate(divide="ignore"):
        blot = np.log(scale * b) if logarithmic else scale * b + offset
    return np.stack([blot, np.log10(a)], axis=1)


def records(*, logarithmic: bool) -> xr.Dataset:
    draw = np.random.default_rng(0)
    values = []
    for row, batch in enumerate(BATCH):
        exact = outputs([0.7, 1.6], row, SCALE[batch], OFFSET[batch], logarithmic=logarithmic)
        # The level of the noise is known: it is a share of the scale of the blot.
        size = [0.05 if logarithmic else 0.02 * SCALE[batch], 0.03]
        values.append(exact + size * draw.standard_normal(exact.shape))
    observed = np.stack(values)
    if logarithmic:
        observed[:, 0, 0] = np.nan  # there is no B yet
    return xr.Dataset(
        {
            "observed": (("trajectory", "time", "output"), observed),
            "dose": ("trajectory", DOSE),
            "blank": ("trajectory", [np.nan, np.nan, np.nan, np.nan, 0.0]),
            "blot_sd": ("trajectory", [0.02 * SCALE[batch] for batch in BATCH]),
        },
        coords={
            "time": TIMES,
            "output": ["blot", "log_a"],
            "batch": ("trajectory", BATCH),
        },
    )


@pytest.mark.parametrize("logarithmic", [False, True])
def test_one_scale_for_each_batch(logarithmic: bool) -> None:
    data = records(logarithmic=logarithmic)
    system = LogChain() if logarithmic else Chain()
    shared = {"k1": "all", "k2": "all", "scale": "batch"}
    level = 0.05 if logarithmic else data["blot_sd"].values
    options: dict[str, Any] = {"noise_sd": {"blot": level, "log_a": 0.03}}
    if not logarithmic:
        shared["offset"] = "batch"
        options["fixed"] = {"offset": "blank"}
    fitted = fit(system, data, shared=shared, initial_state={"a": "dose", "b": 0.0}, **options)
    assert (fitted["status"] == CONVERGED).all()
    observed = data["observed"].values
    sizes = np.stack([np.broadcast_to(level, 5), np.full(5, 0.03)], axis=1)

    def residual(x: Any) -> Any:
        scale = {"a": x[2], "b": x[3], "c": x[4]}
        offset = {"a": x[-2], "b": x[-1], "c": 0.0}
        parts = [
            (outputs(x, row, scale[batch], offset[batch], logarithmic=logarithmic) - observed[row])
            / sizes[row]
            for row, batch in enumerate(BATCH)
        ]
        together = np.concatenate(parts)
        return together[np.isfinite(together)]

    start = [0.7, 1.6, 3.0, 50.0, 0.2] + ([] if logarithmic else [0.5, 10.0])
    best = least_squares(residual, start, xtol=1e-14, ftol=1e-15, x_scale="jac", jac="3-point")
    errors = np.sqrt(np.linalg.inv(best.jac.T @ best.jac).diagonal())
    for row, batch in enumerate(BATCH):
        place = "abc".index(batch)
        wanted = [0, 1, 2 + place] + ([] if logarithmic or batch == "c" else [5 + place])
        count = len(wanted)
        np.testing.assert_allclose(
            fitted["parameters"].values[row, :count], best.x[wanted], rtol=1e-5
        )
        np.testing.assert_allclose(
            fitted["standard_errors"].values[row, :count], errors[wanted], rtol=1e-3
        )


def test_the_scale_that_nothing_fixes_is_named() -> None:
    """Without a known initial amount, the scale of relative data is not determined."""
    data = records(logarithmic=False)[["observed"]].sel(output=["blot"])
    data = data.assign_coords(batch=("trajectory", BATCH)).isel(trajectory=[0, 1])
    fitted = fit(
        Chain(),
        data,
        shared={"k1": "all", "k2": "all", "scale": "batch", "offset": "batch"},
        initial_state={"b": 0.0},
        bounds={"a": (0.0, None)},
    )
    assert "scale and a(0) are not determined" in str(fitted["undetermined"].values[0])
