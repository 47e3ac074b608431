"""The unknowns that trajectories share, and the groups of trajectories that they connect.

Each shared unknown has a grouping of its own: the trajectories with the same label have one value
in common. Trajectories that are connected by any of these groupings, directly or through others,
form one group, whose likelihood is maximized jointly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System

Shared = str | Sequence[str] | Mapping[str, Any] | None


def sharing(
    system: System, records: Records, shared: Shared, group: Any, known: set[str]
) -> dict[str, Tensor]:
    """Return for each shared unknown the labels (N,) of the trajectories, numbered from zero.

    Args:
        system: The system.
        records: The records of N trajectories.
        shared: A list of names, or a mapping from name to "all", to the name of a variable of the
            records or to labels.
        group: The labels of all names in a list, or the name of a variable; None for one label.
        known: Names of the parameters and initial states that are known in every trajectory.

    Raises:
        UsageError: An unknown is known, or labels are not one for each trajectory.
        UnknownNameError: A parameter or state does not exist.
    """
    if isinstance(shared, Mapping):
        if group is not None:
            raise UsageError(
                "group= says who shares the names in a list; with a mapping, name the group of "
                "each: shared={'name': 'all' or a coordinate}"
            )
        given = dict(shared)
    else:
        names = [shared] if isinstance(shared, str) else list(shared or ())
        given = dict.fromkeys(names, "all" if group is None else group)
        if group is not None and not given:
            raise UsageError("group= says who shares parameters; name them: shared=['...']")
    for name in given:
        _check(system, name, known)
    what = "shared[{!r}]" if isinstance(shared, Mapping) else "group"
    return {name: _labels(what.format(name), value, records) for name, value in given.items()}


def _check(system: System, name: str, known: set[str]) -> None:
    """Raise an error if an unknown cannot be shared."""
    names = (*system.parameter_names, *system.state_names)
    if name not in names:
        raise unknown_name(f"parameter or state of {system.name}", name, names)
    if name in system.state_names and system.has_initial_state:
        raise UsageError(
            f"the initial state of {system.name} follows from its parameters and cannot be shared; "
            f"share those that it follows from instead of {name!r}"
        )
    if name in known and name in system.state_names:
        raise UsageError(
            f"the initial value of {name!r} is known and cannot be shared; "
            'initial_state="estimate" estimates it'
        )
    if name in known:
        raise UsageError(f"parameter {name!r} is fixed and cannot be shared; leave out one")


def _labels(what: str, value: Any, records: Records) -> Tensor:
    """Return the labels (N,) of one grouping, numbered in the order of their sorted values."""
    count = len(records)
    if isinstance(value, str) and value == "all":
        return torch.zeros(count, dtype=torch.int64)
    if isinstance(value, str):
        value = records.groups[value]
    labels = np.asarray(value.values if isinstance(value, xr.DataArray) else value)
    if labels.shape != (count,):
        raise UsageError(
            f"expected {what} as a coordinate of the data set or {count} labels, one for each "
            f"trajectory; got shape {labels.shape}"
        )
    missing = pd.isna(labels)
    if missing.any():
        raise UsageError(
            f"expected {what} to name a group for every trajectory; trajectory "
            f"{records.labels[int(missing.argmax())]} has none"
        )
    return torch.as_tensor(np.unique(labels, return_inverse=True)[1].reshape(-1))


def connected(labels: Sequence[Tensor], count: int) -> Tensor:
    """Return the group (N,) of each trajectory, numbered from zero.

    Args:
        labels: (N,) for each shared unknown; without any, each trajectory is a group of its own,
            so that fits are independent.
        count: N.
    """
    if not labels:
        return torch.arange(count)
    if all(torch.equal(part, labels[0]) for part in labels):
        return labels[0]
    # Each group ends up with its smallest number: minima spread along the groupings in turn.
    group = torch.arange(count)
    while True:
        before = group
        for part in labels:
            least = torch.full((int(part.max()) + 1,), count)
            group = least.scatter_reduce(0, part, group, "amin")[part]
        if torch.equal(group, before):
            return torch.unique(group, return_inverse=True)[1]


def shared_places(labels: Sequence[Tensor], group: Tensor) -> Tensor | None:
    """Return the position (N, s) of each shared unknown among those of its group.

    None stands for 0 to s - 1 in every trajectory, which is so where all groupings are the same.
    """
    if all(torch.equal(part, group) for part in labels):
        return None
    groups = int(group.max()) + 1
    offset, places = torch.zeros(groups, dtype=torch.int64), []
    for part in labels:
        # Every label belongs to one group; it is numbered among the labels of that group.
        of_label = torch.zeros(int(part.max()) + 1, dtype=torch.int64)
        of_label[part] = group
        counts = torch.bincount(of_label, minlength=groups)
        order = of_label.argsort(stable=True)
        rank = torch.empty_like(of_label)
        rank[order] = torch.arange(len(of_label)) - (counts.cumsum(0) - counts)[of_label[order]]
        places.append(offset[group] + rank[part])
        offset = offset + counts
    return torch.stack(places, dim=1)
