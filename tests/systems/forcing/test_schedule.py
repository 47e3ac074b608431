"""Schedules: pieces of inputs between knots, and what jumps at each stop."""

import torch

from tests.systems.problems import Driven
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.forcing.inputs import InputTable
from warp_phys.systems.forcing.schedule import build_schedule


def test_pieces_between_knots_and_doses() -> None:
    infinite = torch.inf
    system = Driven()
    table = InputTable(
        torch.tensor([[0.0, 2.0], [1.0, torch.nan]]),
        torch.tensor([[[1.0], [5.0]], [[3.0], [torch.nan]]]),
    )
    doses = Doses(
        system.state_names, torch.tensor([[7.0], [2.0]]), torch.tensor([[1.0], [torch.nan]])
    )
    schedule = build_schedule(system, table, doses)
    assert schedule is not None
    assert schedule.stops.tolist() == [[0.0, 1.0, 2.0], [1.0, infinite, infinite]]
    assert schedule.jumps is not None
    assert schedule.jumps.tolist() == [[[0.0, 7.0, 0.0], [0.0, 0.0, 0.0]]]

    def push(piece: int, t: float) -> list[float]:
        drive = schedule.drive(torch.full((2,), piece))
        assert drive is not None
        return drive.at(torch.full((2,), t))[0].tolist()

    assert push(0, -1.0) == [1.0, 3.0]
    assert push(1, 0.5) == [2.0, 3.0]
    assert push(2, 1.5) == [4.0, 3.0]
    assert push(3, 9.0) == [5.0, 3.0]
    assert schedule.stop(torch.tensor([3, 3])).tolist() == [infinite] * 2
    assert build_schedule(system, None, None) is None
