"""The unknowns of a system in unconstrained coordinates, and their prior as a normal distribution.

The coordinate of a positive unknown is its logarithm, that of one in an interval its logit, that of
a real one its value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from warp_phys.systems import System
from warp_phys.systems.model.supports import (
    Support,
    slope_of_physical,
    to_physical,
    to_unconstrained,
)

# Of the quadrature over a distribution's quantiles.
_POINTS = 4_096


@dataclass(frozen=True)
class Unknowns:
    """K unknowns: the free parameters, then the states.

    Attributes:
        system: The system.
        supports: Of each unknown.
        mean: (K,), prior means of the coordinates.
        sd: (K,), prior standard deviations of the coordinates.
    """

    system: System
    supports: tuple[Support, ...]
    mean: Tensor
    sd: Tensor

    @property
    def parameter_count(self) -> int:
        """How many of the unknowns are parameters."""
        return len(self.system.free_names)

    def physical(self, z: Tensor) -> Tensor:
        """Return physical values of coordinates (..., k), those of the first k unknowns."""
        return self._each(to_physical, z)

    def coordinates(self, values: Tensor) -> Tensor:
        """Return coordinates of physical values (..., k), those of the first k unknowns."""
        return self._each(to_unconstrained, values)

    def slopes(self, z: Tensor) -> Tensor:
        """Return the derivatives of the physical values by the coordinates (..., k)."""
        return self._each(slope_of_physical, z)

    def _each(self, function: Callable[[Tensor, Support], Tensor], values: Tensor) -> Tensor:
        columns = zip(values.unbind(-1), self.supports, strict=False)
        return torch.stack([function(column, support) for column, support in columns], dim=-1)


def unknowns_of(
    system: System, priors: Mapping[str, Any], *, physical_states: bool = False
) -> Unknowns:
    """Return the unknowns of a system, their prior by the moments of distributions.

    Args:
        system: The system.
        priors: The distribution of each free parameter "name" and initial state "name(0)".
        physical_states: Whether the coordinates of states are their values.
    """
    declared = {parameter.name: parameter.support for parameter in system.parameters}
    supports: dict[str, Support] = {name: declared[name] for name in system.free_names}
    for state in system.states:
        supports[f"{state.name}(0)"] = "real" if physical_states else state.support
    q = (np.arange(_POINTS) + 0.5) / _POINTS
    quantiles = [
        to_unconstrained(torch.as_tensor(priors[name].ppf(q)), support)
        for name, support in supports.items()
    ]
    table = torch.stack(quantiles, dim=1)
    return Unknowns(system, tuple(supports.values()), table.mean(dim=0), table.std(dim=0))
