"""The double pendulum without friction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class DoublePendulum(System):
    r"""A pendulum hung from another: two point masses on massless rods, without friction.

    .. math::
        \ddot\varphi_1 &= \frac{m_2 g \sin\varphi_2 \cos\delta - m_2 \sin\delta\,
            (\ell_1 \dot\varphi_1^2 \cos\delta + \ell_2 \dot\varphi_2^2) - (m_1 + m_2) g
            \sin\varphi_1}{\ell_1 (m_1 + m_2 \sin^2\delta)} \\
        \ddot\varphi_2 &= \frac{(m_1 + m_2) (\ell_1 \dot\varphi_1^2 \sin\delta - g \sin\varphi_2
            + g \sin\varphi_1 \cos\delta) + m_2 \ell_2 \dot\varphi_2^2 \sin\delta \cos\delta}
            {\ell_2 (m_1 + m_2 \sin^2\delta)}

    with :math:`\delta = \varphi_1 - \varphi_2`. States: the angles of both rods from the vertical
    and their rates. Parameters: upper mass :math:`m_1` (fixed at 1 kg unless freed), lower mass
    :math:`m_2`, upper and lower length :math:`\ell_1, \ell_2`, acceleration of gravity g (fixed
    unless freed). A motion determines :math:`m_2/m_1`, :math:`\ell_2/\ell_1` and
    :math:`g/\ell_1`. Large swings are chaotic.

    The energy is constant. There is no closed form.

    References:
        T. Shinbrot, C. Grebogi, J. Wisdom, J. A. Yorke, American Journal of Physics 60 (1992)
        491-499, doi:10.1119/1.16860.

    Example:
        >>> DoublePendulum().free_names
        ('mass_2', 'length_1', 'length_2')
    """

    time_unit = "s"
    states = (
        State("angle_1", "rad", description="upper angle from the vertical"),
        State("angle_2", "rad", description="lower angle from the vertical"),
        State("angular_velocity_1", "rad/s", description="rate of the upper angle"),
        State("angular_velocity_2", "rad/s", description="rate of the lower angle"),
    )
    parameters = (
        Parameter("mass_1", "kg", "positive", (0.5, 2.0), fixed=1.0, description="upper mass"),
        Parameter("mass_2", "kg", "positive", (0.5, 2.0), description="lower mass"),
        Parameter("length_1", "m", "positive", (0.5, 2.0), description="length of the upper rod"),
        Parameter("length_2", "m", "positive", (0.5, 2.0), description="length of the lower rod"),
        Parameter("g", "m/s2", "positive", (1.0, 30.0), fixed=9.81, description="gravity"),
    )
    default_initial_state = {
        "angle_1": (0.3, 1.5),
        "angle_2": (0.3, 1.5),
        "angular_velocity_1": 0.0,
        "angular_velocity_2": 0.0,
    }
    default_times = tuple(0.05 * step for step in range(101))
    reference = "Shinbrot et al. 1992, doi:10.1119/1.16860"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return angular velocities and accelerations."""
        angle_1, angle_2, velocity_1, velocity_2 = y
        sine, cosine = torch.sin(angle_1 - angle_2), torch.cos(angle_1 - angle_2)
        mass = p.mass_1 + p.mass_2
        pull_1, pull_2 = p.g * torch.sin(angle_1), p.g * torch.sin(angle_2)
        swing_1, swing_2 = p.length_1 * velocity_1**2, p.length_2 * velocity_2**2
        upper = p.mass_2 * (pull_2 * cosine - sine * (swing_1 * cosine + swing_2)) - mass * pull_1
        lower = mass * (swing_1 * sine - pull_2 + pull_1 * cosine)
        lower = lower + p.mass_2 * swing_2 * sine * cosine
        inertia = p.mass_1 + p.mass_2 * sine**2
        return (
            velocity_1,
            velocity_2,
            upper / (p.length_1 * inertia),
            lower / (p.length_2 * inertia),
        )

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the energy above hanging at rest, in J."""
        angle_1, angle_2, velocity_1, velocity_2 = y
        speed_1, speed_2 = p.length_1 * velocity_1, p.length_2 * velocity_2
        mass = p.mass_1 + p.mass_2
        kinetic = 0.5 * (mass * speed_1**2 + p.mass_2 * speed_2**2)
        kinetic = kinetic + p.mass_2 * speed_1 * speed_2 * torch.cos(angle_1 - angle_2)
        height = mass * p.length_1 * (1.0 - torch.cos(angle_1))
        height = height + p.mass_2 * p.length_2 * (1.0 - torch.cos(angle_2))
        return {"energy": kinetic + p.g * height}
