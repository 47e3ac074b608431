"""Generated C++ code of a noise model: the terms that the engine sums up for each sample."""

from __future__ import annotations

from typing import Any

import torch

from warp_phys.systems.compiling.elementwise import elementwise_source
from warp_phys.systems.noise.noise import Noise

_KNOWN: dict[tuple[Any, ...], str] = {}
# Observed values, predictions and precisions at which the traced code is compared with the model.
# Scaled residuals lie on both sides of a robust loss's bend, and some values are counts.
_POINTS = ((1.0, 1.3, 0.9), (2.0, 0.4, 7.0), (1.0, 2.5, 0.3), (0.0, 0.7, 1.0), (3.0, 3.0, 2.0))


def noise_source(noise: Noise) -> str:
    """Return `void noise_terms(V observed, V predicted, V precision, V* out)`, see `Noise.terms`.

    Raises:
        TracingError: The model cannot be written as expressions.
    """
    key = noise.key
    if key not in _KNOWN:
        points = torch.tensor(_POINTS, dtype=torch.float64).T
        names = ("observed", "predicted", "precision")
        _KNOWN[key] = elementwise_source("noise_terms", noise.terms, names, points)
    return _KNOWN[key]
