"""The options of `simulate` are those of its signature."""

from dataclasses import fields
from inspect import signature

from warp_phys.data_gen import simulate
from warp_phys.data_gen.making.options import SimulationOptions

DATA = {"system", "n", "times"}
STORAGE = {"output", "shard_size", "executor", "overwrite", "progress"}


def test_every_argument_is_an_option_of_the_data_or_of_their_storage() -> None:
    options = {field.name for field in fields(SimulationOptions)}
    assert set(signature(simulate).parameters) == DATA | STORAGE | options
