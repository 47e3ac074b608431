"""The Hodgkin-Huxley model of the squid giant axon."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System

# x / (e^x - 1) around 0: 1 - x/2 + x^2 times this polynomial of x^2, from the Bernoulli numbers.
_NEAR = 0.25  # |x| from which on the quotient itself keeps its digits, and so do its derivatives
_SERIES = (1.0 / 12.0, -1.0 / 720.0, 1.0 / 30240.0, -1.0 / 1209600.0, 1.0 / 47900160.0)


class HodgkinHuxley(System):
    r"""Action potentials of the squid giant axon, at 6.3 degrees Celsius.

    .. math::
        C \dot V &= I - g_K n^4 (V - E_K) - g_{Na} m^3 h (V - E_{Na}) - g_L (V - E_L) \\
        \dot n &= \alpha_n(V) (1 - n) - \beta_n(V)\, n, \quad \text{and so for } m \text{ and } h

    with rates, for v = V + 65 mV in mV and in 1/ms,

    .. math::
        \alpha_n &= 0.1\, B(1 - v/10), \quad \beta_n = 0.125\, e^{-v/80} \\
        \alpha_m &= B(2.5 - v/10), \quad \beta_m = 4\, e^{-v/18} \\
        \alpha_h &= 0.07\, e^{-v/20}, \quad \beta_h = 1 / (e^{3 - v/10} + 1)

    and :math:`B(x) = x / (e^x - 1)`, B(0) = 1. States: membrane voltage V, inside minus outside;
    the activation n of potassium channels; activation m and inactivation h of sodium channels,
    fractions from 0 to 1. Parameters: current density I into the cell; conductances of sodium,
    potassium and leak; their reversal potentials E and the capacitance C, fixed unless freed.
    Hodgkin and Huxley used 120, 36 and 0.3 mS/cm2 and, counted from a rest at -65 mV with today's
    sign, 50, -77 and -54.387 mV. With those values the axon fires repeatedly above about 6 uA/cm2,
    and its rest loses stability at 9.78 uA/cm2 (Hassard).

    The right-hand side is affine in the current and the conductances if the others are fixed.
    There is neither a closed form nor an invariant.

    References:
        A. L. Hodgkin, A. F. Huxley, Journal of Physiology 117 (1952) 500-544,
        doi:10.1113/jphysiol.1952.sp004764.
        B. Hassard, Journal of Theoretical Biology 71 (1978) 401-420.

    Example:
        >>> HodgkinHuxley().affine_form.names
        ('current', 'g_sodium', 'g_potassium', 'g_leak')
    """

    time_unit = "ms"
    states = (
        State("voltage", "mV", description="membrane voltage"),
        State("n", "1", (0.0, 1.0), description="activation of potassium"),
        State("m", "1", (0.0, 1.0), description="activation of sodium"),
        State("h", "1", (0.0, 1.0), description="inactivation of sodium"),
    )
    parameters = (
        Parameter("current", "uA/cm2", "real", (7.0, 20.0), description="into the cell"),
        Parameter("g_sodium", "mS/cm2", "positive", (100.0, 140.0), description="conductance"),
        Parameter("g_potassium", "mS/cm2", "positive", (30.0, 42.0), description="conductance"),
        Parameter("g_leak", "mS/cm2", "positive", (0.2, 0.4), description="conductance"),
        Parameter("e_sodium", "mV", "real", (40.0, 60.0), 50.0, "reversal potential"),
        Parameter("e_potassium", "mV", "real", (-85.0, -70.0), -77.0, "reversal potential"),
        Parameter("e_leak", "mV", "real", (-65.0, -50.0), -54.387, "reversal potential"),
        Parameter("capacitance", "uF/cm2", "positive", (0.5, 2.0), 1.0, "of the membrane"),
    )
    default_initial_state = {"voltage": (-70.0, -60.0), "n": 0.3177, "m": 0.0529, "h": 0.5961}
    default_times = tuple(0.15 * step for step in range(201))
    reference = "Hodgkin and Huxley 1952, doi:10.1113/jphysiol.1952.sp004764"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the rates of voltage (mV/ms) and gates (1/ms)."""
        voltage, n, m, h = y
        potassium = p.g_potassium * n**4 * (voltage - p.e_potassium)
        sodium = p.g_sodium * m**3 * h * (voltage - p.e_sodium)
        leak = p.g_leak * (voltage - p.e_leak)
        v = voltage + 65.0
        return (
            (p.current - potassium - sodium - leak) / p.capacitance,
            0.1 * _bernoulli(1.0 - v / 10.0) * (1.0 - n) - 0.125 * torch.exp(-v / 80.0) * n,
            _bernoulli(2.5 - v / 10.0) * (1.0 - m) - 4.0 * torch.exp(-v / 18.0) * m,
            0.07 * torch.exp(-v / 20.0) * (1.0 - h) - torch.sigmoid(v / 10.0 - 3.0) * h,
        )


def _bernoulli(x: Tensor) -> Tensor:
    """Return x / (e^x - 1), smooth through 0."""
    near = x.abs() < _NEAR
    # Each branch sees harmless arguments where the other one is taken, so no gradient is NaN.
    small = torch.where(near, x, torch.zeros_like(x))
    large = torch.where(near, torch.ones_like(x), x)
    squared = small**2
    tail = torch.zeros_like(x)
    for coefficient in reversed(_SERIES):
        tail = coefficient + squared * tail
    series = 1.0 - 0.5 * small + squared * tail
    return torch.where(near, series, large / torch.expm1(large))
