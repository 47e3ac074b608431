"""Events in fits: states and derivatives across resets, as SciPy with restarts has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.event_systems import CASES, MARKED_CASES, Ball, EventCase
from tests.warp_phys.likelihood.engines.predicted_records import blank, predicted
from warp_phys.systems import Event, Input, Parameter, State, Status, System
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("case", MARKED_CASES, ids=lambda case: case.name)
def test_states_and_derivatives_across_events(case: EventCase) -> None:
    found, slopes, status = predicted(case.system, case.times, column(*case.values))
    assert not status.any()
    np.testing.assert_allclose(found[0], case.states(case.values), rtol=1e-8, atol=1e-8)
    for place, value in enumerate(case.values):
        step = np.zeros(len(case.values))
        step[place] = 1e-5 * value
        above, below = (case.states(np.add(case.values, sign * step)) for sign in (1.0, -1.0))
        difference = (above - below) / (2.0 * step[place])
        scale = max(np.abs(difference).max(), 1.0)
        np.testing.assert_allclose(slopes[0, ..., place], difference, atol=1e-6 * scale)


def test_implicit_steps_agree_with_explicit_ones() -> None:
    case = CASES[2]
    explicit = predicted(case.system, case.times, column(*case.values))
    implicit = predicted(case.system, case.times, column(*case.values), implicit=True)
    assert not implicit[2].any()
    for one, other in zip(explicit[:2], implicit[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_records_do_not_depend_on_their_neighbors() -> None:
    """The last record ends before its first event."""
    case = CASES[0]
    values = torch.stack([column(9.81, 0.8), column(7.0, 0.6), column(12.0, 0.9), column(0.1, 0.9)])
    together, slopes, _ = predicted(case.system, case.times, values)
    for row, one in enumerate(values):
        alone, own, _ = predicted(case.system, case.times, one)
        torch.testing.assert_close(together[row], alone[0], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(slopes[row], own[0], rtol=1e-12, atol=1e-10)
    falling = 2.0 - 0.05 * case.times**2
    np.testing.assert_allclose(together[3, :, 0], falling, rtol=1e-12)


# Edges


class Timed(System):
    """A quantity that decays, and to which an amount is added at a time."""

    states = (State("amount", "mg"),)
    parameters = (
        Parameter("rate", "1/h", support="positive", range=(0.1, 0.5)),
        Parameter("lag", "h", support=(0.0, 10.0), range=(0.5, 3.0)),
    )
    default_initial_state = {"amount": 0.0}
    events = (Event(lambda t, y, p: t >= p.lag, {"amount": lambda t, y, p: y[0] + 8.0}),)

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any]:
        return (-p.rate * y[0],)


@pytest.mark.parametrize("lag", [0.0, 1.5, 2.0, 4.0])
def test_a_sample_at_an_event_shows_the_state_after(lag: float) -> None:
    """At the start, between two samples, at a sample, and at the last one."""
    times = np.arange(5.0)
    found, slopes, _ = predicted(Timed(), times, column(0.3, lag))
    after = times >= lag
    expected = np.where(after, 8.0 * np.exp(-0.3 * (times - lag)), 0.0)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(slopes[0, :, 0, 1], 0.3 * expected, rtol=1e-8)
    np.testing.assert_allclose(slopes[0, :, 0, 0], -(times - lag) * expected, rtol=1e-8)


def test_a_condition_that_holds_at_the_start_has_not_become_true() -> None:
    found, _, _ = predicted(Timed(), np.arange(2.0, 5.0), column(0.3, 1.0))
    assert not found.any()


def test_a_ball_that_starts_on_the_ground_rises_first() -> None:
    start = column(0.0, 3.0)[None]
    times = np.linspace(0.0, 0.9, 7)
    found, _, status = predicted(Ball(), times, column(10.0, 0.5), start=start)
    assert not status.any()
    late = times - 0.6  # it comes back at t = 0.6, with speed -3
    expected = np.where(late < 0.0, 3.0 * times - 5.0 * times**2, 1.5 * late - 5.0 * late**2)
    np.testing.assert_allclose(found[0, :, 0], expected, atol=1e-10)


@pytest.mark.parametrize("restitution", [0.0, 0.3, 0.97])
def test_bounces_that_accumulate_end_with_their_own_status(restitution: float) -> None:
    """With g = 1 the ball comes to rest at the time 2 (1 + 2 e / (1 - e))."""
    rest = 2.0 + 4.0 * restitution / (1.0 - restitution)
    times = np.array([0.0, 1.0, 0.999 * rest, rest + 1.0])
    found, _, status = predicted(Ball(), times, column(1.0, restitution))
    assert int(status[0]) == Status.TOO_MANY_EVENTS
    assert (found[0, :3, 0] > 0.0).all()
    assert found[0, 3].isnan().all()


class Swing(System):
    """An oscillator that counts how often it is high."""

    states = (State("x", "1"), State("v", "1"), State("count", "1"))
    parameters = (
        Parameter("frequency", "1/s", support="positive", range=(0.5, 2.0)),
        Parameter("level", "1", range=(0.5, 0.99)),
    )
    default_initial_state = {"x": 0.0, "v": 1.0, "count": 0.0}
    events = (
        Event(lambda t, y, p: y[0] > p.level, {"count": lambda t, y, p: y[2] + 1.0}),
        Event(lambda t, y, p: y[0] > 1.5, {"count": -100.0}),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any, Any]:
        return p.frequency * y[1], -p.frequency * y[0], 0.0


@pytest.mark.parametrize("level", [0.5, 0.99, 0.9999])
def test_short_excursions_within_a_step_count(level: float) -> None:
    """At 0.9999, x is high for 0.028 s of each period of 6.28 s."""
    times = np.array([0.0, 40.0])
    found, _, _ = predicted(Swing(), times, column(1.0, level))
    assert float(found[0, -1, 2]) == 7.0


class Daily(System):
    """A quantity that decays slowly, and to which one is added each day at an hour."""

    states = (State("amount", "1"), State("count", "1"))
    parameters = (
        Parameter("rate", "1/h", range=(1e-4, 1e-2)),
        Parameter("hour", "h", range=(1.0, 20.0)),
    )
    default_initial_state = {"amount": 1.0, "count": 0.0}
    events = (
        Event(
            lambda t, y, p: torch.sin(2.0 * np.pi / 24.0 * (t - p.hour)) > 0.0,
            {"amount": lambda t, y, p: y[0] + 1.0, "count": lambda t, y, p: y[1] + 1.0},
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return -p.rate * y[0], 0.0


def test_many_events_between_two_samples_are_all_found() -> None:
    """The right-hand side would be content with steps of many days."""
    times = np.array([0.0, 500.0, 1000.0])
    found, slopes, status = predicted(Daily(), times, column(1e-3, 7.0))
    assert not status.any()
    since = times[:, None] - (7.0 + 24.0 * np.arange(42))
    added = np.where(since >= 0.0, np.exp(-1e-3 * since), 0.0)
    expected = np.exp(-1e-3 * times) + added.sum(axis=1)
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-9)
    np.testing.assert_allclose(found[0, :, 1], [0, 21, 42])
    np.testing.assert_allclose(slopes[0, :, 0, 1], 1e-3 * added.sum(axis=1), rtol=1e-7)


class Filled(System):
    """A tank that is emptied when it is full, whatever fills it."""

    states = (State("level", "l"), State("emptied", "1"))
    inputs = (Input("inflow", "l/h", between="held"), Input("opening", "1", between="held"))
    parameters = (Parameter("full", "l", range=(2.0, 6.0)),)
    default_initial_state = {"level": 1.0, "emptied": 0.0}
    events = (
        Event(
            lambda t, y, p: (y[0] > p.full) | (p.opening > 0.5),
            {"level": 0.0, "emptied": lambda t, y, p: y[1] + 1.0},
        ),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Any]:
        return p.inflow, 0.0


def test_doses_and_inputs_trigger_events_at_their_time() -> None:
    """A dose at 1.5 fills the tank, the inflow at t = 4.5 does, and at 6 it is opened."""
    times = np.arange(9.0)
    data = blank(
        Filled(),
        times,
        inputs=(("trajectory", "time", "input"), np.zeros((1, 9, 2))),
        dose_amount=(("trajectory", "dose"), [[5.0]]),
        dose_time=(("trajectory", "dose"), [[1.5]]),
    ).assign_coords(input=["inflow", "opening"], dose_state=("dose", ["level"]))
    data["inputs"][0, :, 0] = [1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    data["inputs"][0, 6:8, 1] = 1.0
    found, slopes, status = predicted(Filled(), times, column(3.2), data)
    assert not status.any()
    level = [1.0, 2.0, 0.5, 1.5, 3.5 - 3.2, 0.3, 0.0, 0.0, 0.0]
    level[4:6] = [0.3, 0.3]
    np.testing.assert_allclose(found[0, :, 0], level, atol=1e-9)
    np.testing.assert_allclose(found[0, :, 1], [0, 0, 1, 1, 2, 2, 3, 3, 3])
    # Emptied at 3 + (full - 1.5) / 2, so that later the level is 2 (t - 3) + 1.5 - full.
    np.testing.assert_allclose(slopes[0, 4:6, 0, 0], -1.0, rtol=1e-9)
