"""Declarations of events and of dosing: what they return, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.systems.event_systems import Ball, Thermostat
from warp_phys.systems import Dosing, Event, OneCompartmentOral, Parameter, UsageError
from warp_phys.systems.compiling.switches import switches_of
from warp_phys.systems.compiling.tracing import trace_system


def ball_with(event: Event) -> Ball:
    return type("Ball", (Ball,), {"events": (event,), "__doc__": "A ball."})()


def test_functions_of_events_in_the_shapes_of_a_batch() -> None:
    y = torch.tensor([[1.0, -0.1, -0.2], [0.0, -3.0, 2.0]])
    p = torch.tensor([9.81, 0.5]).unsqueeze(1).expand(-1, 3)
    assert Ball().condition_at(0, 0.0, y, p).tolist() == [False, True, True]
    assert Ball().new_state_at(0, 0.0, y, p)[1].tolist() == [-0.0, 1.5, -1.0]
    assert Ball().new_state_at(0, 0.0, y, p)[0].tolist() == y[0].tolist()
    heater = Thermostat().new_state_at(1, 0.0, y, torch.ones(4, 3))
    assert heater[1].tolist() == [0.0, 0.0, 0.0]


def test_a_system_shows_its_events() -> None:
    assert "event      speed" in repr(Ball())
    assert "the ball bounces" in repr(Ball())


def test_conditions_may_be_combined() -> None:
    graph = trace_system(
        ball_with(Event(lambda t, y, p: (y[0] < 0.0) & ~(y[1] > p.g) | (t >= 3.0), {"speed": 0.0}))
    )
    assert (
        repr(graph.events[0].condition) == "or(and(lt(y[0], 0.0), not(gt(y[1], p[0]))), ge(t, 3.0))"
    )
    assert len(switches_of(graph)) == 3


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (lambda t, y, p: y[0], "should be a comparison of .* received a tensor of torch.float64"),
        (lambda t, y, p: True, "should be a comparison of .* received True"),
        (
            lambda t, y, p: y < 0.0,
            r".* of shape \(1,\); received shape \(2, 1\); y\[0\] is the first",
        ),
    ],
)
def test_conditions_that_are_none(condition: Callable[..., Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"condition of Ball.events\[0\] {message}"):
        ball_with(Event(condition, {"speed": 0.0}))


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (lambda t, y, p: y[0] == 0.0, "uses ==; an event happens where a comparison by <, <=, >"),
        (lambda t, y, p: 0.0 * t > 1.0, "is always false: it should depend on time, states"),
    ],
)
def test_conditions_that_never_become_true(condition: Callable[..., Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        trace_system(ball_with(Event(condition, {"speed": 0.0})))


def test_new_states_that_are_none() -> None:
    def low(t: Any, y: Any, p: Any) -> Any:
        return y[0] < 0.0

    with pytest.raises(UsageError, match=r"new_state of Ball.events\[0\] 'sped'; did you mean"):
        ball_with(Event(low, {"sped": 0.0}))
    with pytest.raises(UsageError, match="state 'speed' should be a number or a function"):
        Event(low, {"speed": None})  # type: ignore[dict-item]
    with pytest.raises(UsageError, match=r"mapping from names of states .* received \{\}"):
        Event(low, {})
    with pytest.raises(UsageError, match=r"of 'speed' in Ball.events\[0\] .* shape \(2, 1\)"):
        ball_with(Event(low, {"speed": lambda t, y, p: y}))
    with pytest.raises(UsageError, match=r"should be a function of .* received True"):
        Event(True, {"speed": 0.0})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Ball.events should be a tuple of Event, like \(Event"):
        ball_with("bounce")  # type: ignore[arg-type]


def oral(dosing: tuple[Dosing, ...], lag: Parameter) -> OneCompartmentOral:
    parameters = (*OneCompartmentOral.parameters, lag)
    body = {"dosing": dosing, "parameters": parameters, "__doc__": "With a lag time."}
    return type("Oral", (OneCompartmentOral,), body)()


def test_dosing_is_checked_against_states_and_parameters() -> None:
    lag = Parameter("lag", "h", support="positive", range=(0.1, 2.0))
    system = oral((Dosing("gut", lag="lag"),), lag)
    assert "doses" in repr(system)
    assert not system.has_solution
    with pytest.raises(UsageError, match=r"state in Oral.dosing 'gutt'; did you mean 'gut'"):
        oral((Dosing("gutt", lag="lag"),), lag)
    with pytest.raises(UsageError, match=r"parameter in Oral.dosing 'lagg'; did you mean 'lag'"):
        oral((Dosing("gut", lag="lagg"),), lag)
    with pytest.raises(UsageError, match=r"names in Oral.dosing should differ; gut"):
        oral((Dosing("gut", lag="lag"), Dosing("gut", duration="lag")), lag)
    with pytest.raises(UsageError, match="'lag' of Oral is a time after a dose"):
        oral((Dosing("gut", lag="lag"),), Parameter("lag", "h", range=(0.1, 2.0)))
    with pytest.raises(UsageError, match="says nothing; name a parameter"):
        Dosing("gut")
