"""Clipped steps, steps driven by what they decode to, and overflow."""

import re
import warnings

import pytest
import torch
from torch import Tensor

from tests.warp_phys.recurrence.transitions.transition_contract import normal
from warp_phys.recurrence.autoregression import autoregressive_recurrence
from warp_phys.recurrence.linear_recurrence import linear_recurrence, recurrence_step
from warp_phys.systems import UsageError

CLIP = 0.7


def problem(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = 0.9 + 0.05 * normal(generator, 3)
    shapes = ((3, 2), (4, 30, 2), (4, 3))
    B, inputs, initial = (normal(generator, *shape) for shape in shapes)
    return a, B, inputs, initial


def test_clipped_states_stay_within_and_equal_single_steps() -> None:
    a, B, inputs, state = problem()
    states = linear_recurrence(a, B, inputs, state, clip=CLIP)
    assert states.abs().max() == CLIP
    for t, u in enumerate(inputs.unbind(1)):
        state = (a * state + u @ B.mT).clamp(-CLIP, CLIP)
        torch.testing.assert_close(states[:, t], state, rtol=1e-13, atol=1e-13)
        if t:
            stepped = recurrence_step(a, B, u, states[:, t - 1], clip=CLIP)
            torch.testing.assert_close(stepped, state, rtol=1e-13, atol=1e-13)


def test_clipped_gradients() -> None:
    leaves = [value.requires_grad_() for value in problem(1)]
    assert torch.autograd.gradcheck(
        lambda *values: linear_recurrence(*values, clip=CLIP), leaves, fast_mode=True
    )


def test_a_bound_never_reached_changes_nothing() -> None:
    values = problem()
    free = linear_recurrence(*values, "recurrent")
    assert torch.equal(linear_recurrence(*values, clip=1e6), free)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.0}, "clip: expected a positive bound or None, got 0.0"),
        ({"clip": 1.0, "mode": "scan"}, "a clipped recurrence goes step by step, got 'scan'"),
    ],
)
def test_wrong_clips(options: dict[str, float | str], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        linear_recurrence(*problem(), **options)


def decode(theta: Tensor, t: int) -> Tensor:
    return torch.tanh(theta[:, :2] * theta[:, 2:]) + 0.1 * t


def test_autoregression_is_the_recurrence_driven_by_its_own_outputs() -> None:
    a, B, inputs, initial = problem()
    last = inputs[:, 0]
    states, outputs = autoregressive_recurrence(a, B, decode, last, initial, 12)
    drive = torch.cat([last[:, None], outputs], dim=1).diff(dim=1)
    torch.testing.assert_close(states, linear_recurrence(a, B, drive, initial))
    before = torch.cat([initial[:, None], states[:, :-1]], dim=1)
    for t in range(12):
        torch.testing.assert_close(outputs[:, t], decode(before[:, t], t + 1))


def test_autoregressive_gradients_and_clip() -> None:
    a, B, inputs, initial = problem()
    leaves = [value.requires_grad_() for value in (a, B, inputs[:, 0].clone(), initial)]

    def run(a: Tensor, B: Tensor, last: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
        return autoregressive_recurrence(a, B, decode, last, initial, 5, clip=CLIP)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert run(*leaves)[0].abs().max() <= CLIP


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps: expected a positive whole number, got 0"),
        ({"decode": lambda theta, t: theta}, "decode: expected outputs of shape (4, 2)"),
        ({"last": torch.ones(3, 2).double()}, "initial: expected shape (3, 3), one state per"),
    ],
)
def test_wrong_autoregression(change: dict[str, object], message: str) -> None:
    a, B, inputs, initial = problem()
    right = {"decode": decode, "last": inputs[:, 0], "initial": initial, "steps": 3}
    with pytest.raises(UsageError, match=re.escape(message)):
        autoregressive_recurrence(a, B, **{**right, **change})


@pytest.mark.parametrize("structure", ["diagonal", "dense"])
def test_overflow_names_the_first_bad_step(structure: str) -> None:
    a = torch.tensor([0.5, 2.0], dtype=torch.float32)
    A = a if structure == "diagonal" else torch.diag(a)
    B, inputs = torch.zeros(2, 1), torch.zeros(3, 200, 1)
    initial = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    # 2^127 is the last power of two within float32.
    expected = "sequence 1: state 1 overflowed torch.float32 at step 128 of 200 (1 of 3"
    with pytest.warns(RuntimeWarning, match=re.escape(expected)):
        states = linear_recurrence(A, B, inputs, initial)
    assert states[[0, 2]].isfinite().all()


def test_missing_values_are_no_overflow() -> None:
    a, B, inputs, initial = problem()
    inputs[1, 5] = torch.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        linear_recurrence(a, B, inputs, initial)
