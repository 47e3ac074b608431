"""The part of a model that reads sensors, one sample at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from warp_phys.models.choices import Choices
from warp_phys.models.estimator import Estimator, Memory, StreamEstimate
from warp_phys.models.information.estimator import KEEP, InformationEstimator
from warp_phys.models.streaming import check_start, checked_inputs, checked_sample
from warp_phys.systems.errors import UsageError
from warp_phys.systems.model.system import System


class StreamedModel(nn.Module):
    """A model of a system that reads sensors."""

    system: System
    choices: Choices

    def estimator(self) -> Estimator:
        """Return the estimator."""
        raise NotImplementedError

    def init_state(
        self,
        sensors: int = 1,
        *,
        dtype: torch.dtype = torch.float64,
        keep: int | None = None,
        outputs: Sequence[str] | None = None,
    ) -> Memory:
        """Return the memory of sensors before their first sample; its size is bounded.

        The memory of the information head can be saved, `state.save("sensors.safetensors")`, and
        goes on where it was with `model.init_state(sensors).restored("sensors.safetensors")`.

        Args:
            sensors: The number of sensors.
            dtype: The dtype of the steps. With torch.float32 they take about half the time and
                the memory half the space; estimates then differ from those of `estimate` in the
                sixth or seventh digit. The information head and the regression head have
                torch.float64 alone.
            keep: Of the information head: how many samples of each sensor are kept, 1024 by
                default. What older ones said stays in the information alone, which is not
                linearized anew.
            outputs: Of the information head: the outputs that the sensors measure, all by default.

        Raises:
            UsageError: An argument is invalid, or has no effect with this head.
        """
        check_start(sensors, dtype)
        estimator = self.estimator()
        if isinstance(estimator, InformationEstimator):
            return estimator.begin(sensors, dtype, KEEP if keep is None else keep, outputs)
        for name, value in (("keep", keep), ("outputs", outputs)):
            if value is not None:
                raise UsageError(
                    f"expected no {name} with head={self.choices.head.name!r}, which keeps no "
                    f"samples and reads the outputs it was made for, got {value!r}; leave it out"
                )
        return estimator.start(sensors, dtype)

    @torch.no_grad()
    def step(
        self, state: Any, times: Any, observed: Any, inputs: Any = None
    ) -> tuple[Memory, StreamEstimate]:
        """Process one new sample of every sensor.

        Args:
            state: From `init_state` or the last step.
            times: (N,) or a number, in the system's time unit.
            observed: (N, O), NaN where missing, in the order the model was trained on, or else that
                of `init_state`.
            inputs: (N, I), where the system has inputs.

        Returns:
            The new memory, and the estimate at this sample: what `estimate` gives for the record
            so far.

        Example:
            >>> from warp_phys import WarpPhys
            >>> from warp_phys.systems import LotkaVolterra
            >>> model = WarpPhys(LotkaVolterra(), head="regression")
            >>> state = model.init_state()
            >>> for time, prey, predator in [(0, 10, 5), (0.1, 10.2, 5.1), (0.2, 10.5, 5.2)]:
            ...     state, now = model.step(state, time, [[prey, predator]])
            >>> now.parameters.shape
            torch.Size([1, 4])
        """
        clock, values = checked_sample(state, times, observed)
        known = checked_inputs(self.system, len(clock), inputs)
        return self.estimator().step(state, clock, values, known)
