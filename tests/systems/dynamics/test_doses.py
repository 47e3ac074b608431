"""Doses: when they act, on whom, with every method, and what cannot be one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.systems.problems import ADAPTIVE, HARE, Driven, Held, driven, leaf
from warp_phys.systems import (
    Dose,
    LotkaVolterra,
    OneCompartmentOral,
    TwoCompartment,
    UnknownNameError,
    UsageError,
    integrate,
)

METHODS = [*ADAPTIVE, "rk4"]
TIMES = np.array([0.0, 1.0, 2.0, 4.0])
ORAL = [[1.6, 2.8, 32.0], [0.9, 4.0, 25.0]]


def decay(times: np.ndarray, doses: list[tuple[float, float]], rate: float) -> np.ndarray:
    """Return y of y' = -rate y, y(0) = 1, where each dose adds what is left of it."""
    found = np.exp(-rate * times)
    for amount, when in doses:
        since = times - when
        found = found + np.where(since >= 0.0, amount * np.exp(-rate * since), 0.0)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "doses",
    [
        pytest.param([(2.0, 0.0)], id="at the initial time"),
        pytest.param([(2.0, 1.0)], id="at a sample"),
        pytest.param([(2.0, 1.3)], id="between samples"),
        pytest.param([(2.0, 4.0)], id="at the last sample"),
        pytest.param([(2.0, 9.0)], id="after the last sample"),
        pytest.param([(2.0, 1.3), (-0.5, 1.3)], id="two at once"),
        pytest.param([(1.0, 2.5), (2.0, 0.0), (-0.5, 1.0), (0.25, 1.7)], id="not in order"),
    ],
)
def test_a_dose_adds_itself_at_its_time(method: str, doses: list[tuple[float, float]]) -> None:
    """Inputs that are zero, and stops of their own, change nothing."""
    solution = integrate(
        Held(),
        TIMES,
        [[1.0]],
        [[0.6]],
        inputs=np.zeros((1, 2, 1)),
        input_times=[0.5, 1.3],
        doses=[Dose("y", amount, when) for amount, when in doses],
        method=method,
        substeps=20,
    )
    assert solution.converged.all()
    expected = decay(TIMES, doses, 0.6)
    np.testing.assert_allclose(solution.states[0, :, 0], expected, rtol=1e-6)
    assert not float(solution.error_estimate) > 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_each_trajectory_has_doses_of_its_own(method: str) -> None:
    amounts, when = [2.0, 3.0, 99.0], [0.5, 1.0, np.nan]
    solution = integrate(
        Driven(),
        TIMES,
        [[1.0]] * 3,
        [[0.6]] * 3,
        inputs=np.zeros((3, 4, 1)),
        doses=[Dose("y", np.array(amounts), np.array(when)), Dose("y", 1.0, 3.0)],
        method=method,
        substeps=20,
    )
    for row, own in enumerate(zip(amounts, when, strict=True)):
        doses = [(1.0, 3.0)] if np.isnan(own[1]) else [own, (1.0, 3.0)]
        np.testing.assert_allclose(solution.states[row, :, 0], decay(TIMES, doses, 0.6), rtol=1e-6)


def test_doses_and_inputs_together() -> None:
    """A kick where the input turns: afterwards as from there with the higher state."""
    push, knots = np.array([1.0, 3.0, -1.0]), [0.0, 1.0, 4.0]
    solution = integrate(
        Driven(),
        TIMES,
        [[1.0]],
        [[0.6]],
        inputs=push[None, :, None],
        input_times=knots,
        doses=[Dose("y", 5.0, 1.0)],
    )
    before = driven([0.0, 1.0], 1.0, 0.6, knots, push)
    after = driven([1.0, 2.0, 4.0], before[1] + 5.0, 0.6, knots, push)
    np.testing.assert_allclose(solution.states[0, :, 0], [before[0], *after], rtol=1e-7)


def test_tablets_by_the_closed_form_and_by_steps() -> None:
    times = np.linspace(0.0, 48.0, 13)
    doses = [
        Dose("gut", 320.0, 12.0),
        Dose("gut", np.array([200.0, 100.0]), np.array([24.5, 30.0])),
        Dose("central", 50.0, np.array([20.0, np.nan])),
    ]
    arguments = OneCompartmentOral(), times, [[320.0, 0.0]] * 2, ORAL
    exact = integrate(*arguments, doses=doses, method="solution").states
    assert torch.equal(integrate(*arguments, doses=doses).states, exact)
    assert float(exact[0, 3, 0]) > 320.0
    for method in ("dop853", "scipy"):
        steps = integrate(*arguments, doses=doses, method=method, rtol=1e-10).states
        gap = (steps - exact).abs().amax(dim=1)
        assert (gap < 1e-7 * exact.abs().amax(dim=1)).all()


