"""Arguments that cannot be right: one clear message each."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from warp_phys.systems import (
    LotkaVolterra,
    UnknownNameError,
    UsageError,
    integrate,
)

TIMES = np.arange(21.0)
STATES = np.full((5, 2), 10.0)
RATES = np.full((5, 4), 0.5)


def solve(times=TIMES, states=STATES, rates=RATES, **options):
    return integrate(LotkaVolterra(), times, states, rates, **options)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (
            np.zeros((21, 5)),
            r"expected times of shape \(T,\) or \(5, T\).*received \(21, 5\); .*tra",
        ),
        (TIMES[:, None], r"received \(21, 1\); time runs along the last axis: transpose it"),
        (3.0, r"received \(\)"),
        (np.empty(0), r"received \(0,\)"),
        (TIMES[::-1].copy(), "times should increase strictly.*trajectory 0 goes from 20 to 19"),
        (np.array([0.0, 1.0, 1.0]), "from 1 to 1 at sample 2; sort the samples and drop repeats"),
        (np.array([[0.0, 1.0]] * 4 + [[0.0, -1.0]]), "trajectory 4 goes from 0 to -1 at sample 1"),
        (np.array([0.0, np.nan, 2.0]), "times of trajectory 0 go on after NaN at sample 2;"),
        (np.array([[0.0, 1.0]] * 4 + [[np.nan, 1.0]]), "times of trajectory 4 start with NaN"),
        (np.array([0.0, np.inf]), "times of trajectory 0 are infinite at sample 1"),
        (np.arange(21), r"expected times in float64 \(or float32\), received int64"),
        (np.array(["1900", "1901"]), "expected times in float64.*received <U4"),
    ],
)
def test_times(times, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(times=times)


@pytest.mark.parametrize(
    ("states", "rates", "message"),
    [
        (
            STATES.T,
            RATES,
            r"initial_states of shape \(N, 2\).*prey, predator.*\(2, 5\); .*transpose",
        ),
        (STATES[0], RATES, r"received \(2,\); for one trajectory write initial_states\[None\]"),
        (STATES, RATES[:, :3], r"parameters of shape \(5, 4\).*alpha, beta, gamma, delta; rec"),
        (STATES, RATES.T, r"received \(4, 5\); trajectories come first: transpose it"),
        (STATES, RATES[:3], "need one row for each trajectory"),
        (STATES[:0], RATES[:0], "initial_states hold no trajectory"),
        (STATES.astype(int), RATES, r"initial_states in float64.*int64; write np.asarray\(initial"),
        (STATES.astype(complex), RATES, "received complex128"),
        (STATES.astype(object), RATES, "received object"),
        (torch.ones(5, 2, dtype=torch.int32), RATES, r"int32; write initial_states.double\(\)"),
        (STATES, RATES.astype(np.float32), "in float64 like initial_states, received float32"),
    ],
)
def test_states_and_parameters(states, rates, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(states=states, rates=rates)


def test_a_parameter_outside_its_support() -> None:
    rates = RATES.copy()
    rates[3, 1] = -0.03
    with pytest.raises(
        UsageError,
        match=r"parameter 'beta' of trajectory 3 is -0.03 1/year, outside its support \(positive\)",
    ):
        solve(rates=rates)


@pytest.mark.parametrize(
    ("initial_time", "message"),
    [
        (
            1.0,
            "not come after the first sample; trajectory 0 has initial_time 1 and first sample 0",
        ),
        (np.zeros(4), r"as a number or of shape \(5,\); received \(4,\)"),
        (np.nan, "should not come after the first sample"),
    ],
)
def test_initial_time(initial_time, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(initial_time=initial_time)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rtol": 0.0}, "expected rtol between 0 and 1, received 0.0"),
        (
            {"atol": -1.0},
            "expected atol above 0, in the states' units, or None for a share of each state's "
            "size; received -1.0",
        ),
        ({"rtol": "small"}, "received 'small'"),
        ({"method": "rk4", "substeps": 0}, "expected substeps as a whole number"),
        ({"substeps": 2.5}, "received 2.5"),
        ({"method": "solution"}, "LotkaVolterra has no closed form; use method='auto'"),
        ({"inputs": np.zeros((5, 21, 1))}, "LotkaVolterra has no external inputs"),
    ],
)
def test_options(options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        solve(**options)


def test_an_unknown_method_offers_close_names() -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'dopri853'; did you mean 'dop853'"):
        solve(method="dopri853")


def test_tolerances_below_rounding_are_raised() -> None:
    solution = solve(rtol=1e-20, atol=1e-20)
    assert solution.converged.all()


def test_an_initial_time_keeps_its_digits() -> None:
    arguments = ([0.1, 1.0], [[30.0, 4.0]], [[0.55, 0.028, 0.8, 0.024]])
    named = integrate(LotkaVolterra(), *arguments, initial_time=0.1)
    assert torch.equal(named.states, integrate(LotkaVolterra(), *arguments).states)


def test_an_absolute_tolerance_has_the_size_of_the_states() -> None:
    states, parameters = [[3e9, 4e8]], [[0.55, 2.8e-10, 0.8, 2.4e-10]]
    solution = integrate(LotkaVolterra(), [0.0, 5.0], states, parameters, atol=10.0)
    tight = integrate(LotkaVolterra(), [0.0, 5.0], states, parameters, rtol=1e-12)
    torch.testing.assert_close(solution.states, tight.states, rtol=1e-6, atol=0.0)
