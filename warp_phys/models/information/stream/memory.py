"""The memory of the information head between samples of sensors."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from warp_phys.models.information.interval import Position
from warp_phys.models.information.state import Running
from warp_phys.models.information.stream.about import About
from warp_phys.models.information.stream.files import read_memory, write_memory
from warp_phys.models.information.stream.window import Window

_KIND = "memory of the information head"


@dataclass(frozen=True)
class InformationMemory:
    """What is known about N sensors, and their last samples: of bounded size.

    Attributes:
        running: What is known.
        position: Where the sensors are at the last sample, at the point of the linearization.
        sensitivity: (N, S, D), derivatives of the states there by the coordinates.
        kept: The last samples, at most `keep`, each (N, 1 + O + I): time, outputs and inputs.
        window: Where they begin, if older ones were dropped.
        count: Samples so far.
        keep: How many samples are kept at most.
        about: What it belongs to.
    """

    running: Running
    position: Position
    sensitivity: Tensor
    kept: tuple[Tensor, ...]
    window: Window | None
    count: int
    keep: int
    about: About

    @property
    def shape(self) -> tuple[int, int]:
        """The number of sensors and of outputs."""
        sensors, outputs = self.running.size.shape
        return sensors, outputs

    @property
    def time(self) -> Tensor:
        """(N,), the time of the last sample."""
        return self.position.time

    def late(self, times: Tensor) -> Tensor:
        """Return which of the next times (N,) do not come after the last sample."""
        # Before the first sample the time is NaN, which nothing is compared with.
        return times <= self.time

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the memory as safetensors with a JSON header.

        Raises:
            UsageError: The name does not end in .safetensors.
            OutputExistsError: The file exists and `overwrite` is off.
        """
        tensors = self.running.flat("running") | self.position.flat("position")
        tensors["sensitivity"] = self.sensitivity
        if self.kept:
            tensors["kept"] = torch.stack(self.kept)
        if self.window is not None:
            tensors |= self.window.flat("window")
        header = {"count": self.count, "keep": self.keep}
        write_memory(path, _KIND, tensors, header, self.about, overwrite=overwrite)

    def restored(self, path: str | os.PathLike[str]) -> InformationMemory:
        """Return the memory in a file, which must belong to the same sensors as this one.

        Raises:
            FileNotFoundError: There is no such file.
            SchemaError: It holds no such memory, or one of another system, other unknowns,
                outputs, noise, priors or known values, or another number of sensors.
        """
        sensors, _ = self.shape
        tensors, header = read_memory(path, _KIND, self.about, "sensitivity", sensors)
        size = self.running.size
        window = Window(self.position, size, self.sensitivity, self.running.sums, size)
        return replace(
            self,
            running=self.running.from_flat("running", tensors),
            position=self.position.from_flat("position", tensors),
            sensitivity=tensors["sensitivity"],
            kept=tensors["kept"].unbind() if "kept" in tensors else (),
            window=window.from_flat("window", tensors) if "window.point" in tensors else None,
            count=header["count"],
            keep=header["keep"],
        )
