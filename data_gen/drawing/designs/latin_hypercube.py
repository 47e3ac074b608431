"""Latin hypercube sampling over the whole data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.designs.design import Design
from warp_phys.data_gen.drawing.permutation import permuted
from warp_phys.data_gen.drawing.random_streams import Streams

# The largest number below 1: (n - 1 + u) / n may round to 1, where an inverse distribution function
# can be infinite.
_BELOW_ONE = 1.0 - 2.0**-53


class LatinHypercube(Design):
    """Stratified in every coordinate: each of n equal strata contains one value.

    A coordinate depends on the seed, its name and n.

    References:
        M. D. McKay, R. J. Beckman, W. J. Conover, Technometrics 21 (1979) 239-245,
        doi:10.2307/1268522.
    """

    name = "latin_hypercube"

    def points(
        self, streams: Streams, names: Sequence[str], n: int, count: int
    ) -> NDArray[np.float64]:
        """Return (stratum + u) / n, with u uniform, (count, names)."""
        rows = np.arange(streams.first, streams.first + count)
        points = np.empty((count, len(names)))
        for column, name in enumerate(names):
            # An independent permutation for each coordinate (McKay et al. 1979).
            strata = permuted(rows, n, streams, name)
            points[:, column] = (strata + streams.uniform(name, count)[:, 0]) / n
        return np.minimum(points, _BELOW_ONE)
