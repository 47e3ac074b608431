"""The contract every trained head keeps: inherit `HeadContract` and make the head.

class TestLinear(HeadContract):
    def make(self):
        return Linear(8)
"""

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from tests.warp_phys.models.model_checks import (
    assert_file_gives_the_same,
    assert_same_seed_same_bits,
    assert_stream_equals_estimate,
    trained,
)
from warp_phys.models.gaussian import Gaussian
from warp_phys.models.heads.head import TrainedHead
from warp_phys.models.heads.registry import HEADS


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def built(head: TrainedHead, coordinates: int = 3) -> TrainedHead:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head.build(coordinates)
    return head


@pytest.mark.filterwarnings("ignore:the bands stay NaN")
class HeadContract:
    """What is tested of one head; see the module."""

    # Of a head of the package: the settings of a model that make it as `make` does.
    options: ClassVar[dict[str, Any]] = {}

    def make(self) -> TrainedHead:
        """Return the head as its user makes it, without parameters."""
        raise NotImplementedError

    def choices(self) -> dict[str, Any]:
        """Return the arguments of a model with this head."""
        head = self.make()
        chosen = {"head": head.name if self.is_shipped() else head, "drive": "difference"}
        return chosen | {"width": 8} | self.options

    def is_shipped(self) -> bool:
        """Whether the head comes with the package, so that a name is enough."""
        return type(self.make()) in HEADS.values()

    def test_it_has_no_parameters_before_it_is_built(self) -> None:
        assert self.make().name
        assert not list(self.make().parameters())

    def test_it_turns_states_into_distributions(self) -> None:
        head = built(self.make())
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

    def test_records_at_once_equal_state_by_state(self) -> None:
        network = trained(**self.choices()).built()[0]
        signals = random(3, 6, network.drive.signal_width).double()
        elapsed = torch.linspace(0, 1, 6).double().expand(3, -1)
        at_once = network(signals, elapsed)
        singly = network.head(network.states(signals), elapsed)
        for name in ("mean", "log_scale", "coupling"):
            torch.testing.assert_close(getattr(at_once, name), getattr(singly, name))

    def test_a_model_with_it_streams_as_it_estimates(self) -> None:
        model = trained(**self.choices())
        assert type(model.built()[0].head) is type(self.make())
        assert_stream_equals_estimate(model)

    def test_the_same_seed_gives_the_same_bits(self) -> None:
        assert_same_seed_same_bits(**self.choices())

    def test_a_file_gives_the_same_estimates(self, tmp_path: Path) -> None:
        own = {} if self.is_shipped() else {"head": self.make()}
        assert_file_gives_the_same(trained(**self.choices()), tmp_path / "m.safetensors", **own)
