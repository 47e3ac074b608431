"""The interface of sampling designs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from warp_phys.data_gen.drawing.random_streams import Streams


class Design(ABC):
    """How the values drawn for a data set fill their distributions jointly.

    Subclass it, write `points`, and pass an instance as `simulate(..., sampling=)`. Each coordinate
    of a point becomes one parameter or initial state, by the inverse of its distribution function.

    Attributes:
        name: The name under which `simulate` finds a design that comes with the package.

    Example:
        >>> import numpy as np
        >>> from warp_phys.data_gen import simulate
        >>> class Kronecker(Design):
        ...     '''Multiples of irrational steps, modulo 1: evenly spread without a seed.'''
        ...     def points(self, streams, names, n, count):
        ...         rows = np.arange(streams.first, streams.first + count)[:, None]
        ...         steps = np.sqrt([2.0, 3.0, 5.0, 7.0])[: len(names)]
        ...         return (0.5 + rows * steps) % 1.0
        >>> data = simulate("damped_oscillator", 3, [0.0, 1.0], sampling=Kronecker(), seed=0)
        >>> data.true_parameters.shape
        (3, 2)
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def points(
        self, streams: Streams, names: Sequence[str], n: int, count: int
    ) -> NDArray[np.float64]:
        """Return one point strictly inside the unit cube for each trajectory, (count, names).

        The points of trajectories `streams.first` to `streams.first + count` must not depend on the
        block in which they are requested: a data set is made block by block, on several machines,
        and may be extended later.

        Args:
            streams: Random numbers: `streams.uniform(name, count)` returns (count, 1) uniform
                numbers that depend on the seed, the name and the trajectory alone;
                `streams.seed` is the seed.
            names: The quantities drawn, one coordinate each; at least one.
            n: Number of trajectories of the whole data set.
            count: Number of trajectories wanted.
        """
