"""The WARP paper's data sets by name, from their published recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr

from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.recipes.repeat_copy import cycle_lengths, repeat_copy
from warp_phys.data_gen.simulate import simulate
from warp_phys.systems.catalog.registry import get_system
from warp_phys.systems.errors import unknown_name
from warp_phys.systems.schema.labels import labeled, stamp

Split = Literal["train", "validation", "test"]
Ranges = Mapping[str, tuple[float, float]]

# On the test ranges the prey fall below 1e-8 of their largest number.
_RTOL, _ATOL = 1e-9, 1e-14


@dataclass(frozen=True)
class PaperSet:
    """The recipe of one data set.

    Attributes:
        title: What the paper calls it.
        system: Name of the shipped system.
        samples: T sample times from 0 to 1, both included: the step is 1/(T-1).
        train: Number of training trajectories.
        held_out: Number of test trajectories; the validation set has as many.
        ranges: Ranges of the parameters, for training and validation.
        test_ranges: Ranges of the parameters, for the test.
        initial_states: Numbers or ranges; empty where the system's own hold.
        scale: Minimum and maximum over all outputs of the paper's own training set, which the
            published errors are scaled by; (-1, 1) where they are not scaled.
        context: Samples given before the forecast.
        cycle: Shortest and longest cycle of a repeat-copy task, in samples; its context is the
            cycle shown.
    """

    title: str
    system: str
    samples: int
    train: int
    held_out: int
    ranges: Ranges
    test_ranges: Ranges
    initial_states: Mapping[str, float | tuple[float, float]]
    scale: tuple[float, float]
    context: int = 0
    cycle: tuple[int, int] | None = None


_GAP = 50
"""Zeros between two cycles of the repeat-copy task."""

_VIBRATION = {"m": (0.02, 0.04), "k": (4.0, 16.0), "c": (0.01, 0.2)}
_VIBRATION_TEST = {"m": (0.01, 0.05), "k": (2.0, 18.0), "c": (0.01, 0.3)}
_PREDATION = {"alpha": (20, 50), "beta": (80, 120), "gamma": (20, 50), "delta": (80, 120)}
_PREDATION_TEST = {"alpha": (10, 60), "beta": (70, 130), "gamma": (10, 60), "delta": (70, 130)}
_PHASE = {"phase": (-math.pi / 6, math.pi / 6)}

_SETS = {
    "paper_msd": PaperSet(
        title="MSD",
        system="mass_spring_damper",
        samples=256,
        train=20480,
        held_out=4096,
        ranges=_VIBRATION,
        test_ranges=_VIBRATION_TEST,
        initial_states={"position": 1.0, "velocity": 0.0},
        scale=(-27.2553, 26.1440),
        context=100,
    ),
    "paper_msd_zero": PaperSet(
        title="MSD-Zero",
        system="mass_spring_damper",
        samples=256,
        train=8192,
        held_out=2048,
        ranges=_VIBRATION,
        test_ranges=_VIBRATION_TEST,
        initial_states={"position": (0.5, 1.5), "velocity": (-0.5, 0.5)},
        scale=(-38.0240, 35.9129),
        context=100,
    ),
    "paper_lv_repeat_copy": PaperSet(
        title="LV repeat-copy",
        system="lotka_volterra",
        samples=256,
        train=15000,
        held_out=3000,
        ranges=_PREDATION,
        test_ranges=_PREDATION_TEST,
        initial_states={"prey": 1.0, "predator": 1.0},
        scale=(0.0, 2.22811),
        cycle=(32, 63),
    ),
    "paper_sine": PaperSet(
        title="SINE",
        system="sine",
        samples=16,
        train=10000,
        held_out=1000,
        ranges=_PHASE,
        test_ranges=_PHASE,
        initial_states={},
        scale=(-1.0, 1.0),
        context=1,
    ),
}

# Name -> the set and the number of training trajectories, None for its own number.
_NAMES: dict[str, tuple[str, int | None]] = {name: (name, None) for name in _SETS} | {
    "paper_sine_tiny": ("paper_sine", 1),
    "paper_sine_small": ("paper_sine", 10),
    "paper_sine_medium": ("paper_sine", 100),
    "paper_sine_large": ("paper_sine", 1000),
    "paper_sine_huge": ("paper_sine", 10000),
}


def paper_data_names() -> tuple[str, ...]:
    """Return the names that `paper_data` accepts.

    Example:
        >>> paper_data_names()[:3]
        ('paper_msd', 'paper_msd_zero', 'paper_lv_repeat_copy')
    """
    return tuple(_NAMES)


def paper_data(
    name: str,
    *,
    split: Split = "train",
    n: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> xr.Dataset:
    r"""Make one of the WARP paper's data sets anew from its published recipe.

    ====================== ====================== ======= ========= ======== ========
    name                   train/validation/test  samples system    context  channels
    ====================== ====================== ======= ========= ======== ========
    `paper_msd`            20480 / 4096 / 4096    256     m, k, c   100      2
    `paper_msd_zero`       8192 / 2048 / 2048     256     m, k, c   100      2
    `paper_lv_repeat_copy` 15000 / 3000 / 3000    256     LV        32 to 63 2
    `paper_sine`           10000 / 1000 / 1000    16      sine      1        1
    ====================== ====================== ======= ========= ======== ========

    `paper_sine_tiny`, `small`, `_medium`, `_large` and `_huge` are the first 1, 10, 100, 1000 and
    10000 training trajectories of `paper_sine` (the paper's table has the small one), with the
    same validation and test sets.

    The times run from 0 to 1 in T samples, 1/(T-1) apart. MSD starts at position 1 and rest,
    MSD-Zero at positions from 0.5 to 1.5 and velocities from -0.5 to 0.5, Lotka-Volterra at (1, 1).
    The parameters are uniform. The test ranges of all but SINE are wider than those of training.
    Lotka-Volterra's unit of time stands for the paper's, which has none.

    These are draws from the paper's distributions, not the paper's draws, and solved exactly (LV
    to a relative 1e-9), where SciPy's RK45 at its default tolerances, which the paper used, is off
    by up to 8 % of the largest value within the cycle shown. In the paper's script training and
    test share their random numbers, so the test masses (LV: growth rates of prey) are rescaled
    copies of training masses; and except for SINE it validates on the test set. Neither is
    imitated: every split has its own draws, validation from the training ranges.

    Repeat-copy: a model is given `input_sequence`, the first L samples of a trajectory, then zeros,
    L from 32 to 63, and has to return `target_sequence`, this cycle repeated with 50 zeros between.
    `observed` remains the whole trajectory, which obeys the equations.

    Published errors are on the scale of the paper's training set, one minimum and maximum over
    all channels, whatever is simulated here. It is in the attributes `scale_minimum` and
    `scale_maximum`:

    .. math:: x' = 2\,\frac{x - \mathrm{minimum}}{\mathrm{maximum} - \mathrm{minimum}} - 1

    They are means over trajectories, channels and the samples from `context_samples` on; LV's is
    over all samples, of a model that sees its target. SINE's are unscaled: (-1, 1).

    Args:
        name: One of `paper_data_names()`.
        split: "train", "validation" or "test".
        n: Number of trajectories, the published one by default. The first ones are the same
            whatever n.
        seed: The default gives everybody the same data; another number another draw.
        progress: Show a progress bar on work over two seconds.

    Returns:
        What `simulate` returns, without noise, with `context_samples` (trajectory,) and, for
        repeat-copy, `input_sequence` and `target_sequence` (trajectory, time, output).

    Raises:
        UnknownNameError: There is no such data set or split.
        UsageError: n or the seed is not a number that can be.

    References:
        R. D. Nzoyem et al., Weight-space linear recurrent neural networks, arXiv:2506.01153, and
        the generating scripts in github.com/ddrous/warp.

    Example:
        >>> data = paper_data("paper_msd", split="test", n=3)
        >>> dict(data.observed.sizes)
        {'trajectory': 3, 'time': 256, 'output': 2}
        >>> data.context_samples.values.tolist()
        [100, 100, 100]
    """
    if name not in _NAMES:
        raise unknown_name("data set of the WARP paper", name, _NAMES)
    if split not in ("train", "validation", "test"):
        raise unknown_name("split", split, ("train", "validation", "test"))
    family, size = _NAMES[name]
    recipe = _SETS[family]
    ranges = recipe.test_ranges if split == "test" else recipe.ranges
    system = get_system(recipe.system)
    draws = _seed_of(family, split, seed)
    data = simulate(
        system,
        _published_number(recipe, split, size) if n is None else n,
        np.arange(recipe.samples) / (recipe.samples - 1),
        parameters=ranges,
        initial_states=recipe.initial_states,
        seed=draws,
        rtol=_RTOL,
        atol=_ATOL,
        progress=progress,
    )
    data = data.assign(_task(recipe, data, draws))
    data = data.assign_attrs(scale_minimum=recipe.scale[0], scale_maximum=recipe.scale[1])
    return stamp(
        data,
        title=f"{recipe.title} of the WARP paper, {split} split",
        function="warp_phys.data_gen.paper_data",
        system=system,
        references=f"arXiv:2506.01153; {system.reference}",
        seed=seed,
        settings={
            "name": name,
            "split": split,
            "n": data.sizes["trajectory"],
            "parameters": ranges,
            "initial_states": recipe.initial_states,
        },
    )


def _published_number(recipe: PaperSet, split: Split, size: int | None) -> int:
    if split != "train":
        return recipe.held_out
    return recipe.train if size is None else size


def _seed_of(family: str, split: Split, seed: int) -> int:
    """Return a different seed for every set and split, so that no two share random numbers."""
    return int(Streams(seed).uniform(f"{family} {split}", 1).item() * 2**52)


def _task(recipe: PaperSet, data: xr.Dataset, seed: int) -> dict[str, xr.DataArray]:
    """Return the inputs and targets of the task, in addition to the trajectories."""
    n = data.sizes["trajectory"]
    if recipe.cycle is None:
        variables = {"context_samples": np.full(n, recipe.context)}
    else:
        lengths = cycle_lengths(Streams(seed), n, *recipe.cycle)
        given, target = repeat_copy(data["noiseless"].values, lengths, _GAP)
        variables = {
            "context_samples": lengths,
            "input_sequence": given,
            "target_sequence": target,
        }
    frame = labeled(variables, {str(name): data[name].variable for name in data.coords})
    return {str(name): frame[name] for name in variables}
