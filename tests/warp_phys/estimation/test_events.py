"""Estimates of systems with events: right, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import warp_phys as wp
from tests.systems.event_systems import CASES, Ball
from warp_phys.data_gen import simulate
from warp_phys.systems import UsageError
from warp_phys.systems.compiling.compiler import compiler

LET_GO = {"height": 2.0, "speed": 0.0}


@pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")
def test_the_information_head_agrees_with_the_fit_in_the_end() -> None:
    data = simulate(
        Ball(),
        4,
        CASES[0].times,
        parameters={"restitution": (0.8, 0.95)},
        noise=0.02,
        seed=3,
        initial_states=LET_GO,
        observe=["height"],
    )
    found = wp.estimate(wp.WarpPhys(Ball(), initial_state=LET_GO), data, progress=False)
    fitted = wp.fit(Ball(), data, initial=found, initial_state=LET_GO, progress=False)
    apart = (found.parameters[:, -1] - fitted.parameters) / fitted.standard_errors
    assert float(np.abs(apart).max()) < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drift": {"g": 0.1}}, "drift starts anew at every sample, and cannot tell which events"),
        ({"head": "regression"}, "the events of ball change its states besides"),
        ({"head": "direct", "root": "step"}, "root='step' starts anew at every observed state"),
    ],
)
def test_models_that_cannot_follow_events_say_so(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wp.WarpPhys(Ball(), **options)


def test_streams_refuse_events() -> None:
    with pytest.raises(UsageError, match="streams start anew at every sample"):
        wp.WarpPhys(Ball()).init_state(sensors=2)
