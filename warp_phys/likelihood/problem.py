"""The fit problem: records, unknowns and noise, checked and as tensors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from warp_phys.likelihood.grid import FineGrid
from warp_phys.likelihood.own_noise import OwnNoise
from warp_phys.likelihood.prior import Prior
from warp_phys.likelihood.unknowns import Unknowns
from warp_phys.records.records import Records
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import LEVEL, SampleTerms

NoiseKind = Literal["each", "common", "known"]

# Largest ratio of a state's largest value to the present one that counts in tolerances, where
# errors of the data are relative to each value: those of the integration then are, too. Far from
# the optimum, where coarser tolerances suffice, that would only take time.
_RANGE, _EXACT = 1e5, 1e-6


@dataclass(frozen=True)
class FitProblem:
    """The records of N trajectories and what is estimated from them.

    Attributes:
        system: The model.
        records: What was measured: O outputs at T samples.
        start: (N,), the time of the initial states.
        unknowns: What is estimated.
        group: (N,), group of each trajectory: trajectories that share an unknown, directly or by
            way of others, are one group, which has the same noise levels. Without shared unknowns
            each trajectory is a group of its own.
        noise: "each" output has an unknown level, all have one in "common", or it is "known".
        weights: (N, T, O), one over the known variance of each value, or None.
        distribution: The noise model, with the loss by which it is fitted.
        rtol: Relative tolerance of the integration.
        max_steps: Steps after which an integration is abandoned.
        fine: The time grid of the integration, where the samples alone do not suffice.
        jumps: (N, T, S), amounts that doses add to the states at each sample, before it is
            observed; or None.
        own: Parameters of the noise among the unknowns; the level then is one of them, or known,
            and `noise` is "known".
        prior: The prior of the unknowns, whose posterior density is then maximized.
    """

    system: System
    records: Records
    start: Tensor
    unknowns: Unknowns
    group: Tensor
    noise: NoiseKind
    weights: Tensor | None
    distribution: Noise
    rtol: float
    max_steps: int = 100_000
    fine: FineGrid | None = None
    jumps: Tensor | None = None
    own: OwnNoise | None = None
    prior: Prior | None = None

    def __len__(self) -> int:
        return len(self.records)

    @property
    def counts(self) -> Tensor:
        """(N,) how many samples each trajectory has."""
        return self.records.valid.sum(dim=1)

    @property
    def range(self) -> float:
        """Largest ratio of a state's largest value to the present one that tolerances heed."""
        return _RANGE if self.distribution.relative and self.rtol <= _EXACT else math.inf

    @property
    def seen(self) -> list[int]:
        """Positions of the observed outputs among all outputs of the system."""
        return [self.system.output_names.index(name) for name in self.records.outputs]

    def select(self, rows: Tensor) -> FitProblem:
        """Return the problem of some trajectories, with groups renumbered."""
        return replace(
            self,
            records=self.records.select(rows),
            start=self.start[rows],
            unknowns=self.unknowns.select(rows),
            # Renumbered, because sums over groups are allocated by the largest number.
            group=torch.unique(self.group[rows], return_inverse=True)[1],
            weights=None if self.weights is None else self.weights[rows],
            fine=None if self.fine is None else self.fine.select(rows),
            jumps=None if self.jumps is None else self.jumps[rows],
            prior=None if self.prior is None else self.prior.select(rows),
        )

    def on_fine_grid(self) -> FitProblem:
        """Return the problem on its fine grid, on which an engine integrates it."""
        if self.fine is None:
            return self
        return replace(
            self,
            records=self.fine.records,
            weights=self.fine.weights,
            jumps=self.fine.jumps,
            fine=None,
        )

    @property
    def is_squared(self) -> bool:
        """Whether the objective is one of sums of squares, from which levels are eliminated."""
        plain = self.own is None and self.records.censored is None and self.prior is None
        return plain and self.distribution.is_squared

    @property
    def is_whole(self) -> bool:
        """Whether the objective is the whole negative log likelihood: nothing is eliminated."""
        if self.own is not None or self.records.censored is not None or self.prior is not None:
            return True
        plain = self.distribution.summed() is self.distribution
        return plain and self.noise == "known" and not self.distribution.is_squared

    @property
    def frees_levels(self) -> bool:
        """Whether unknown levels of noise are estimated jointly, without priors."""
        own = self.own
        return own is not None and self.prior is None and any(LEVEL in one for one in own.names)

    @property
    def terms(self) -> list[SampleTerms]:
        """What is summed up for each sample, by output."""
        censored = self.records.censored is not None
        return [
            SampleTerms(
                self.distribution.of(output),
                () if self.own is None else self.own.names[output],
                censored,
            )
            for output in range(len(self.records.outputs))
        ]

    @property
    def _measured(self) -> Tensor:
        """(N, T, O), the values that were measured; NaN where they are limits or missing."""
        records = self.records
        if records.censored is None:
            return records.observed
        return records.observed.masked_fill(records.censored > 0.0, torch.nan)

    def residuals(self, predicted: Tensor) -> Tensor:
        """Return the residuals (N, T, O) of the noise model, NaN where nothing was seen."""
        found = self.distribution.residual(self._measured, predicted)
        # A prediction that diverged, or has no logarithm, counts as missing here.
        return found.nan_to_num(torch.nan, torch.nan, torch.nan)

    def standardized(self, predicted: Tensor, parameters: Tensor) -> Tensor:
        """Return residuals (N, T, O) over their standard deviation; NaN where nothing was seen.

        Args:
            predicted: (N, T, O).
            parameters: (N, P + Q), the parameters of the system and of the noise.
        """
        columns = []
        for output in range(len(self.records.outputs)):
            noise = self.distribution.of(output)
            values = {} if self.own is None else self.own.values(parameters, output)
            level = values.pop(LEVEL, torch.ones_like(parameters[:, :1]))
            if self.weights is not None:
                level = self.weights[..., output].rsqrt()
            observed, f = self._measured[..., output], predicted[..., output]
            columns.append(noise.at(values).standardized(observed, f, level))
        found = torch.stack(columns, dim=2)
        return torch.where(found.isfinite(), found, torch.nan)

    def squared(self) -> FitProblem:
        """Return the problem with squared loss in the same residuals, and levels eliminated.

        Limits are missing values there or, where too few others are left, measured ones.
        """
        records = self.records
        if records.censored is not None:
            few = self._measured.isfinite().sum(dim=(1, 2)) <= len(self.unknowns)
            kept = (records.censored == 0.0) | few[:, None, None]
            observed = torch.where(kept, records.observed, torch.nan)
            records = replace(records, observed=observed, censored=None)
        return replace(
            self,
            distribution=self.distribution.squared(),
            records=records,
            fine=None if self.fine is None else self.fine.observing(records),
            unknowns=self.unknowns if self.own is None else self.unknowns.without_noise(),
            noise=self.noise if self.own is None else self.own.kind,
            own=None,
            prior=None,
        )
