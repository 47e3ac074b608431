"""Heads as a user writes them: one that is trained, and one that is not."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from warp_phys.models.estimator import Estimates, Estimator, Memory, StreamEstimate
from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.heads.head import Head, TrainedHead
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System


class Linear(TrainedHead):
    """A state of any size, read by one matrix."""

    name = "my_linear"

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    @override
    def build(self, coordinates: int) -> None:
        self.coordinates = coordinates
        self.matrix = nn.Linear(self.size, state_size(coordinates))

    @override
    def base(self) -> Tensor:
        return torch.zeros(self.size)

    @override
    def forward(self, theta: Tensor, elapsed: Tensor) -> Gaussian:
        return Gaussian.from_state(self.matrix(theta), self.coordinates)


class LargestSoFar(Head):
    """The one parameter of a system is the largest value seen so far; nothing is trained."""

    name = "my_largest_so_far"
    trains = False
    drives = ()
    default_drive = "none"

    @override
    def check(self, system: System) -> None:
        if len(system.parameters) != 1:
            raise UsageError(
                f"the head 'my_largest_so_far' is for one parameter, not {system.name}"
            )

    @override
    def estimator(self, system: System, trained: Callable[[], Estimator]) -> Estimator:
        return _Largest(system)


class _Largest:
    forcing = False

    def __init__(self, system: System) -> None:
        self.outputs = system.output_names[:1]

    def estimate(self, records: Records, level: float, *, show: bool) -> Estimates:
        return Estimates({"parameters": records.observed.nan_to_num(0.0).cummax(dim=1).values})

    def start(self, sensors: int, dtype: torch.dtype) -> Memory:
        nothing = torch.zeros(sensors, 1, dtype=dtype)
        return _LargestMemory(nothing, torch.full((sensors,), -torch.inf, dtype=dtype))

    def step(
        self, memory: "_LargestMemory", times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Memory, StreamEstimate]:
        largest = memory.largest.maximum(observed.nan_to_num(0.0))
        unknown = torch.full_like(largest, torch.nan)
        return _LargestMemory(largest, times), StreamEstimate(largest, unknown, unknown, unknown)


class _LargestMemory:
    def __init__(self, largest: Tensor, time: Tensor) -> None:
        self.largest, self.time = largest, time

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.largest), 1

    def late(self, times: Tensor) -> Tensor:
        return times <= self.time
