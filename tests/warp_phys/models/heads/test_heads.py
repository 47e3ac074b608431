"""Heads: the contract, and what each of them is; networks of given weights; initial states."""

import math
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typing_extensions import override

import warp_phys as wp
from tests.warp_phys.models.heads.head_contract import HeadContract, built, random
from tests.warp_phys.models.heads.own_heads import LargestSoFar, Linear
from tests.warp_phys.models.model_checks import subclasses_in
from warp_phys.data_gen import simulate
from warp_phys.models.gaussian import state_size
from warp_phys.models.heads.direct import Direct
from warp_phys.models.heads.head import TrainedHead
from warp_phys.models.heads.readout import Readout
from warp_phys.models.heads.registry import HEADS
from warp_phys.models.heads.weights import Weights
from warp_phys.models.initial_state import InitialState
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.systems import Parameter, State, System, UsageError


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


class TestDirect(HeadContract):
    @override
    def make(self) -> TrainedHead:
        return Direct()


class TestWeights(HeadContract):
    options: ClassVar[dict[str, Any]] = {"root_width": 5}

    @override
    def make(self) -> TrainedHead:
        return Weights(root_width=5)


class TestReadout(HeadContract):
    options: ClassVar[dict[str, Any]] = {"state_size": 7}

    @override
    def make(self) -> TrainedHead:
        return Readout(state_size=7, width=8)


class TestOwnHead(HeadContract):
    @override
    def make(self) -> TrainedHead:
        return Linear(8)


def test_every_trained_head_in_the_folder_is_tested() -> None:
    contracts = subclasses_in(globals(), HeadContract)
    tested = {type(contract().make()) for contract in contracts}
    missing = [
        name for name, head in HEADS.items() if issubclass(head, TrainedHead) and head not in tested
    ]
    assert not missing, f"write a class that inherits HeadContract for {', '.join(missing)}"


def test_direct_starts_at_the_prior() -> None:
    head = built(Direct(), 4)
    emitted = head(head.base().double(), torch.zeros(()))
    point = random(10, 4).double()
    standard = -0.5 * point.square().sum(dim=-1) - 2.0 * math.log(2.0 * math.pi)
    torch.testing.assert_close(emitted.log_density(point), standard)
    torch.testing.assert_close(emitted.covariance(), torch.eye(4).double())


def test_direct_is_the_unknowns_themselves() -> None:
    theta = random(5, state_size(4))
    assert torch.equal(built(Direct(), 4)(theta, torch.zeros(5)).mean, theta[:, :4])


def test_weights_see_the_time() -> None:
    head = built(Weights(root_width=8), 2)
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


class TestHeadWithoutTraining:
    """A user's own head that reads records by itself."""

    def test_it_estimates_and_streams(self) -> None:
        system = OneParameter()
        data = simulate(system, n=3, times=np.arange(5.0), missing=0.2, seed=0)
        model = wp.WarpPhys(system, head=LargestSoFar())
        assert model.trained
        assert repr(model) == "WarpPhys(one_parameter, head=my_largest_so_far, nothing to train)"
        batch = wp.estimate(model, data)
        state = model.init_state(3)
        for place, time in enumerate(data.time.values):
            state, now = model.step(state, time, data.observed.values[:, place])
            np.testing.assert_array_equal(now.parameters, batch.parameters[:, place])
        with pytest.raises(UsageError, match="times to increase, got 4 for sensor 0 after 4"):
            model.step(state, 4.0, data.observed.values[:, 0])

    def test_it_checks_the_system_and_has_nothing_to_train(self) -> None:
        with pytest.raises(UsageError, match="for one parameter, not lotka_volterra"):
            wp.WarpPhys("lotka_volterra", head=LargestSoFar())
        system = OneParameter()
        data = simulate(system, n=20, times=np.arange(5.0), seed=0)
        model = wp.WarpPhys(system, head=LargestSoFar())
        with pytest.raises(
            UsageError, match="the my_largest_so_far head has nothing to train; call"
        ):
            wp.train(model, data, progress=False)
        with pytest.raises(UsageError, match="expected no rank with head='my_largest_so_far'"):
            wp.WarpPhys(system, head=LargestSoFar(), rank=2)
        with pytest.raises(
            UsageError, match="expected no drive with head='my_largest_so_far', which does not"
        ):
            wp.WarpPhys(system, head=LargestSoFar(), drive="features")


class OneParameter(System):
    """x' = -rate x."""

    states = (State("x", "1"),)
    parameters = (Parameter("rate", "1", "positive", (0.1, 1.0)),)

    @override
    def rhs(self, t, y, p):
        return (-p.rate * y[0],)
