"""Twins of systems in which doses are parameters."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from tests.systems.dosing_systems import DOSES, GIVEN, Infused, Late, infused, late
from warp_phys.systems import Dose, integrate
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.dosing import plain_doses, with_dosing

TIMES = np.linspace(0.0, 24.0, 33)


def doses(dtype: torch.dtype = torch.float64) -> Doses:
    times, amounts = zip(*DOSES, strict=True)
    return Doses(
        ("amount",) * 3,
        torch.tensor([amounts, amounts], dtype=dtype),
        torch.tensor([times, (0.0, np.nan, np.nan)], dtype=dtype),
    )


def test_a_twin_has_the_doses_as_parameters() -> None:
    system = Infused()
    dosed = with_dosing(system, doses())
    assert dosed is not None
    assert dosed.plain is None
    assert dosed.system.parameter_names[:4] == system.parameter_names
    assert len(dosed.system.parameters) == 4 + dosed.columns.shape[1] == 10
    assert dosed.columns[0].tolist() == [0.0, 100.0, 1.0, 50.0, 8.0, 120.0]
    assert dosed.columns[1, 3] == 0.0  # a dose that is not given adds nothing
    assert dosed.columns.isfinite().all()
    again = with_dosing(system, doses())
    assert again is not None
    assert again.system is dosed.system  # traced and compiled once
    assert not system.events
    pickle.loads(pickle.dumps(system))


def test_other_doses_stay_as_they_are() -> None:
    assert with_dosing(Late(), None) is None
    mixed = Doses(("gut", "amount"), torch.ones(1, 2), torch.zeros(1, 2))
    rest = plain_doses(Late(), mixed)
    assert rest is not None
    assert rest.states == ("gut",)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_integrate_gives_the_closed_form(dtype: torch.dtype) -> None:
    values = (0.2, 0.7)
    found = integrate(
        Late(),
        torch.tensor(TIMES, dtype=dtype),
        torch.zeros(1, 1, dtype=dtype),
        torch.tensor([values], dtype=dtype),
        doses=[*GIVEN, Dose("amount", 1.0, np.nan)],
        rtol=1e-5,
    )
    assert found.converged.all()
    np.testing.assert_allclose(found.states[0, :, 0], late(TIMES, values), rtol=1e-3, atol=1e-3)


def test_integrate_infuses() -> None:
    values = (0.2, 0.7, 2.5, 0.6)
    found = integrate(Infused(), TIMES, [[0.0]], [values], doses=GIVEN)
    np.testing.assert_allclose(found.states[0, :, 0], infused(TIMES, values), atol=1e-6)
