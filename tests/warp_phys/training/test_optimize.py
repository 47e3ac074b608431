"""The training loop, with a task of its own that keeps what it was given."""

from __future__ import annotations

from torch import Tensor, nn

from warp_phys.training.optimize import optimize
from warp_phys.training.schedule import Schedule
from warp_phys.training.task import TrainingTask


class Keeping(TrainingTask):
    """One weight, whatever the seed, and the numbers of the records and samples of every step."""

    count = 1000

    def __init__(self) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        self.network.weight.data.fill_(1.0)
        self.drawn: list[tuple[list[int], int]] = []

    def loss(self, index: Tensor, place: int) -> Tensor:
        self.drawn.append((index.tolist(), place))
        return self.network.weight.square().sum()

    def validation_loss(self) -> float:
        return float(self.network.weight.detach().square().sum())

    def length(self) -> int:
        return 50


def drawn(seed: int) -> list[tuple[list[int], int]]:
    """Return the records and the sample of each of five steps."""
    task = Keeping()
    optimize(task, Schedule("auto", 5, 16, 1e-3, seed, None, None))
    return task.drawn


def test_the_seed_decides_which_records_a_step_takes() -> None:
    """Another seed also changes the first weights of a model, which would hide this."""
    one, again, other = drawn(1), drawn(1), drawn(2)
    assert one == again
    assert len(one) == 5
    assert all(mine != its for mine, its in zip(one, other, strict=True))
    assert len({tuple(index) for index, _ in one}) == 5
    assert {place for _, place in one} != {one[0][1]}