def test_injections_by_the_closed_form_and_by_steps() -> None:
    arguments = TwoCompartment(), [0.0, 2.0, 6.0], [[25.0, 0.0]], [[8.0, 8.0, 6.0, 12.0]]
    doses = [Dose("central", 25.0, when) for when in (0.0, 2.0, 3.7)]
    exact = integrate(*arguments, doses=doses, method="solution").states
    steps = integrate(*arguments, doses=doses, method="dop853", rtol=1e-11).states
    torch.testing.assert_close(steps, exact, rtol=1e-9, atol=1e-9)
    assert exact[0, 0].tolist() == [50.0, 0.0]


def dosed(state: Tensor, rate: Tensor, dose: Dose, method: str) -> Tensor:
    """Return y(2) of y' = -rate y with one dose."""
    return integrate(
        Driven(),
        [0.0, 2.0],
        state[None, None],
        rate[None, None],
        inputs=np.zeros((1, 2, 1)),
        doses=[dose],
        method=method,
        rtol=1e-10,
        substeps=50,
    ).states[0, -1, 0]


@pytest.mark.parametrize("method", ["auto", "dop853", "rk4", "torchdiffeq"])
def test_gradients_pass_through_doses(method: str) -> None:
    state, rate = leaf(3.0), leaf(0.7)
    found = torch.autograd.grad(dosed(state, rate, Dose("y", 2.0, 1.25), method), (state, rate))
    old, left = np.exp(-0.7 * 2.0), np.exp(-0.7 * 0.75)
    np.testing.assert_allclose(found, [old, -2.0 * 3.0 * old - 0.75 * 2.0 * left], rtol=1e-7)


@pytest.mark.parametrize("method", ["auto", "rk4", "torchdiffeq"])
@pytest.mark.parametrize("others", [False, True])
def test_gradients_by_amount_and_time_of_a_dose(method: str, others: bool) -> None:
    """With gradients by other things wanted, too, and without."""
    state, rate = (leaf(value).requires_grad_(others) for value in (3.0, 0.7))
    left = np.exp(-0.7 * 0.75)
    amount, when = leaf(2.0), leaf(1.25)
    (found,) = torch.autograd.grad(dosed(state, rate, Dose("y", amount, 1.25), method), amount)
    assert float(found) == pytest.approx(left, rel=1e-7)
    (found,) = torch.autograd.grad(dosed(state, rate, Dose("y", 2.0, when), method), when)
    assert float(found) == pytest.approx(0.7 * 2.0 * left, rel=1e-7)


@pytest.mark.parametrize("method", ["auto", "rk4", "torchdiffeq"])
def test_gradients_by_the_time_of_a_dose_at_a_sample(method: str) -> None:
    """Samples behind it change as those of any dose do."""
    when = leaf(1.0)
    solution = integrate(
        Driven(),
        [0.0, 1.0, 2.0],
        [[3.0]],
        [[0.7]],
        inputs=np.zeros((1, 3, 1)),
        doses=[Dose("y", 2.0, when)],
        method=method,
        substeps=50,
    )
    (found,) = torch.autograd.grad(solution.states[0, -1, 0], when)
    assert float(found) == pytest.approx(0.7 * 2.0 * np.exp(-0.7), rel=1e-6)


def test_gradients_by_doses_cannot_come_from_compiled_code() -> None:
    dose = Dose("y", 2.0, leaf(1.25))
    with pytest.raises(UsageError, match=r"gradients of parameters and initial states alone"):
        dosed(leaf(3.0), leaf(0.7), dose, "dop853")


def test_a_dose_that_is_no_number_makes_its_trajectory_invalid() -> None:
    solution = integrate(
        OneCompartmentOral(),
        [0.0, 1.0],
        [[320.0, 0.0]] * 2,
        ORAL,
        doses=[Dose("gut", np.array([np.nan, 1.0]), 0.5)],
    )
    assert solution.status.tolist() == [3, 0]


@pytest.mark.parametrize(
    ("dose", "kind", "message"),
    [
        (
            Dose("prey", 1.0, np.array([0.0, -1.0])),
            UsageError,
            "dose 0 of trajectory 1 comes at -1, before the initial time 0; put what it left",
        ),
        (Dose("pray", 1.0, 0.0), UnknownNameError, "state of LotkaVolterra.*did you mean 'prey'"),
        (
            Dose("prey", np.ones(3), 0.0),
            UsageError,
            r"amount of dose 0 as a number or one for each of 2 trajectories, got shape \(3,\)",
        ),
        (Dose("prey", 1.0, np.ones((2, 1))), UsageError, r"time of dose 0 .*got shape \(2, 1\)"),
        (Dose("prey", "much", 0.0), UsageError, "amount of dose 0 as a number or an array.*'much'"),
        (("prey", 1.0, 0.0), UsageError, r"a sequence of Dose\(state, amount, time\), got \('prey"),
    ],
)
def test_what_cannot_be_a_dose(dose: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        integrate(LotkaVolterra(), [0.0, 1.0], [[1.0, 1.0]] * 2, [HARE] * 2, doses=[dose])


def test_one_dose_is_a_sequence_of_one() -> None:
    with pytest.raises(UsageError, match=r"sequence of Dose, got one; write doses=\[Dose"):
        integrate(LotkaVolterra(), [0.0, 1.0], [[1.0, 1.0]], [HARE], doses=Dose("prey", 1.0, 0.5))
