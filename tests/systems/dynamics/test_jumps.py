"""Right-hand sides that jump and events: steps end on them, in states, errors and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.dynamics.jumping_systems import RATE, Ball, Relay, slopes_by_differences
from warp_phys.systems import Parameter, State, System, integrate
from warp_phys.systems.compiling.compiler import compiler
from warp_phys.systems.dynamics.problem import Status

pytestmark = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")

TIMES = np.linspace(0.0, 2.5, 26)
CASES = [(Relay(), [1.0, 0.2], [0.05, 0.3], 4.0 * TIMES), (Ball(), [1.0, 0.0], [9.81, 0.8], TIMES)]


@pytest.mark.parametrize("method", ["dop853", "rk45", "rodas5p"])
@pytest.mark.parametrize(("system", "start", "p", "times"), CASES, ids=["relay", "ball"])
def test_states_and_their_errors(
    system: Any, start: list[float], p: list[float], times: np.ndarray, method: str
) -> None:
    expected = system.reference(times, np.array(start), np.array(p))
    for rtol in (1e-6, 1e-8):
        found = integrate(system, times, [start], [p], rtol=rtol, method=method)
        assert found.engine == "compiled"
        assert bool(found.converged.all())
        error = np.abs(found.states[0].numpy() - expected).max(axis=0)
        true = float((error / np.abs(expected).max(axis=0)).max())
        assert true < rtol
        assert 0.4 * true - 1e-11 < float(found.error_estimate[0]) < 2.5 * true + 1e-11


@pytest.mark.parametrize("method", ["auto", "rodas5p"])
@pytest.mark.parametrize(("system", "start", "p", "times"), CASES, ids=["relay", "ball"])
def test_gradients_contain_the_motion_of_jumps(
    system: Any, start: list[float], p: list[float], times: np.ndarray, method: str
) -> None:
    # Off the kink in the initial speed of the ball.
    begin = np.array(start) + np.array([0.0, 0.1])
    sources = [torch.tensor(np.array([one]), requires_grad=True) for one in (begin, p)]
    last = integrate(system, times, *sources, rtol=1e-10, method=method).states[0, -1]
    rows = [torch.autograd.grad(one, sources, retain_graph=True) for one in last]
    found = np.array([np.concatenate([row[1][0], row[0][0]]) for row in rows])
    expected = slopes_by_differences(system.reference, times, begin, np.array(p))
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.abs(expected).max())


class Pulses(System):
    """The time that a sine has spent above an edge, at most for a moment around its maximum."""

    states = (State("x", "1"), State("v", "1"), State("above", "1"))
    parameters = (Parameter("edge", "1", range=(0.5, 0.99999)),)
    default_initial_state = {"x": 0.0, "v": 1.0, "above": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        return y[1], -y[0], torch.where(y[0] > p.edge, 1.0, 0.0)


def test_narrow_pulses_of_the_state_and_the_batch() -> None:
    edges = 1.0 - np.logspace(-4.0, -0.3, 21)
    times = np.array([0.0, 18.0])
    start = [[0.0, 1.0, 0.0]]
    together = integrate(Pulses(), times, start * len(edges), edges[:, None])
    expected = 3.0 * (np.pi - 2.0 * np.arcsin(edges))  # three maxima
    error = np.abs(together.states[:, -1, 2].numpy() / expected - 1.0)
    assert bool(together.converged.all())
    # Where a pulse is short, its length depends strongly on the height of the maximum.
    assert (error < 2.5 * together.error_estimate.numpy() + 1e-10).all()
    assert error.max() < 1e-6
    for row in (0, 10):
        alone = integrate(Pulses(), times, start, edges[row : row + 1, None])
        torch.testing.assert_close(alone.states[0], together.states[row], rtol=1e-12, atol=0.0)


class Waves(System):
    """The time that a sine has been above zero, and that in the first hours of a day."""

    states = (State("sine", "h"), State("day", "h"))
    parameters = (
        Parameter("frequency", "1/h", range=(1.0, 50.0)),
        Parameter("hours", "h", range=(2.0, 20.0)),
    )
    default_initial_state = {"sine": 0.0, "day": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        t = torch.as_tensor(t)
        return (
            torch.where(torch.sin(p.frequency * t) > 0.0, 1.0, 0.0),
            torch.where(torch.remainder(t, 24.0) < p.hours, 1.0, 0.0),
        )


def test_changes_that_steps_could_leap_over() -> None:
    times = np.array([0.0, 100.0])
    p = torch.tensor([[7.3, 8.0]], dtype=torch.float64, requires_grad=True)
    found = integrate(Waves(), times, [[0.0, 0.0]], p)
    half = np.pi / 7.3
    waves, rest = divmod(100.0, 2.0 * half)
    last = found.states[0, -1]
    np.testing.assert_allclose(last.detach(), [waves * half + min(rest, half), 36.0], rtol=1e-11)
    (slope,) = torch.autograd.grad(last[1], p)
    np.testing.assert_allclose(slope[0], [0.0, 4.0], atol=1e-9)  # four days have ended


class Friction(System):
    """A block that slides until friction has stopped it."""

    states = (State("speed", "m/s"),)
    parameters = (RATE,)
    default_initial_state = {"speed": 1.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (-p.rate * torch.sign(y[0]),)


class Sliding(Friction):
    """The same without a branch at rest: the solution slides along a jump."""

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        return (torch.where(y[0] < 0.0, p.rate, -p.rate),)


def test_rest_and_sliding() -> None:
    times = np.linspace(0.0, 3.0, 4)
    found = integrate(Friction(), times, [[1.0], [0.0]], [[0.8], [0.8]])
    assert bool(found.converged.all())
    np.testing.assert_allclose(found.states[0, :, 0], [1.0, 0.2, 0.0, 0.0], atol=1e-9)
    assert not found.states[1].any()
    sliding = integrate(Sliding(), times, [[1.0]], [[0.8]])
    assert sliding.status.tolist() == [Status.TOO_MANY_EVENTS]
    np.testing.assert_allclose(sliding.states[0, :2, 0], [1.0, 0.2])
    assert sliding.states[0, 2:].isnan().all()


def test_bounces_without_end() -> None:
    for method in ("auto", "scipy"):
        found = integrate(Ball(), [0.0, 20.0], [[1.0, 0.0]], [[9.81, 0.5]], method=method)
        assert found.status.tolist() == [Status.TOO_MANY_EVENTS]
        assert found.states[0, 1].isnan().all()
