"""The recurrence as a layer: how it starts, what it learns, what it refuses."""

import re
from typing import Any

import pytest
import torch

from tests.warp_phys.recurrence.transitions.own_structure import ScaledSwap
from warp_phys.recurrence.layer import LinearRecurrence
from warp_phys.recurrence.transitions.diagonal import Diagonal
from warp_phys.recurrence.transitions.registry import STRUCTURES, get_structure
from warp_phys.systems import UsageError

EVERY = (*STRUCTURES, ScaledSwap)
ABLE = " and ".join(repr(name) for name, each in STRUCTURES.items() if each.can_be_stable)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("structure", EVERY)
def test_starts_at_rest(structure: Any) -> None:
    layer = LinearRecurrence(3, 2, structure=structure)
    initial = random(5, 3)
    assert isinstance(layer.transition(), get_structure(structure))
    torch.testing.assert_close(layer.transition().to_dense(), torch.eye(3))
    states = layer(random(5, 7, 2), initial)
    torch.testing.assert_close(states, initial[:, None].expand(5, 7, 3))


@pytest.mark.parametrize("structure", EVERY)
def test_training_leaves_the_start(structure: Any) -> None:
    torch.manual_seed(0)
    layer = LinearRecurrence(3, 2, structure=structure, rank=2)
    inputs, initial, target = random(5, 20, 2), random(5, 3, seed=1), random(5, 20, 3, seed=2)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = (layer(inputs, initial) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name, value in layer.state_dict().items():
        assert not torch.equal(value, before[name]), name


@pytest.mark.parametrize("structure", EVERY)
def test_stream_equals_batch(structure: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = LinearRecurrence(
        3, 2, structure=structure, input_scale=0.5, generator=generator, dtype=torch.float64
    )
    inputs, state = random(4, 50, 2).double(), random(4, 3).double()
    states = layer(inputs, state, mode="scan")
    for t, u in enumerate(inputs.unbind(1)):
        state = layer.step(u, state)
        torch.testing.assert_close(state, states[:, t])


@pytest.mark.parametrize("decay", [None, 0.5, -0.8, 0.0])
def test_stable_starts_at_the_decay_and_never_grows(decay: float | None) -> None:
    layer = LinearRecurrence(3, 2, structure="diagonal", stable=True, decay=decay)
    expected = 0.99 if decay is None else decay
    torch.testing.assert_close(layer.transition().to_dense(), expected * torch.eye(3))
    with torch.no_grad():
        layer.diagonal += 1000 * random(3)
    assert layer.transition().to_dense().abs().max() <= 1


@pytest.mark.parametrize("size", [1, 4, 5])
def test_stable_complex_starts_at_the_decay_and_never_grows(size: int) -> None:
    layer = LinearRecurrence(size, 2, structure="complex", stable=True, decay=0.7)
    torch.testing.assert_close(layer.transition().to_dense(), 0.7 * torch.eye(size))
    with torch.no_grad():
        layer.real += 1000 * random(len(layer.real))
        layer.imag += 1000 * random(len(layer.imag))
    moduli = torch.linalg.eigvals(layer.transition().to_dense().double()).abs()
    assert moduli.max() <= 1 + 1e-6
    if size > 1:
        assert torch.linalg.eigvals(layer.transition().to_dense()).imag.abs().max() > 0


@pytest.mark.parametrize("structure", ["diagonal", "complex", "dense", "low_rank", ScaledSwap])
def test_decay_sets_the_start(structure: Any) -> None:
    layer = LinearRecurrence(3, 2, structure=structure, decay=0.25)
    torch.testing.assert_close(layer.transition().to_dense(), 0.25 * torch.eye(3))


def test_random_start_follows_its_generator() -> None:
    def layer(seed: int) -> LinearRecurrence:
        generator = torch.Generator().manual_seed(seed)
        return LinearRecurrence(200, 50, structure="low_rank", input_scale=0.1, generator=generator)

    first, again, other = layer(1), layer(1), layer(2)
    assert torch.equal(first.input_matrix, again.input_matrix)
    assert torch.equal(first.left, again.left)
    assert not torch.equal(first.input_matrix, other.input_matrix)
    assert abs(first.input_matrix.std().item() - 0.1) < 0.003


@pytest.mark.parametrize("structure", EVERY)
def test_state_dict_and_dtype(structure: Any) -> None:
    layer = LinearRecurrence(3, 2, structure=structure, dtype=torch.float64, input_scale=1.0)
    assert {value.dtype for value in layer.parameters()} == {torch.float64}
    copy = LinearRecurrence(3, 2, structure=structure, dtype=torch.float64)
    copy.load_state_dict(layer.state_dict())
    inputs, initial = random(2, 5, 2).double(), random(3).double()
    assert torch.equal(copy(inputs, initial), layer(inputs, initial))


def test_repr() -> None:
    layer = LinearRecurrence(3, 2, structure="diagonal", stable=True)
    expected = "LinearRecurrence(size=3, width=2, structure='diagonal', stable=True)"
    assert repr(layer) == expected
    assert "rank=4" in repr(LinearRecurrence(3, 2, structure="low_rank"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "size: expected a positive whole number, got 0"),
        ({"rank": 1.5}, "rank: expected a positive whole number, got 1.5"),
        ({"structure": "diagonl"}, "did you mean 'diagonal'?"),
        (
            {"structure": "dense", "stable": True},
            f"only the structures {ABLE} can be",
        ),
        ({"structure": "diagonal", "stable": True, "decay": 1.0}, "expected -1 < decay < 1"),
        ({"decay": 0.5}, "'identity' is fixed at 1, got 0.5"),
    ],
)
def test_messages(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        LinearRecurrence(**{"size": 3, "width": 2, **arguments})


class Nameless(Diagonal):
    """A structure that would be taken for another one in a file."""


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Nameless, "expected Nameless to have a name of its own, got 'diagonal', which is that of"),
        (Diagonal(torch.ones(3)), "a subclass of Transition, got Diagonal(size=3"),
        (int, "a subclass of Transition, got <class 'int'>"),
    ],
)
def test_own_structures_that_do_not_serve(structure: Any, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        LinearRecurrence(3, 2, structure=structure)
