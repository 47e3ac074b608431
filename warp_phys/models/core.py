"""The core of `WarpPhys` and `Warp`: scaling, drive, initial state and linear recurrence."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from warp_phys.models.check_drive import check_built
from warp_phys.models.drives.drive import Drive
from warp_phys.models.initial_state import InitialState
from warp_phys.models.scaling import Samples, Scaling
from warp_phys.models.settings import Settings
from warp_phys.models.stream import Stream
from warp_phys.models.weight_network import WeightNetwork
from warp_phys.records.records import Records
from warp_phys.recurrence.layer import LinearRecurrence
from warp_phys.recurrence.networks.outputs import root_outputs
from warp_phys.recurrence.networks.tiles import decode_states, exceeds_budget
from warp_phys.recurrence.transitions.transition import Transition

# These bound the memory of a pass over long data sets.
_SAMPLES_AT_ONCE = 200_000
_STEPS_AT_ONCE = 64


class Core(nn.Module):
    """theta_t = A theta_{t-1} + B u_t over scaled records.

    Args:
        settings: The settings of the model.
        drive: The drive, which is sized here.
        structure: The structure of A.
        base: (D,), hidden state from which training starts.
        outputs: Number of observed outputs.
        inputs: Number of known inputs.
        logarithmic: Whether the outputs carry log-normal noise.
    """

    def __init__(
        self,
        settings: Settings,
        drive: Drive,
        structure: type[Transition],
        base: Tensor,
        outputs: int,
        inputs: int,
        *,
        logarithmic: bool,
    ) -> None:
        super().__init__()
        self.dtype = settings.torch_dtype
        self.scaling = Scaling(outputs, inputs, logarithmic=logarithmic)
        drive.build(self.scaling.width, outputs)
        check_built(drive, self.scaling.width, outputs)
        self.drive = drive.to(self.dtype)
        self.initial = InitialState(
            self.drive.signal_width,
            base,
            width=settings.width if settings.initial == "first_sample" else 0,
        ).to(self.dtype)
        self.recurrence = LinearRecurrence(
            base.numel(),
            self.drive.width,
            structure=structure,
            rank=settings.rank,
            stable=settings.stable,
            decay=settings.decay,
            dtype=self.dtype,
        )
        self._copies: dict[torch.dtype, Self] = {}

    def signals(self, records: Records) -> Tensor:
        """Return the signals that the drive reads, (N, T, C), of all records."""
        parts = [
            self.drive.signals(self.scaling(records.select(piece), self.dtype))
            for piece in blocks(len(records), records.times.shape[1])
        ]
        return torch.cat(parts)

    def elapsed(self, records: Records) -> Tensor:
        """Return the time since the first sample in lengths of the training grid, (N, T)."""
        return (records.elapsed / self.scaling.duration).to(self.dtype)

    def for_inference(self) -> None:
        """Switch to float64, whatever dtype training used.

        Rounding errors of matrix products depend on the shape of the batch. In float64 a trajectory
        gets the same estimate alone, in any batch and as a stream, up to about 1e-15.
        """
        self.double().eval().requires_grad_(requires_grad=False)
        self.dtype = torch.float64

    def of_dtype(self, dtype: torch.dtype) -> Self:
        """Return this network, or a copy whose weights are rounded to another dtype.

        The copy is made on first use, and again for every new stream. It shares the buffers that
        were measured, scales and bands.
        """
        if dtype == self.dtype:
            return self
        if dtype not in self._copies:
            self._copies[dtype] = self._rounded(dtype)
        return self._copies[dtype]

    def _rounded(self, dtype: torch.dtype) -> Self:
        rounded = copy.copy(self)
        rounded.dtype, rounded._copies = dtype, {}
        rounded._modules = {
            name: copy.deepcopy(part).to(dtype) if part and [*part.parameters()] else part
            for name, part in self._modules.items()
        }
        return rounded

    def states(self, signals: Tensor) -> Tensor:
        """Return theta at every sample, (N, T, D)."""
        first = self.initial(signals[:, 0])
        # theta_0 already depends on the first sample, so that the recurrence starts with the
        # second.
        later = self.recurrence(self.drive(signals)[:, 1:], first)
        return torch.cat([first.unsqueeze(1), later], dim=1)

    def root_outputs(
        self, signals: Tensor, root: WeightNetwork, points: Tensor, place: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Decode theta at every sample as weights of a network of time, without storing all theta.

        Args:
            signals: (N, T, C).
            root: The network.
            points: (N, T, width of its input), points at which it is evaluated for each sample.
            place: Number of a sample.

        Returns:
            The network's outputs (N, T, O), and theta at the sample `place`, (N, D).
        """
        return root_outputs(
            self.recurrence.transition(),
            self.recurrence.input_matrix,
            self.drive(signals)[:, 1:],
            self.initial(signals[:, 0]),
            root.shapes,
            points,
            place,
        )

    def readings(self, signals: Tensor, read: Callable[[Tensor], Tensor]) -> Tensor:
        """Return `read` of theta (N, M, D) at every sample, (N, T, ...).

        Where all theta at once would take too much memory, it is evaluated in tiles of time, each
        of which is recomputed in the backward pass.
        """
        batch, length, _ = signals.shape
        transition, matrix = self.recurrence.transition(), self.recurrence.input_matrix
        if length == 1 or not exceeds_budget(batch, length, len(matrix), matrix):
            return read(self.states(signals))
        first = self.initial(signals[:, 0])

        def decode(states: Tensor, _start: int, _stop: int) -> tuple[Tensor]:
            return (read(states),)

        (later,) = decode_states(transition, matrix, self.drive(signals)[:, 1:], first, decode)
        return torch.cat([read(first.unsqueeze(1)), later], dim=1)

    def states_at(self, signals: Tensor, index: Tensor) -> Tensor:
        """Return theta at one sample of each record, (N, D), whose numbers are `index` (N,)."""
        first = self.initial(signals[:, 0])
        if signals.shape[1] == 1:
            return first
        tile = _STEPS_AT_ONCE
        rows = torch.arange(len(index))

        def chosen(states: Tensor, start: int, stop: int) -> tuple[Tensor]:
            # One state per tile: the requested one if it is in the tile, otherwise the nearest one.
            place = (index - 1).clamp(start, stop - 1) - start
            return (states[rows, place].unsqueeze(1),)

        transition, matrix = self.recurrence.transition(), self.recurrence.input_matrix
        inputs = self.drive(signals)[:, 1:]
        (found,) = decode_states(transition, matrix, inputs, first, chosen, tile=tile)
        # Sample `index` is state number index - 1 of the recurrence; its tile holds it.
        later = found[rows, (index - 1).clamp_min(0) // tile]
        return torch.where((index == 0).unsqueeze(1), first, later)

    def init_stream(self, count: int, dtype: torch.dtype | None = None) -> Stream:
        """Return the memory of `count` sensors before their first sample.

        Args:
            count: N.
            dtype: The dtype of the steps; by default that of the weights.
        """
        outputs = self.scaling.outputs
        double = torch.float64
        dtype = self.dtype if dtype is None else dtype
        # The weights may have changed since the last stream, by training or loading.
        self._copies.pop(dtype, None)
        return Stream(
            theta=None,
            signals=torch.zeros(
                count,
                self.drive.reach,
                self.drive.signal_width,
                dtype=dtype,
            ),
            start=torch.zeros(count, dtype=double),
            elapsed=torch.zeros(count, dtype=double),
            seen=torch.zeros(count, outputs, dtype=torch.bool),
            last=torch.zeros(count, outputs, dtype=double),
            count=0,
        )

    def step(
        self, stream: Stream, times: Tensor, observed: Tensor, inputs: Tensor
    ) -> tuple[Stream, Tensor, Tensor]:
        """Process one sample of every sensor.

        Args:
            stream: The memory.
            times: (N,).
            observed: (N, O), NaN where missing.
            inputs: (N, I).

        Returns:
            The new memory, theta (N, D) as the whole record gives it, and the scaled time (N,).
        """
        start = times if stream.count == 0 else stream.start
        elapsed = times - start
        present = observed.isfinite()
        seen = present | stream.seen
        last = torch.where(present, observed, stream.last)
        samples = self._sample(stream, elapsed, torch.where(seen, last, torch.nan), present, inputs)
        signal = self.drive.signals(samples)
        # A sliding window of the last `reach` signals: all that the drive depends on.
        signals = torch.cat([stream.signals[:, 1:], signal], dim=1)
        if stream.theta is None:
            theta = self.initial(signal[:, 0])
        else:
            theta = self._advanced(self.drive.latest(signals), stream.theta)
        memory = Stream(theta, signals, start, elapsed, seen, last, stream.count + 1)
        return memory, theta, samples.elapsed[:, 0]

    def _sample(
        self, stream: Stream, elapsed: Tensor, held: Tensor, present: Tensor, inputs: Tensor
    ) -> Samples:
        """Scale one sample (N, 1, ...), its gaps filled, and its time step."""
        samples = self.scaling.scale(
            held.unsqueeze(1),
            present.unsqueeze(1),
            inputs.unsqueeze(1),
            torch.ones((len(elapsed), 1), dtype=torch.bool),
            elapsed.unsqueeze(1),
            self.dtype,
        )
        if stream.count == 0:
            return samples
        # As in `Scaling.scale`, whose first sample has no step before it.
        step = (elapsed - stream.elapsed) / self.scaling.typical_step - 1.0
        return replace(samples, step=step.unsqueeze(1).to(self.dtype))

    def _advanced(self, drive: Tensor, theta: Tensor) -> Tensor:
        """Return the next theta (N, D)."""
        driven = drive @ self.recurrence.input_matrix.mT
        return self.recurrence.transition().step_into(theta, driven)


def blocks(count: int, length: int) -> Sequence[slice]:
    """Return slices over `count` trajectories that hold a bounded number of samples each."""
    size = max(1, _SAMPLES_AT_ONCE // max(1, length))
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]
