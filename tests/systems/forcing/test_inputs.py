"""Tables of inputs, read at any times."""

import numpy as np
import pytest
import torch

from tests.systems.problems import Driven, Held
from warp_phys.systems import System
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.forcing.schedule import build_schedule

KNOTS = torch.tensor([0.0, 1.0, 1.5, 4.0], dtype=torch.float64)
TIMES = torch.tensor([-1.0, 0.0, 0.3, 1.0, 1.4, 3.0, 4.0, 9.0], dtype=torch.float64)
VALUES = torch.tensor([[1.0, -2.0, 5.0, 3.0], [0.5, 0.0, 2.0, 7.0]], dtype=torch.float64)[..., None]


def test_linear_between_the_knots_and_constant_outside() -> None:
    found = InputTable(KNOTS.expand(2, -1), VALUES).at(Driven(), TIMES.expand(2, -1))
    for row in range(2):
        expected = np.interp(TIMES, KNOTS, VALUES[row, :, 0])
        np.testing.assert_allclose(found[row, :, 0], expected, rtol=1e-15)


@pytest.mark.parametrize("system", [Driven(), Held()])
def test_shared_rows_give_the_bits_of_own_rows(system: System) -> None:
    shared = InputTable(KNOTS.expand(2, -1), VALUES).at(system, TIMES.expand(2, -1))
    own = InputTable(KNOTS.repeat(2, 1), VALUES).at(system, TIMES.repeat(2, 1))
    assert torch.equal(shared, own)


def test_padding_of_table_and_times() -> None:
    knots = KNOTS.repeat(2, 1)
    knots[1, 2:] = torch.nan
    times = TIMES.repeat(2, 1)
    times[0, -1] = torch.nan
    found = InputTable(knots, VALUES).at(Held(), times)[..., 0]
    assert found[0, -1].isnan()
    assert found[1].tolist() == [0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("system", [Driven(), Held()])
def test_an_integrator_meets_the_same_inputs(system: System) -> None:
    table = InputTable(KNOTS.repeat(2, 1), VALUES)
    schedule = build_schedule(system, table, None)
    assert schedule is not None
    for time in (-0.5, 0.25, 1.2, 2.0, 5.0):
        piece = (schedule.stops <= time).sum(dim=1)
        drive = schedule.drive(piece)
        assert drive is not None
        at = torch.full((2,), time, dtype=torch.float64)
        torch.testing.assert_close(drive.at(at).T, table.at(system, at[:, None])[:, 0])
