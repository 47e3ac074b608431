"""Doses with a lag time and a duration in fits: states and derivatives as the closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from tests.systems.dosing_systems import DOSES, Infused, Late, infused, late
from tests.warp_phys.likelihood.engines.predicted_records import blank, predicted
from warp_phys.systems import System
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

TIMES = np.linspace(0.0, 24.0, 33)


def dosed(system: System, n: int = 1) -> xr.Dataset:
    """Return blank records with the doses; the last record has the first dose alone."""
    times = np.tile([time for time, _ in DOSES], (n, 1))
    if n > 1:
        times[-1, 1:] = np.nan
    amounts = np.tile([amount for _, amount in DOSES], (n, 1))
    return blank(
        system,
        TIMES,
        n,
        dose_amount=(("trajectory", "dose"), amounts),
        dose_time=(("trajectory", "dose"), times),
    ).assign_coords(dose_state=("dose", ["amount"] * len(DOSES)))


CASES = [(Infused(), infused, (0.2, 0.7, 2.5, 0.6)), (Late(), late, (0.2, 0.7))]


@pytest.mark.parametrize(("system", "closed", "values"), CASES, ids=["infusion", "bolus"])
def test_doses_arrive_as_in_the_closed_form(
    system: System, closed: Callable[..., Any], values: tuple[float, ...]
) -> None:
    at = torch.tensor(values, dtype=torch.float64)
    found, slopes, status = predicted(system, TIMES, at, dosed(system))
    assert not status.any()
    np.testing.assert_allclose(found[0, :, 0], closed(TIMES, values), atol=1e-8)
    for place, value in enumerate(values):
        step = np.zeros(len(values))
        step[place] = 1e-6 * value
        above, below = (closed(TIMES, np.add(values, sign * step)) for sign in (1.0, -1.0))
        difference = (above - below) / (2.0 * step[place])
        np.testing.assert_allclose(slopes[0, :, 0, place], difference, rtol=1e-6, atol=1e-5)


def test_a_record_may_have_fewer_doses() -> None:
    at = torch.tensor([(0.2, 0.7), (0.3, 1.2)], dtype=torch.float64)
    found, _, _ = predicted(Late(), TIMES, at, dosed(Late(), 2))
    np.testing.assert_allclose(found[0, :, 0], late(TIMES, at[0].tolist()), atol=1e-8)
    first = late(TIMES, at[1].tolist(), DOSES[:1])
    np.testing.assert_allclose(found[1, :, 0], first, atol=1e-8)
    alone = predicted(Late(), TIMES, at[:1], dosed(Late()))[0]
    torch.testing.assert_close(found[:1], alone, rtol=1e-12, atol=1e-12)


def test_a_lag_of_a_whole_interval_shows_the_dose_at_the_sample() -> None:
    at = torch.tensor([0.2, 0.75], dtype=torch.float64)
    found, _, _ = predicted(Late(), TIMES, at, dosed(Late()))
    assert found[0, :2, 0].tolist() == pytest.approx([0.0, 100.0])
