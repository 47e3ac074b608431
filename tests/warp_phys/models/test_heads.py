"""Heads: what the hidden state is, and the distribution it becomes."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.heads import Direct, Head, InitialState, Readout, WeightNetwork, Weights

HEADS = [Direct(3), Weights(3, width=5), Readout(3, size=7, width=6)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sequential(theta: Tensor, widths: list[int]) -> nn.Sequential:
    """Return torch's own perceptron with the weights `theta` (D,)."""
    layers: list[nn.Module] = []
    offset = 0
    for into, out in pairwise(widths):
        layer = nn.Linear(into, out, dtype=theta.dtype)
        with torch.no_grad():
            layer.weight.copy_(theta[offset : offset + out * into].view(out, into))
            layer.bias.copy_(theta[offset + out * into : offset + out * into + out])
        offset += out * into + out
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("widths", [[1, 4], [1, 5, 3], [2, 4, 6, 1]])
def test_weight_network_is_a_perceptron(widths: list[int]) -> None:
    network = WeightNetwork(widths)
    theta, inputs = random(3, 4, network.size).double(), random(3, 4, widths[0], seed=1).double()
    outputs = network(theta, inputs)
    assert outputs.shape == (3, 4, widths[-1])
    for row in range(3):
        for sample in range(4):
            expected = sequential(theta[row, sample], widths)(inputs[row, sample])
            torch.testing.assert_close(outputs[row, sample], expected)


def test_weights_are_drawn_by_fan_in_and_the_last_layer_quietly() -> None:
    torch.manual_seed(0)
    network = WeightNetwork([100, 100, 100])
    first, last = network.draw(last_gain=0.1).split(10_100)
    assert first[:10_000].std().item() == pytest.approx(0.1, rel=0.05)
    assert first[10_000:].abs().max() <= 0.1
    assert last[:10_000].std().item() == pytest.approx(0.01, rel=0.05)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_a_head_turns_states_into_distributions(head: Head) -> None:
    theta = random(4, 9, head.size).requires_grad_()
    emitted = head(theta, torch.linspace(0, 1, 9).expand(4, -1))
    assert isinstance(emitted, Gaussian)
    assert emitted.mean.shape == emitted.log_scale.shape == (4, 9, 3)
    assert emitted.coupling.shape == (4, 9, 3)
    emitted.log_density(torch.zeros(3)).sum().backward()
    assert theta.grad is not None
    assert theta.grad.isfinite().all()
    # Each trajectory and sample is read on its own.
    alone = head(theta[2:3, 4:5], torch.full((1, 1), 0.5))
    torch.testing.assert_close(alone.mean[0, 0], emitted.mean[2, 4])
    assert head.base().shape == (head.size,)


def test_direct_starts_at_the_prior() -> None:
    head = Direct(4)
    emitted = head(head.base().double(), torch.zeros(()))
    point = random(10, 4).double()
    standard = -0.5 * point.square().sum(dim=-1) - 2.0 * math.log(2.0 * math.pi)
    torch.testing.assert_close(emitted.log_density(point), standard)
    torch.testing.assert_close(emitted.covariance(), torch.eye(4).double())


def test_direct_is_the_unknowns_themselves() -> None:
    theta = random(5, state_size(4))
    assert torch.equal(Direct(4)(theta, torch.zeros(5)).mean, theta[:, :4])


def test_weights_see_the_time() -> None:
    torch.manual_seed(0)
    head = Weights(2, width=8)
    theta = head.base().expand(2, -1)
    mean = head(theta, torch.tensor([0.0, 1.0])).mean
    assert not torch.equal(mean[0], mean[1])


def test_initial_state_is_learned_or_of_the_first_sample() -> None:
    torch.manual_seed(0)
    base, signal = random(6), random(3, 4)
    shared = InitialState(4, base, width=0)
    assert torch.equal(shared(signal), base.expand(3, -1))
    own = InitialState(4, base, width=8)
    found = own(signal)
    assert found.shape == (3, 6)
    assert not torch.equal(found[0], found[1])
    assert (found - base).abs().max() < 0.5
    found.sum().backward()
    assert all(value.grad is not None for value in own.parameters())
