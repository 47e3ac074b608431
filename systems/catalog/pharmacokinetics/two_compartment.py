"""A drug given into a vein: two compartments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Output, Parameter, State
from warp_phys.systems.model.system import System


class TwoCompartment(System):
    r"""A drug given into a vein, which spreads from blood to tissue and is eliminated from blood.

    .. math::
        \dot A &= -(k_{10} + k_{12})\, A + k_{21} B \\
        \dot B &= k_{12} A - k_{21} B

    with :math:`k_{10} = CL/V_1`, :math:`k_{12} = Q/V_1`, :math:`k_{21} = Q/V_2`. States: amounts of
    drug in the central compartment A, which receives the doses, and in the peripheral one B.
    Output: concentration :math:`A/V_1`. Parameters: clearance CL; central volume :math:`V_1`;
    exchange Q between the compartments; peripheral volume :math:`V_2`. The ranges lie around the
    values of indometacin in adults, with an initial amount of 25 mg.

    Closed form: A and B are sums of two exponentials, whose rates :math:`\lambda` solve
    :math:`\lambda^2 - (k_{10} + k_{12} + k_{21}) \lambda + k_{10} k_{21} = 0` and always differ.

    References:
        M. Gibaldi, D. Perrier, Pharmacokinetics, 2nd ed., Dekker, 1982, ch. 2,
        doi:10.1201/b14095.
        K. C. Kwan et al., Journal of Pharmacokinetics and Biopharmaceutics 4 (1976) 255-280
        (indometacin).

    Example:
        >>> TwoCompartment().parameter_names
        ('clearance', 'central_volume', 'exchange', 'peripheral_volume')
    """

    time_unit = "h"
    states = (
        State("central", "mg", description="amount in blood"),
        State("peripheral", "mg", description="amount in tissue"),
    )
    outputs = (Output("concentration", "mg/L", description="in plasma"),)
    parameters = (
        Parameter("clearance", "L/h", "positive", (4.0, 14.0), description="volume freed of drug"),
        Parameter("central_volume", "L", "positive", (4.0, 14.0), description="volume of blood"),
        Parameter("exchange", "L/h", "positive", (2.0, 12.0), description="flow between both"),
        Parameter("peripheral_volume", "L", "positive", (6.0, 24.0), description="of tissue"),
    )
    default_initial_state = {"central": 25.0, "peripheral": 0.0}
    default_times = tuple(0.125 * step for step in range(65))
    reference = "Gibaldi and Perrier 1982, doi:10.1201/b14095"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the rates of both amounts."""
        central, peripheral = y
        spread = p.exchange * (central / p.central_volume - peripheral / p.peripheral_volume)
        return -p.clearance / p.central_volume * central - spread, spread

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        """Return the concentration in the central compartment."""
        return (y[0] / p.central_volume,)

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return both amounts in closed form."""
        elimination = p.clearance / p.central_volume
        out, back = p.exchange / p.central_volume, p.exchange / p.peripheral_volume
        gap = torch.sqrt((elimination + out - back) ** 2 + 4.0 * out * back)
        fast = 0.5 * (elimination + out + back + gap)
        slow = elimination * back / fast  # as the difference it would lose digits
        lasting, passing = torch.exp(-slow * t), torch.exp(-fast * t)

        def amount(start: Tensor, rate: Tensor) -> Tensor:
            return ((rate + fast * start) * lasting - (rate + slow * start) * passing) / gap

        central, peripheral = y0
        spread = out * central - back * peripheral
        return amount(central, -elimination * central - spread), amount(peripheral, spread)
