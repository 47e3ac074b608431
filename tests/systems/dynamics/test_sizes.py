"""Tolerances that follow the size of each state: small units, empty compartments, small values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from warp_phys import systems
from warp_phys.data_gen import simulate
from warp_phys.systems import Parameter, State, System, integrate

TIMES = np.linspace(0.0, 20.0, 41)


class Predators(System):
    """Prey and predators counted in a unit that makes their numbers small."""

    states = (State("prey", "mol/L"), State("predator", "mol/L"))
    parameters = (
        Parameter("rate", "1/s", range=(0.5, 1.5)),
        Parameter("contact", "L/mol/s", range=(1.0, 1e13)),
    )
    default_initial_state = {"prey": 1e-6, "predator": 1e-6}

    def rhs(self, t, y, p):
        met = p.contact * y[0] * y[1]
        return p.rate * y[0] - met, met - p.rate * y[1]


class Cascade(System):
    """Twelve compartments, of which the first is filled; each empties into the next."""

    states = tuple(State(f"c{number}", "mg") for number in range(12))
    parameters = (Parameter("rate", "1/h", range=(0.5, 2.0)),)
    default_initial_state = {"c0": 1.0} | {f"c{number}": 0.0 for number in range(1, 12)}

    def rhs(self, t, y, p):
        moved = [p.rate * state for state in y]
        return (-moved[0], *(one - other for one, other in pairwise(moved)))


class Trace(System):
    """A substance of which a part in 1e11 becomes a tracer."""

    states = (State("substance", "mol"), State("tracer", "mol"))
    parameters = (Parameter("share", "1", range=(1e-12, 1e-10)),)
    default_initial_state = {"substance": 1.0, "tracer": 0.0}

    def rhs(self, t, y, p):
        return -y[0], p.share * y[0] - 0.3 * y[1] - 1e9 * y[1] ** 2


class Filling(System):
    """Two compartments that are both empty at the start, and an inflow."""

    states = (State("first", "mg"), State("second", "mg"))
    parameters = (Parameter("inflow", "mg/h", range=(1e-9, 1.0)),)
    default_initial_state = {"first": 0.0, "second": 0.0}

    def rhs(self, t, y, p):
        return p.inflow - y[0], y[0] - 0.5 * y[1]


def reference(rhs, initial, times):
    found = solve_ivp(
        rhs, (0.0, times[-1]), initial, "DOP853", times, rtol=1e-13, atol=1e-30, max_step=0.1
    )
    return found.y.T


def error(solution, expected):
    gap = np.abs(solution.states[0].numpy() - expected).max(axis=0)
    return gap / np.abs(expected).max(axis=0)


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e-10, 1e-30, 1e12])
def test_states_are_as_accurate_in_any_unit(unit):
    expected = reference(lambda t, y: [y[0] - y[0] * y[1], y[0] * y[1] - y[1]], [2.0, 1.0], TIMES)
    solution = integrate(Predators(), TIMES, [[2 * unit, unit]], [[1.0, 1.0 / unit]])
    wrong = error(solution, unit * expected).max()
    assert wrong < 1e-8
    assert solution.error_estimate.item() == pytest.approx(wrong, rel=0.2)


@pytest.mark.parametrize("method", ["auto", "dop853", "rk45", "rodas5p", "scipy", "torchdiffeq"])
def test_compartments_that_start_empty(method):
    expected = reference(lambda t, y: np.r_[-y[0], y[:-1] - y[1:]], np.r_[1.0, np.zeros(11)], TIMES)
    solution = integrate(Cascade(), TIMES, np.r_[1.0, np.zeros(11)][None], [[1.0]], method=method)
    assert solution.converged.all()
    assert error(solution, expected).max() < 1e-6


def test_a_state_far_smaller_than_the_others_is_as_accurate():
    share = 1e-11
    solution = integrate(Trace(), TIMES, [[1.0, 0.0]], [[share]])
    # The tracer by itself, in its own unit.
    expected = reference(
        lambda t, y: [share * np.exp(-t) * 1e11 - 0.3 * y[0] - 1e-2 * y[0] ** 2], [0.0], TIMES
    )
    assert error(solution, np.c_[np.exp(-TIMES), 1e-11 * expected[:, 0]]).max() < 1e-7


def test_a_system_that_starts_empty():
    expected = reference(lambda t, y: [1.0 - y[0], y[0] - 0.5 * y[1]], [0.0, 0.0], TIMES)
    for inflow in (1e-9, 1.0):
        solution = integrate(Filling(), TIMES, [[0.0, 0.0]], [[inflow]])
        assert error(solution, inflow * expected).max() < 1e-7


def test_small_values_are_accurate_relative_to_themselves_under_log_normal_noise():
    options = {"parameters": {"alpha": 1.2, "beta": 0.1, "gamma": 1.0, "delta": 0.1}}
    options |= {"initial_states": {"prey": 200.0, "predator": 2.0}, "seed": 0, "progress": False}
    data = simulate(
        systems.LotkaVolterra(), 1, TIMES, noise=0.1, distribution="lognormal", **options
    )
    expected = reference(
        lambda t, y: [1.2 * y[0] - 0.1 * y[0] * y[1], 0.1 * y[0] * y[1] - y[1]],
        [200.0, 2.0],
        TIMES,
    )
    assert expected.min() < 1e-6 * expected.max()
    wrong = np.abs(data.noiseless.values[0] / expected - 1.0).max()
    assert wrong < 1e-5
    assert data.error_estimate.item() == pytest.approx(wrong, rel=0.5)


def test_given_tolerances_hold_for_every_state():
    tight, loose = (
        integrate(Predators(), TIMES, [[2e-6, 1e-6]], [[1.0, 1e6]], atol=atol).states
        for atol in (1e-16, 1e-4)
    )
    assert not torch.allclose(tight, loose, rtol=1e-3, atol=0.0)
