"""Normal noise: errors have the same size whatever the value."""

from __future__ import annotations

from warp_phys.systems.noise.location_scale import NormalErrors


class Normal(NormalErrors):
    r"""Normal noise, whose level is its standard deviation.

    .. math::
        y = f + s e, \qquad e \sim N(0, 1), \qquad
        -2 \log p = (y - f)^2 / s^2 + \log(2 \pi s^2)
    """

    name = "normal"
