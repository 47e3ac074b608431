"""The noise of a PEtab problem as arguments of `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from warp_phys.petab.assemble import Assembled
from warp_phys.petab.noise_levels import Levels
from warp_phys.petab.outputs import transforms
from warp_phys.petab.slots import Floats
from warp_phys.systems.errors import UnsupportedError


def noise_arguments(assembled: Assembled, nominal: Mapping[str, float]) -> dict[str, Any]:
    """Return `distribution` and `noise_sd` of a problem whose outputs are the observables.

    Args:
        assembled: The problem.
        nominal: Values of all parameters.

    Raises:
        UnsupportedError: The noise levels are neither known nor one parameter each or in common.
    """
    laplace = [one.name for one in assembled.formulas if one.observable.distribution == "laplace"]
    if laplace:
        raise UnsupportedError(f"the noise of {laplace[0]} has a Laplace distribution")
    logs = any(one.observable.scale != "lin" for one in assembled.formulas)
    return {
        "distribution": "lognormal" if logs and not transforms(assembled.formulas) else "normal",
        "noise_sd": _noise_sd(assembled, Levels(assembled, nominal)),
    }


def _noise_sd(assembled: Assembled, levels: Levels) -> str | dict[str, Floats]:
    estimated = [one for one in assembled.formulas if levels.estimated(one)]
    if not estimated:
        return levels.known()
    if len(estimated) < len(assembled.formulas):
        known = next(one.name for one in assembled.formulas if one not in estimated)
        raise UnsupportedError(
            f"the noise of {known} is known and that of {estimated[0].name} is estimated"
        )
    names = []
    for one in estimated:
        name = levels.parameter_of(one)
        if name is None or levels.used_by_the_system(name):
            formula = one.observable.noise_formula
            raise UnsupportedError(f"the noise of {one.name} has the formula {formula!r}")
        names.append(name)
    each = len(set(names)) == len(names)
    if not each and len(set(names)) > 1:
        twice = next(name for name in names if names.count(name) > 1)
        raise UnsupportedError(f"some outputs have the noise parameter {twice!r} in common")
    _check_groups(assembled, names, each)
    return "each" if each else "common"


def _check_groups(assembled: Assembled, names: list[str], each: bool) -> None:
    """Raise UnsupportedError where a level belongs to trajectories that share no parameter.

    `fit` gives each group of trajectories levels of its own.
    """
    group = _groups(assembled)
    cells = assembled.layout.cells
    for output, name in enumerate(names):
        rows = cells[cells[:, 2] == output, 0] if each else cells[:, 0]
        if len(np.unique(group[rows])) > 1:
            raise UnsupportedError(
                f"trajectories that have no other parameter in common share the noise {name!r}"
            )


def _groups(assembled: Assembled) -> np.ndarray:
    """Return the number (N,) of the group of trajectories that parameters connect."""
    group = np.arange(len(assembled.layout.trajectories))
    for source in assembled.sources:
        for name in {value for value in source if isinstance(value, str)}:
            members = np.flatnonzero([value == name for value in source])
            joined = np.isin(group, group[members])
            group[joined] = group[members].min()
    return group
