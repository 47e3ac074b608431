"""The prior of the unknowns: a normal distribution in their unconstrained coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warp_phys.likelihood.unknown import Unknown
from warp_phys.models.information.prior.moments import check_prior, moments
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise

# The level of noise before anything was seen: its logarithm is normal around that of this share of
# the data's size, with this standard deviation. It matters while there are fewer values than
# unknowns, when the residuals alone would let the level go to zero.
USUAL_LEVEL, _LEVEL_SPREAD = 0.05, 2.0
NOISE = "noise_sd"
"""Name of the priors of noise levels."""


@dataclass(frozen=True)
class Prior:
    r"""A normal prior of the D unknowns and of the logarithms of the noise levels.

    Attributes:
        mean: (D,), in the coordinates of the unknowns.
        precision: (D, D), the inverse of the covariance.
        level: (O,), center of log s_o; NaN where it follows from the size of the data.
        level_spread: (O,), standard deviation of log s_o.
    """

    mean: Tensor
    precision: Tensor
    level: Tensor
    level_spread: Tensor

    def level_center(self, size: Tensor) -> Tensor:
        """Return the centers of log s (N, O) for data of this root mean square size (N, O)."""
        # Before anything was seen, or where all values are zero, there is no size.
        usual = (USUAL_LEVEL * torch.where(size > 0.0, size, 1.0)).log()
        return torch.where(self.level.isnan(), usual, self.level)

    def covariance(self) -> Tensor:
        """Return the covariance (D, D)."""
        return torch.linalg.inv(self.precision)


@dataclass(frozen=True)
class Moments:
    """Moments of unknowns over a data set, in coordinates.

    Attributes:
        labels: Labels of the unknowns, as `Unknown.label`.
        mean: (Q,).
        covariance: (Q, Q).
        levels: Mean and standard deviation of log s by output.
        fixed: Parameters that do not vary over the data set.
        states: Initial states that do not vary.
        noise: The noise model.
        trajectories: How many records.
    """

    labels: tuple[str, ...]
    mean: Tensor
    covariance: Tensor
    levels: Mapping[str, tuple[float, float]]
    fixed: Mapping[str, float]
    states: Mapping[str, float]
    noise: Noise
    trajectories: int


def check_names(system: System, given: Mapping[str, Any]) -> None:
    """Raise UnknownNameError unless every prior belongs to something that can be unknown."""
    known = known_labels(system)
    for name, value in given.items():
        if name not in known:
            raise unknown_name(f"quantity of {system.name} that can have a prior,", name, known)
        check_prior(name, value)


def known_labels(system: System) -> list[str]:
    """Return the names under which priors can be given."""
    states = [] if system.has_initial_state else [f"{name}(0)" for name in system.state_names]
    levels = [f"{NOISE}({name})" for name in system.output_names]
    return [*system.parameter_names, *states, NOISE, *levels]


def build_prior(
    entries: Sequence[Unknown],
    outputs: Sequence[str],
    given: Mapping[str, Any],
    learned: Moments | None,
    *,
    relative: bool,
) -> Prior:
    """Return the prior of a problem's unknowns.

    What the caller gives wins over what was learned from a data set, and that over the system's
    ranges, which are taken as uniform distributions of the physical values.

    Args:
        entries: The unknowns.
        outputs: Names of the observed outputs.
        given: Distributions by label.
        learned: Moments over a data set, or None.
        relative: Whether levels of noise are relative to the values.
    """
    unknown = [entry.label for entry in entries]
    idle = [name for name in given if not name.startswith(NOISE) and name not in unknown]
    if idle:
        raise UsageError(
            f"priors[{idle[0]!r}] is of a quantity that is known; leave it out, or make "
            "the quantity unknown"
        )
    pairs = [_moments_of(entry, given) for entry in entries]
    mean = torch.tensor([pair[0] for pair in pairs], dtype=torch.float64)
    covariance = torch.tensor([pair[1] ** 2 for pair in pairs], dtype=torch.float64).diag()
    if learned is not None:
        labels = [name for name in unknown if name in learned.labels and name not in given]
        places = torch.tensor([unknown.index(name) for name in labels]).long()
        source = torch.tensor([learned.labels.index(name) for name in labels]).long()
        mean[places] = learned.mean[source]
        covariance[places.unsqueeze(1), places] = learned.covariance[source][:, source]
    level, spread = _levels(outputs, given, learned, relative=relative)
    return Prior(mean, torch.linalg.inv(covariance), level, spread)


def _moments_of(entry: Unknown, given: Mapping[str, Any]) -> tuple[float, float]:
    if entry.label in given:
        return moments(entry.label, given[entry.label], entry.support)
    if entry.ranged:
        return moments(entry.label, entry.usual, entry.support)
    # Nothing was said about the quantity: a wide prior around its default.
    return entry.middle(), entry.wide()


def _levels(
    outputs: Sequence[str],
    given: Mapping[str, Any],
    learned: Moments | None,
    *,
    relative: bool,
) -> tuple[Tensor, Tensor]:
    center, spread = [], []
    for name in outputs:
        found = given.get(f"{NOISE}({name})", given.get(NOISE))
        if found is not None:
            pair = moments(NOISE, found, "positive")
        elif learned is not None and name in learned.levels:
            pair = learned.levels[name]
        else:
            usual = math.log(USUAL_LEVEL) if relative else math.nan
            pair = usual, _LEVEL_SPREAD
        center.append(pair[0])
        spread.append(pair[1])
    return torch.tensor(center, dtype=torch.float64), torch.tensor(spread, dtype=torch.float64)
