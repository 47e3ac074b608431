"""The schema's declarations agree with each other and with the codes that are written."""

import pytest

from warp_phys.systems import Status
from warp_phys.systems.schema.flags import MISFIT, OUT_OF_RANGE, SimulationStatus
from warp_phys.systems.schema.variables import FITTED, NAMED_DIMENSIONS, QUANTITIES, SIMULATED

UNITS = {"", "1", "time", *NAMED_DIMENSIONS}


def test_codes_of_simulations_are_those_of_integrate() -> None:
    codes = {member.name: int(member) for member in SimulationStatus}
    assert {member.name: int(member) for member in Status}.items() <= codes.items()


@pytest.mark.parametrize("bits", [MISFIT, OUT_OF_RANGE])
def test_bits_can_be_told_apart(bits: dict[int, str]) -> None:
    assert list(bits) == [2**place for place in range(len(bits))]


def test_every_variable_has_a_long_name_dimensions_and_a_known_unit() -> None:
    for quantity in (*QUANTITIES.values(), *SIMULATED.values(), *FITTED.values()):
        assert quantity.long_name
        assert quantity.layouts
        assert quantity.units in UNITS
