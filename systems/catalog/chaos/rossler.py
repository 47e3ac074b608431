"""The Roessler equations."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Rossler(System):
    r"""The Roessler equations, chaos with a single non-linear term.

    .. math::
        \dot x &= -y - z \\
        \dot y &= x + a y \\
        \dot z &= b + z (x - c)

    States x, y and z (dimensionless, as is time): an outward spiral in the plane of x and y, sent
    back by a pulse of z. Parameters: a, growth rate of the spiral; b, source of z; c, value of x at
    which the pulse sets in. Roessler used 0.2, 0.2 and 5.7. The fixed points have
    :math:`x = (c \mp \sqrt{c^2 - 4ab})/2`, y = -x/a, z = x/a. Chaos is slow: for Roessler's
    values errors grow as :math:`e^{0.07 t}`, with turns of about 6.

    The right-hand side is affine in the parameters. There is neither a closed form nor an
    invariant; z stays positive.

    References:
        O. E. Roessler, Physics Letters A 57 (1976) 397-398, doi:10.1016/0375-9601(76)90101-8.

    Example:
        >>> Rossler().affine_form.names
        ('a', 'b', 'c')
    """

    time_unit = "1"
    states = (
        State("x", "1", description="first coordinate of the spiral"),
        State("y", "1", description="second coordinate of the spiral"),
        State("z", "1", "positive", description="pulse"),
    )
    parameters = (
        Parameter("a", "1", "positive", (0.1, 0.3), description="growth rate of the spiral"),
        Parameter("b", "1", "positive", (0.1, 0.4), description="feed of the pulse"),
        Parameter("c", "1", "positive", (4.0, 8.0), description="onset of the pulse"),
    )
    default_initial_state = {"x": (-5.0, 5.0), "y": (-5.0, 5.0), "z": (0.01, 0.5)}
    default_times = tuple(0.25 * step for step in range(161))
    reference = "Roessler 1976, doi:10.1016/0375-9601(76)90101-8"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rates of the three coordinates."""
        x, y_, z = y
        return -y_ - z, x + p.a * y_, p.b + z * (x - p.c)
