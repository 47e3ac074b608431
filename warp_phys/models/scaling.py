"""Scaling of records for a network: standardized samples, gaps filled with the last value."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from warp_phys.records.records import Records

# Readings are clipped at this many standard deviations: an outlier must not saturate the network.
_CLIP = 8.0


@dataclass(frozen=True)
class Samples:
    """Scaled samples of N trajectories, in the dtype of the model.

    Attributes:
        signal: (N, T, C) scaled outputs and inputs, the last value held across gaps.
        missing: (N, T, O), 1 where the output was not measured, else 0.
        step: (N, T) time since the previous sample, in typical steps, less one; 0 at the first.
        elapsed: (N, T) time since the first sample, in lengths of the training grid.
    """

    signal: Tensor
    missing: Tensor
    step: Tensor
    elapsed: Tensor


class Scaling(nn.Module):
    """Scales records by center and spread of the training data.

    Outputs with log-normal noise are read twice: as logarithms and, because the physics adds values
    and not logarithms, in a compressed linear scale. Other outputs are standardized.

    Attributes:
        logarithmic: Whether the outputs are read as logarithms.
    """

    center: Tensor
    spread: Tensor
    input_center: Tensor
    input_spread: Tensor
    typical_step: Tensor
    duration: Tensor

    def __init__(self, outputs: int, inputs: int, *, logarithmic: bool) -> None:
        super().__init__()
        self.logarithmic = logarithmic
        self.outputs = outputs
        self.width = outputs * (2 if logarithmic else 1) + inputs
        for name, size in (
            ("center", outputs),
            ("spread", outputs),
            ("input_center", inputs),
            ("input_spread", inputs),
            ("typical_step", ()),
            ("duration", ()),
        ):
            self.register_buffer(name, torch.ones(size, dtype=torch.float64))

    def measure(self, records: Records) -> None:
        """Compute centers and spreads from the training records."""
        observed = self._transformed(records.observed).flatten(0, 1)
        self.center.copy_(observed.nanmedian(dim=0).values)
        # From quartiles, because a few trajectories may diverge: the interquartile range of a
        # normal distribution is 1.349 standard deviations.
        low, high = torch.stack([_quantiles(column) for column in observed.T], dim=1)
        self.spread.copy_(((high - low) / 1.349).clamp_min(torch.finfo(torch.float64).tiny))
        self.spread[high <= low] = 1.0
        if records.inputs.shape[-1]:
            flat = records.inputs.flatten(0, 1)
            flat = flat[flat.isfinite().all(dim=-1)]
            self.input_center.copy_(flat.mean(dim=0))
            deviation = flat.std(dim=0)
            self.input_spread.copy_(torch.where(deviation > 0, deviation, 1.0))
        steps = records.times.diff(dim=1)
        steps = steps[steps.isfinite()]
        self.typical_step.copy_(steps.median() if steps.numel() else torch.tensor(1.0))
        longest = records.elapsed.max()
        self.duration.copy_(longest if longest > 0 else torch.tensor(1.0))

    def forward(self, records: Records, dtype: torch.dtype) -> Samples:
        """Return the scaled samples of records."""
        previous = torch.zeros(len(records), self.outputs, dtype=torch.float64)
        seen = torch.zeros(len(records), self.outputs, dtype=torch.bool)
        held = hold(records.observed, seen, previous)[0]
        return self.scale(held, records.seen, records.inputs, records.valid, records.elapsed, dtype)

    def scale(
        self,
        held: Tensor,
        seen: Tensor,
        inputs: Tensor,
        valid: Tensor,
        elapsed: Tensor,
        dtype: torch.dtype,
    ) -> Samples:
        """Scale values whose gaps are already filled (NaN before the first measurement)."""
        standard = (self._transformed(held) - self.center) / self.spread
        channels = [standard]
        if self.logarithmic:
            # asinh is linear for small values and logarithmic for large ones, in units of the
            # median.
            channels.append(torch.asinh(held / self.center.exp()))
        if inputs.shape[-1]:
            channels.append((inputs - self.input_center) / self.input_spread)
        signal = torch.cat(channels, dim=-1).nan_to_num(0.0).clamp(-_CLIP, _CLIP)
        step = elapsed.diff(dim=1, prepend=elapsed[:, :1])
        first = torch.zeros_like(valid)
        first[:, 0] = True
        # Relative deviation from the typical step, which is zero on a regular grid; the first
        # sample has no step before it.
        step = torch.where(valid & ~first, step / self.typical_step - 1.0, 0.0)
        return Samples(
            signal=signal.to(dtype),
            missing=(~seen).to(dtype),
            step=step.to(dtype),
            elapsed=(elapsed / self.duration).to(dtype),
        )

    def residual(self, predicted: Tensor, observed: Tensor) -> Tensor:
        """Return (predicted - observed) in standard deviations of the data, NaN where missing."""
        spread = self.spread.to(predicted.dtype)
        reference = self._transformed(observed).to(predicted.dtype)
        return (self._transformed(predicted) - reference) / spread

    def _transformed(self, values: Tensor) -> Tensor:
        if not self.logarithmic:
            return values
        return torch.where(values > 0, values, torch.nan).log()


def hold(observed: Tensor, seen_before: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fill gaps with the last measured value.

    Args:
        observed: (N, T, O), NaN where missing.
        seen_before: (N, O), whether there is an earlier value.
        last: (N, O), that value.

    Returns:
        The filled values, NaN before the first one, and the updated two arguments.
    """
    start = torch.where(seen_before, last, torch.nan)
    extended = torch.cat([start[:, None], observed], dim=1)
    position = torch.arange(extended.shape[1]).view(1, -1, 1)
    # The index of the last finite value so far, by a cumulative maximum; index 0 is the value from
    # before these samples.
    source = torch.where(extended.isfinite(), position, 0).cummax(dim=1).values
    filled = extended.gather(1, source)[:, 1:]
    if filled.shape[1] == 0:
        return filled, seen_before, last
    return filled, filled[:, -1].isfinite(), filled[:, -1].nan_to_num(0.0)


def _quantiles(values: Tensor) -> Tensor:
    """Return the lower and upper quartile of finite values (of at most a million of them)."""
    finite = values[values.isfinite()]
    sample = finite[:: max(1, finite.numel() // 1_000_000 + 1)] if finite.numel() else finite
    if not sample.numel():
        return torch.zeros(2, dtype=torch.float64)
    return torch.quantile(sample, torch.tensor([0.25, 0.75], dtype=torch.float64))
