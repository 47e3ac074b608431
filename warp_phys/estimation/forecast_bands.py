"""Bands of a forecast by Monte Carlo: integration from many draws of the unknowns."""

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

from warp_phys.estimation.forecast_noise import OwnParameters, measured
from warp_phys.fitting.result.completion import Completion
from warp_phys.models.coordinates import Physical, implied_initial_state
from warp_phys.models.roots import flow
from warp_phys.systems.forcing.doses import Doses
from warp_phys.systems.model.increments import as_increments
from warp_phys.systems.model.supports import Support, to_physical
from warp_phys.systems.model.system import System
from warp_phys.systems.noise.noise import Noise

FLOW = {"rtol": 1e-6}
"""Tolerances of the flows: far below any band, and cheap."""

# Trajectories times draws in one integration: bounds the memory.
_FLOWS_AT_ONCE = 20_000

Place = tuple[str, int, Support]
"""Where an unknown belongs: its kind, its place there, and its support."""


@dataclass(frozen=True)
class Spread:
    """The distribution of the unknowns of N trajectories, in unconstrained coordinates.

    Attributes:
        places: The Q unknowns.
        mean: (N, Q); NaN for trajectories without a distribution.
        root: (N, Q, Q), a square root of the covariance.
        freedom: (N,), degrees of freedom of the noise level, which scales all spreads; None where
            that level is an unknown itself.
    """

    places: Sequence[Place]
    mean: Tensor
    root: Tensor
    freedom: Tensor | None = None


@dataclass(frozen=True)
class Frozen:
    """The frozen unknowns of N trajectories, from which a forecast starts.

    Attributes:
        labels: The trajectories' labels.
        history: How the unknowns were found; the forecast continues it.
        unknowns: The unknowns of each trajectory.
        start: (N,), the time of its initial state.
        outputs: Names of the outputs to forecast.
        distribution: The noise model.
        spread: The distribution of the unknowns; None where their errors are not known.
        max_steps: Steps after which an integration is abandoned.
        doses: Doses that are known beforehand.
        complete: What follows from drawn unknowns; None where nothing does.
        times: (N, T), times of the records, where outputs are increases since a sample.
        own: Parameters of the noise that are among the unknowns.
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
    complete: Completion | None = None
    times: Tensor | None = None
    own: OwnParameters | None = None


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
    # All trajectories share the same standard normal draws, so that none depends on its batch.
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
    pieces: list[Tensor] = []
    together = max(1, _FLOWS_AT_ONCE // draws)
    steps = range(0, len(frozen.start), together)
    for low in tqdm(steps, desc="forecast", delay=2.0, disable=not options.progress):
        rows = slice(low, low + together)
        drawn, table = _draw(system, frozen, spread, normal, scale[rows], rows)
        whose = torch.arange(len(frozen.start))[rows].repeat_interleave(draws)
        if frozen.complete is not None:
            found = frozen.complete(drawn.parameters, drawn.initial_state, whose)
            drawn = Physical(*found, drawn.noise_sd)
        curves = _run(system, frozen, drawn, grid, whose).unflatten(0, (-1, draws))
        level = drawn.noise_sd.unflatten(0, (-1, draws))
        table = table.unflatten(0, (-1, draws))
        # A measurement adds noise, by the quantile function of the noise model at uniform numbers.
        noisy = measured(frozen.distribution, frozen.own, table, curves, level, noise)
        # Pointwise quantiles over the draws; draws whose integration failed are NaN and left out.
        pieces.append(torch.stack([part.nanquantile(levels, dim=1) for part in (curves, noisy)]))
    curve, measurement = torch.cat(pieces, dim=2)
    return {
        "predicted": curve[0],
        "predicted_lower": curve[1],
        "predicted_upper": curve[2],
        "observed_lower": measurement[1],
        "observed_upper": measurement[2],
    }


def _noise_scale(freedom: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """Return draws (N, draws) of the true level of noise over the estimated one.

    nu s^2 / sigma^2 has a chi-square distribution with nu degrees of freedom, so that
    sigma / s = sqrt(nu / chi^2). Normal draws that are multiplied by it follow Student's t.
    """
    share = torch.rand(draws, dtype=torch.float64, generator=generator).numpy()
    scale = torch.ones(len(freedom), draws, dtype=torch.float64)
    # The same uniform draws for all trajectories, by the inverse distribution function.
    for degrees in freedom[freedom.isfinite() & (freedom > 0.0)].unique().tolist():
        drawn = np.sqrt(degrees / stats.chi2.ppf(share, degrees))
        scale[freedom == degrees] = torch.from_numpy(drawn)
    return scale


def _draw(
    system: System, frozen: Frozen, spread: Spread, normal: Tensor, scale: Tensor, rows: slice
) -> tuple[Physical, Tensor]:
    """Draw unknowns (trajectories x draws, ...) of some trajectories; known values stay.

    Returns:
        The unknowns of the system, and parameters of the noise (trajectories x draws, Q).
    """
    unknowns = frozen.unknowns
    own = unknowns.parameters[:, :0] if frozen.own is None else frozen.own.values
    mean, root = spread.mean[rows], spread.root[rows]
    # z = mean + (sigma / s) R n with standard normal n, (n, draws, Q), in real coordinates; the
    # bijections then keep every draw inside its support.
    line = (mean.unsqueeze(1) + scale.unsqueeze(2) * (normal @ root.mT)).flatten(0, 1)
    repeats = len(normal)
    parts = {
        "parameter": unknowns.parameters[rows].repeat_interleave(repeats, dim=0),
        "initial_state": unknowns.initial_state[rows].repeat_interleave(repeats, dim=0),
        "noise_sd": unknowns.noise_sd[rows].repeat_interleave(repeats, dim=0)
        * scale.reshape(-1, 1),
        "noise": own[rows].repeat_interleave(repeats, dim=0),
    }
    for place, (kind, index, support) in enumerate(spread.places):
        parts[kind][:, index] = to_physical(line[:, place], support)
    if system.has_initial_state:
        # An initial state that follows from parameters follows from the drawn ones.
        parts["initial_state"] = implied_initial_state(system, parts["parameter"])
    drawn = Physical(parts["parameter"], parts["initial_state"], parts["noise_sd"])
    return drawn, parts["noise"]


def _run(system: System, frozen: Frozen, unknowns: Physical, grid: Tensor, whose: Tensor) -> Tensor:
    """Return the chosen outputs (M, T, O) of M sets of unknowns of trajectories `whose` (M,)."""
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
        if system.increments:
            since = _since(frozen, whose[piece], start, grid)
            start, times = start.minimum(since), torch.cat([since.unsqueeze(1), times], dim=1)
        outputs = flow(system, chosen, times, start, None, doses, **options)
        if system.increments:
            outputs = as_increments(system, outputs[:, 1:], outputs[:, 0])
        parts.append(outputs[..., columns])
    return torch.cat(parts)


def _since(frozen: Frozen, whose: Tensor, start: Tensor, grid: Tensor) -> Tensor:
    """Return the times (M,) from which the first of times (T,) counts: the last sample before it.

    Where there is none it counts from the initial time, or, if it is that time, from just before.
    """
    since = start
    if frozen.times is not None:
        times = frozen.times[whose]
        before = torch.where(times < grid[0], times, -torch.inf).amax(dim=1)
        since = since.maximum(before)
    return since.minimum(torch.nextafter(grid[0], torch.full_like(grid[0], -torch.inf)))
