"""Doses in data sets: what is written is read back."""

import torch

from warp_phys.systems import get_system
from warp_phys.systems.forcing.dataset import dose_variables, read_doses
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.schema.labels import labeled, time_coords, trajectory_coords


def test_doses_come_back_as_they_were_written() -> None:
    system = get_system("lotka_volterra")
    amounts = torch.tensor([[1.0, -2.0], [3.0, 4.0]], dtype=torch.float64)
    times = torch.tensor([[0.5, torch.nan], [0.0, 2.0]], dtype=torch.float64)
    doses = Doses(("predator", "prey"), amounts, times)
    variables, coordinates = dose_variables(system, doses)
    grid = trajectory_coords(2) | time_coords(system, [0.0, 1.0])
    dataset = labeled(variables, grid | coordinates)
    assert dataset.dose_time.attrs["units"] == system.time_unit
    found = read_doses(dataset, system, (0, 1))
    assert found is not None
    assert found.states == doses.states
    torch.testing.assert_close(found.amounts, amounts)
    torch.testing.assert_close(found.times, times, equal_nan=True)
