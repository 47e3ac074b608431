"""A scrambled Sobol' sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from warp_phys.data_gen.drawing.designs.design import Design
from warp_phys.data_gen.drawing.random_streams import Streams

_BITS = 32


class Sobol(Design):
    """Evenly spread: a point depends on the seed and the number of quantities, not on n.

    The scrambling is a random matrix and shift; each point lies in the middle of its cell of
    2**-32, so that no coordinate is 0.

    References:
        J. Matousek, On the L2-discrepancy for anchored boxes, J. Complexity 14 (1998) 527-556.
    """

    name = "sobol"

    def points(
        self,
        streams: Streams,
        names: Sequence[str],
        n: int,  # noqa: ARG002 (of the base class)
        count: int,
    ) -> NDArray[np.float64]:
        """Return points of the sequence, (count, names)."""
        generator = np.random.default_rng(int.from_bytes(streams.digest("sobol")[:16], "little"))
        engine = qmc.Sobol(len(names), scramble=True, bits=_BITS, seed=generator)
        points = np.empty((count, len(names)))
        start = 0
        if streams.first > 0:
            engine.fast_forward(streams.first)
        else:
            # The first point alone: SciPy warns if the first draw is not a power of two, whether
            # that unbalances the points or not.
            points[0] = engine.random(1)
            start = 1
        if count > start:
            points[start:] = engine.random(count - start)
        return points + 0.5 * 2.0**-_BITS
