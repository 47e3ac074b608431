"""The design of a scrambled Sobol' sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from warp_phys.data_gen.drawing.designs.design import Design
from warp_phys.data_gen.drawing.random_streams import Streams

_BITS = 32


class Sobol(Design):
    """Low-discrepancy points: a point depends on the seed and the number of quantities, not on n.

    The scrambling is a random lower triangular matrix and a digital shift, in base 2. Each point is
    moved to the middle of its cell of size 2**-32, so that no coordinate is 0.

    References:
        S. Joe, F. Y. Kuo, Constructing Sobol' sequences with better two-dimensional projections,
        SIAM J. Sci. Comput. 30 (2008) 2635-2654 (SciPy's direction numbers).
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
        # A block starts inside the sequence, so that points do not depend on the block.
        if streams.first > 0:
            engine.fast_forward(streams.first)
        else:
            # The first point is drawn alone: SciPy warns if the first draw is not a power of two,
            # even if the points of the whole data set are balanced.
            # that unbalances the points or not.
            points[0] = engine.random(1)
            start = 1
        if count > start:
            points[start:] = engine.random(count - start)
        return points + 0.5 * 2.0**-_BITS
