"""Bands of a forecast: the physics run on from many draws of the unknowns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtr
from torch import Tensor
from tqdm import tqdm

from warp_phys.models.coordinates import Physical, implied_initial_state
from warp_phys.models.roots import flow
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.supports import Support, to_physical
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise

FLOW = {"rtol": 1e-6, "atol": 1e-9}
"""Tolerances of the flows: far below any band, and cheap."""

_FLOWS_AT_ONCE = 20_000

Place = tuple[str, int, Support]
"""Where an unknown belongs: its kind, its place there, and its support."""


@dataclass(frozen=True)
class Spread:
    """Distribution of the unknowns of N trajectories, on the real line.

    Attributes:
        places: What the Q unknowns are.
        mean: (N, Q); NaN where nothing is known of a trajectory.
        root: (N, Q, Q), a square root of the covariance.
        freedom: (N,), degrees of freedom of the noise level, with which all spreads scale; None
            where that level is an unknown itself.
    """

    places: Sequence[Place]
    mean: Tensor
    root: Tensor
    freedom: Tensor | None = None


@dataclass(frozen=True)
class Frozen:
    """What the physics of N trajectories runs on from.

    Attributes:
        labels: The trajectories' labels.
        history: How the unknowns were found; the forecast continues it.
        unknowns: Of each trajectory.
        start: (N,), when its initial state holds.
        outputs: Names of the outputs wanted.
        distribution: The noise model.
        spread: None where nothing is known about the errors of the unknowns.
        max_steps: Steps after which a flow is given up.
        doses: What the states rise by on the way, known beforehand.
    """

    labels: NDArray[Any]
    history: str
    unknowns: Physical
    start: Tensor
    outputs: list[str]
    distribution: Noise
    spread: Spread | None
    max_steps: int
    doses: Doses | None = None


@dataclass(frozen=True)
class Options:
    """How bands are drawn."""

    level: float
    draws: int
    seed: int
    progress: bool


def run_on(system: System, frozen: Frozen, grid: Tensor) -> Tensor:
    """Return the outputs (N, T, O) at times (T,), from the unknowns as they are."""
    return _run(system, frozen, frozen.unknowns, grid, torch.arange(len(frozen.start)))


def bands(
    system: System, frozen: Frozen, spread: Spread, grid: Tensor, options: Options
) -> dict[str, Tensor]:
    """Return the medians of the outputs at times (T,), their bands and those of measurements."""
    # All trajectories share the same standard draws, so none depends on its batch.
    generator = torch.Generator().manual_seed(options.seed)
    draws = options.draws
    size = (draws, len(spread.places))
    normal = torch.randn(size, dtype=torch.float64, generator=generator)
    shape = (draws, len(grid), len(frozen.outputs))
    noise = ndtr(torch.randn(shape, dtype=torch.float64, generator=generator).numpy())
    scale = torch.ones(len(frozen.start), draws, dtype=torch.float64)
    if spread.freedom is not None:
        scale = _noise_scale(spread.freedom, draws, generator)
    tail = 0.5 * (1.0 - options.level)
    levels = torch.tensor([0.5, tail, 1.0 - tail], dtype=torch.float64)
    found: list[Tensor] = []
    together = max(1, _FLOWS_AT_ONCE // draws)
    steps = range(0, len(frozen.start), together)
    for low in tqdm(steps, desc="forecast", delay=2.0, disable=not options.progress):
        rows = slice(low, low + together)
        drawn = _draw(system, frozen.unknowns, spread, normal, scale[rows], rows)
        whose = torch.arange(len(frozen.start))[rows].repeat_interleave(draws)
        curves = _run(system, frozen, drawn, grid, whose).unflatten(0, (-1, draws))
        level = drawn.noise_sd.unflatten(0, (-1, draws)).unsqueeze(2)
        measured = torch.from_numpy(frozen.distribution.draw(curves.numpy(), level.numpy(), noise))
        found.append(torch.stack([part.nanquantile(levels, dim=1) for part in (curves, measured)]))
    curve, measurement = torch.cat(found, dim=2)
    return {
        "predicted": curve[0],
        "predicted_lower": curve[1],
        "predicted_upper": curve[2],
        "observed_lower": measurement[1],
        "observed_upper": measurement[2],
    }


def _noise_scale(freedom: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Return draws (N, draws) of the true level of noise over the estimated one.

    Sums of squares over the true variance follow chi-square; multiplied by its square root, normal
    draws follow Student's t.
    """
    share = torch.rand(draws, dtype=torch.float64, generator=generator).numpy()
    scale = torch.ones(len(freedom), draws, dtype=torch.float64)
    for degrees in freedom[freedom.isfinite() & (freedom > 0.0)].unique().tolist():
        drawn = np.sqrt(degrees / stats.chi2.ppf(share, degrees))
        scale[freedom == degrees] = torch.from_numpy(drawn)
    return scale


def _draw(
    system: System, unknowns: Physical, spread: Spread, normal: Tensor, scale: Tensor, rows: slice
) -> Physical:
    """Draw unknowns, (trajectories x draws, ...), of some trajectories; what is known stays."""
    mean, root = spread.mean[rows], spread.root[rows]
    line = (mean.unsqueeze(1) + scale.unsqueeze(2) * (normal @ root.mT)).flatten(0, 1)
    repeats = len(normal)
    parts = {
        "parameter": unknowns.parameters[rows].repeat_interleave(repeats, dim=0),
        "initial_state": unknowns.initial_state[rows].repeat_interleave(repeats, dim=0),
        "noise_sd": unknowns.noise_sd[rows].repeat_interleave(repeats, dim=0)
        * scale.reshape(-1, 1),
    }
    for place, (kind, index, support) in enumerate(spread.places):
        parts[kind][:, index] = to_physical(line[:, place], support)
    if system.has_initial_state:
        parts["initial_state"] = implied_initial_state(system, parts["parameter"])
    return Physical(parts["parameter"], parts["initial_state"], parts["noise_sd"])


def _run(system: System, frozen: Frozen, unknowns: Physical, grid: Tensor, whose: Tensor) -> Tensor:
    """Return the outputs wanted (M, T, O) of M sets of unknowns, those of trajectories (M,)."""
    parts = []
    columns = [system.output_names.index(name) for name in frozen.outputs]
    for low in range(0, len(whose), _FLOWS_AT_ONCE):
        piece = slice(low, low + _FLOWS_AT_ONCE)
        start = frozen.start[whose[piece]]
        doses = None if frozen.doses is None else frozen.doses.select(whose[piece])
        chosen = Physical(
            unknowns.parameters[piece], unknowns.initial_state[piece], unknowns.noise_sd[piece]
        )
        times = grid.expand(len(chosen.parameters), -1)
        options = FLOW | {"max_steps": frozen.max_steps}
        outputs = flow(system, chosen, times, start, None, doses, **options)
        parts.append(outputs[..., columns])
    return torch.cat(parts)
