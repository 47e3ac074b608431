"""Limits of detection: values beyond them are replaced by the limit, and flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.quantity import Floats
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.noise.noise import Noise
from warp_phys.systems.noise.sample_terms import ABOVE, BELOW

Limits: TypeAlias = Mapping[str, tuple[float | None, float | None]]


def check_limits(limits: Limits | None, outputs: Sequence[str], noise: Noise) -> Limits:
    """Return the limits (low, high) by output; an empty mapping for None.

    Raises:
        UnknownNameError: There is no output of a name.
        UsageError: Limits are not pairs with low < high, or the noise of an output has no limits.
    """
    if limits is None:
        return {}
    if not isinstance(limits, Mapping):
        raise UsageError(f"expected limits as a mapping from output to (low, high), got {limits!r}")
    for name, pair in limits.items():
        if name not in outputs:
            raise unknown_name("observed output", name, outputs)
        if not _is_pair(pair):
            raise UsageError(
                f"expected limits[{name!r}] as (low, high) with low < high, None where there is no "
                f"limit, got {pair!r}"
            )
        model = noise.of(list(outputs).index(name))
        if not model.knows_limits:
            raise UsageError(
                f"{model.label} noise of {name!r} cannot be fitted to censored values; normal, "
                "lognormal and additive_proportional noise can"
            )
    return limits


def _is_pair(pair: object) -> bool:
    if not isinstance(pair, tuple | list) or len(pair) != 2 or tuple(pair) == (None, None):
        return False
    low, high = (-np.inf if pair[0] is None else pair[0], np.inf if pair[1] is None else pair[1])
    numbers = isinstance(low, Real) and isinstance(high, Real)
    return numbers and bool(low < high)


def censor(
    observed: Floats, outputs: Sequence[str], limits: Limits
) -> tuple[Floats, NDArray[np.int8]]:
    """Return values (N, T, O) with limits in place of those beyond them, and their flags."""
    kept, flags = observed.copy(), np.zeros(observed.shape, dtype=np.int8)
    for column, name in enumerate(outputs):
        low, high = limits.get(name, (None, None))
        values = observed[:, :, column]
        for limit, flag in ((low, BELOW), (high, ABOVE)):
            if limit is None:
                continue
            # A missing value is neither.
            beyond = values < limit if flag == BELOW else values > limit
            kept[:, :, column][beyond] = limit
            flags[:, :, column][beyond] = flag
    return kept, flags
