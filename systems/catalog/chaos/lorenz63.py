"""The Lorenz equations of 1963."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class Lorenz63(System):
    r"""Convection in a layer heated from below, reduced to three modes: the Lorenz equations.

    .. math::
        \dot x &= \sigma (y - x) \\
        \dot y &= (\rho - z)\, x - y \\
        \dot z &= x y - \beta z

    States (dimensionless, as is time): x, the strength of the convection; y, the temperature
    difference between rising and sinking fluid; z, the distortion of the vertical temperature
    profile. Parameters: Prandtl number :math:`\sigma`; relative Rayleigh number :math:`\rho`;
    :math:`\beta`, the shape of the rolls. Lorenz used 10, 28 and 8/3. The fixed points are 0 and,
    for :math:`\rho > 1`, :math:`x = y = \pm\sqrt{\beta (\rho - 1)}`, :math:`z = \rho - 1`. Motion
    is chaotic for Lorenz's values: errors grow as :math:`e^{0.9 t}`, and the default times span
    about four such e-foldings.

    The right-hand side is affine in the parameters. There is neither a closed form nor an
    invariant.

    References:
        E. N. Lorenz, Journal of the Atmospheric Sciences 20 (1963) 130-141,
        doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2.

    Example:
        >>> Lorenz63().affine_form.names
        ('sigma', 'rho', 'beta')
    """

    time_unit = "1"
    states = (
        State("x", "1", description="strength of the convection"),
        State("y", "1", description="temperature difference of the streams"),
        State("z", "1", description="distortion of the temperature profile"),
    )
    parameters = (
        Parameter("sigma", "1", "positive", (8.0, 12.0), description="Prandtl number"),
        Parameter("rho", "1", "positive", (20.0, 36.0), description="relative Rayleigh number"),
        Parameter("beta", "1", "positive", (2.0, 3.3), description="shape of the rolls"),
    )
    default_initial_state = {"x": (-10.0, 10.0), "y": (-10.0, 10.0), "z": (15.0, 35.0)}
    default_times = tuple(0.04 * step for step in range(101))
    reference = "Lorenz 1963, doi:10.1175/1520-0469(1963)020<0130:DNF>2.0.CO;2"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rates of the three modes."""
        x, y_, z = y
        return p.sigma * (y_ - x), (p.rho - z) * x - y_, x * y_ - p.beta * z
