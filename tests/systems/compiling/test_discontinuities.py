"""What comparisons change in a right-hand side: its values, its slopes, or nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from warp_phys.systems import HodgkinHuxley, Parameter, State, System
from warp_phys.systems.compiling.discontinuities import Discontinuity
from warp_phys.systems.compiling.switches import switches_of
from warp_phys.systems.compiling.tracing import trace_system


class Leak(System):
    """A tank from which nothing, or something, flows above an edge."""

    states = (State("level", "m"),)
    parameters = (
        Parameter("edge", "m", range=(0.5, 2.0)),
        Parameter("rate", "1/h", range=(0.1, 1.0)),
    )
    default_initial_state = {"level": 1.0}

    def leak(self, above: Tensor) -> Tensor:
        return torch.ones_like(above)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (torch.where(y[0] > p.edge, -p.rate * self.leak(y[0] - p.edge), 0.0),)


class Linear(Leak):
    """A leak that opens without a jump."""

    def leak(self, above: Tensor) -> Tensor:
        return above


class Smooth(Leak):
    """A leak that opens smoothly."""

    def leak(self, above: Tensor) -> Tensor:
        return above**2


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        (Leak(), Discontinuity.JUMP),
        (Linear(), Discontinuity.KINK),
        (Smooth(), Discontinuity.NONE),
        (HodgkinHuxley(), Discontinuity.NONE),
    ],
)
def test_what_changes(system: System, expected: Discontinuity) -> None:
    graph = trace_system(system)
    assert set(graph.discontinuities.values()) == {expected}
    assert bool(switches_of(graph)) == (expected != Discontinuity.NONE)


class Log(Leak):
    """A branch that is not finite on its edge counts as a jump."""

    def leak(self, above: Tensor) -> Tensor:
        return above * torch.log(above)


def test_what_cannot_be_told_is_a_jump() -> None:
    assert set(trace_system(Log()).discontinuities.values()) == {Discontinuity.JUMP}
