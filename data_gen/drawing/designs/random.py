"""The design of independent random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.designs.design import Design
from warp_phys.data_gen.drawing.random_streams import Streams


class Random(Design):
    """Independent uniform numbers: a coordinate depends on seed, name and trajectory alone."""

    name = "random"

    def points(
        self,
        streams: Streams,
        names: Sequence[str],
        n: int,  # noqa: ARG002 (of the base class)
        count: int,
    ) -> NDArray[np.float64]:
        """Return uniform numbers, (count, names)."""
        return np.hstack([streams.uniform(name, count) for name in names])
