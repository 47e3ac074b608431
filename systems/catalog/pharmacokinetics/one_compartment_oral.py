"""A drug taken by mouth: one compartment with first-order absorption."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.catalog.mechanics._damped_oscillation import damped_oscillation
from warp_phys.systems.model.quantities import Output, Parameter, State
from warp_phys.systems.model.system import System


class OneCompartmentOral(System):
    r"""A drug taken by mouth, absorbed from the gut into one compartment and eliminated from it.

    .. math::
        \dot G &= -k_a G \\
        \dot A &= k_a G - k_e A, \quad k_e = CL/V

    States: amounts of drug in the gut G and in the central compartment A; a dose by mouth goes to
    `gut`, one into the vein to `central`. Output: concentration A/V. Parameters: absorption
    :math:`k_a`; clearance CL, the volume cleared of drug per unit time; volume V of distribution.
    The dose is absorbed completely; if only a fraction is, CL and V stand for CL and V divided by
    it. The ranges and the initial 320 mg are those of theophylline in adults, for which :math:`k_a
    = 1.6` /h, CL = 2.8 L/h and V = 32 L are typical.

    Concentrations after a dose by mouth are the same with :math:`k_a` and :math:`k_e` exchanged and
    V scaled by :math:`k_e/k_a`, the flip-flop. Closed form, continued through :math:`k_a = k_e`:

    .. math:: A(t) = A_0 e^{-k_e t} + k_a G_0 \frac{e^{-k_e t} - e^{-k_a t}}{k_a - k_e}

    References:
        M. Gibaldi, D. Perrier, Pharmacokinetics, 2nd ed., Dekker, 1982, ch. 1,
        doi:10.1201/b14095.
        J. C. Pinheiro, D. M. Bates, Mixed-Effects Models in S and S-PLUS, Springer, 2000
        (theophylline, data set Theoph), doi:10.1007/b98882.

    Example:
        >>> OneCompartmentOral().output_names
        ('concentration',)
    """

    time_unit = "h"
    states = (
        State("gut", "mg", description="amount not yet absorbed"),
        State("central", "mg", description="amount in the body"),
    )
    outputs = (Output("concentration", "mg/L", description="in plasma"),)
    parameters = (
        Parameter("absorption", "1/h", "positive", (0.5, 3.0), description="rate of absorption"),
        Parameter("clearance", "L/h", "positive", (1.5, 5.0), description="volume freed of drug"),
        Parameter("volume", "L", "positive", (20.0, 50.0), description="volume of distribution"),
    )
    default_initial_state = {"gut": 320.0, "central": 0.0}
    default_times = tuple(0.25 * step for step in range(97))
    reference = "Gibaldi and Perrier 1982, doi:10.1201/b14095"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the rates of both amounts."""
        gut, central = y
        absorbed = p.absorption * gut
        return -absorbed, absorbed - p.clearance / p.volume * central

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        """Return the concentration."""
        return (y[1] / p.volume,)

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return both amounts in closed form."""
        gut, central = y0
        absorption, elimination = p.absorption, p.clearance / p.volume
        # Two first-order steps in a row are an overdamped oscillator; this one bears equal rates.
        rate = absorption * gut - elimination * central
        squared, damping = absorption * elimination, 0.5 * (absorption + elimination)
        central, _ = damped_oscillation(t, central, rate, squared, damping)
        return gut * torch.exp(-absorption * t), central
