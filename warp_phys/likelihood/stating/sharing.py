"""The parameters that trajectories share, and the groups that share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.model.system import System


def shared_names(system: System, shared: Sequence[str] | None, known: set[str]) -> set[str]:
    """Return the names of the shared parameters, none of which may be known."""
    names = [shared] if isinstance(shared, str) else list(shared or ())
    for name in names:
        if name not in system.parameter_names:
            raise unknown_name(f"parameter of {system.name}", name, system.parameter_names)
        if name in known:
            raise UsageError(f"parameter {name!r} is fixed and cannot be shared; leave out one")
    return set(names)


def groups_of(records: Records, shared: set[str], group: Any) -> Tensor:
    """Return the group (N,) of each trajectory, numbered from zero."""
    count = len(records)
    # Without shared unknowns each trajectory is its own group, so that fits are independent.
    if group is None:
        return torch.zeros(count, dtype=torch.int64) if shared else torch.arange(count)
    if not shared:
        raise UsageError("group= says who shares parameters; name them: shared=['...']")
    if isinstance(group, str):
        group = records.groups[group]
    labels = np.asarray(group.values if isinstance(group, xr.DataArray) else group)
    if labels.shape != (count,):
        raise UsageError(
            f"expected group as a coordinate of the data set or {count} labels, one for each "
            f"trajectory; got shape {labels.shape}"
        )
    return torch.as_tensor(np.unique(labels, return_inverse=True)[1].reshape(-1))
