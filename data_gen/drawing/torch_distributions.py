"""Distributions of PyTorch as distributions to draw from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch.distributions import Distribution as TorchDistribution

from warp_phys.systems.errors import UsageError


class TorchQuantiles:
    """The quantiles of a distribution of PyTorch; see `Distribution`.

    Args:
        distribution: One of `torch.distributions`, of a single number.
    """

    def __init__(self, distribution: TorchDistribution) -> None:
        self.distribution = distribution

    def __repr__(self) -> str:
        return repr(self.distribution)

    def ppf(self, q: Any) -> Any:
        """Return the quantiles at probabilities q."""
        probabilities = torch.as_tensor(np.asarray(q, dtype=np.float64))
        try:
            found = self.distribution.icdf(probabilities)
        except NotImplementedError:
            name = type(self.distribution).__name__
            raise UsageError(
                f"torch knows no quantiles of {name}, by which values are drawn; give the same "
                "distribution of scipy.stats"
            ) from None
        return found.numpy().reshape(np.shape(q))


def with_quantiles(recipes: Any) -> Any:
    """Return a mapping of recipes with distributions of PyTorch as ones that have quantiles."""
    if not isinstance(recipes, Mapping):
        return recipes
    return {
        name: TorchQuantiles(one) if isinstance(one, TorchDistribution) else one
        for name, one in recipes.items()
    }
