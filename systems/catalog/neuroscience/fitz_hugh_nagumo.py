"""The FitzHugh-Nagumo model of a nerve cell."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _to_coordinates(p: Any) -> tuple[Tensor, ...]:
    return p.current, p.epsilon, p.epsilon * p.a, p.epsilon * p.b


def _from_coordinates(q: Any, p: Any) -> dict[str, Tensor | None]:
    epsilon = q.epsilon if p.epsilon is None else p.epsilon
    a, b = q.epsilon_a / epsilon, q.epsilon_b / epsilon
    return {"a": a, "b": b, "epsilon": epsilon, "current": q.current}


class FitzHughNagumo(System):
    r"""A nerve cell in two variables, the simplest model with threshold, spike and recovery.

    .. math::
        \dot v &= v - v^3/3 - w + I \\
        \dot w &= \varepsilon\, (v + a - b w)

    States (dimensionless, as is time): v, which represents the membrane voltage, and w, the
    recovery of the membrane. Parameters: a and b, which set the equilibrium of the recovery;
    :math:`\varepsilon`, its rate; I, the stimulating current. Usual values are a = 0.7, b = 0.8,
    :math:`\varepsilon = 0.08`; the cell then spikes repeatedly for I from 0.33 to 1.42, which
    covers most of the range. The fixed point is stable where :math:`1 - v^2 < \varepsilon b`.

    The right-hand side is affine in q = (I, :math:`\varepsilon`, :math:`\varepsilon a`,
    :math:`\varepsilon b`). There is neither a closed form nor an invariant.

    References:
        R. FitzHugh, Biophysical Journal 1 (1961) 445-466, doi:10.1016/S0006-3495(61)86902-6.
        J. Nagumo, S. Arimoto, S. Yoshizawa, Proc. IRE 50 (1962) 2061-2070,
        doi:10.1109/JRPROC.1962.288235.

    Example:
        >>> FitzHughNagumo().affine_form.names
        ('current', 'epsilon', 'epsilon_a', 'epsilon_b')
    """

    time_unit = "1"
    states = (
        State("voltage", "1", description="membrane voltage"),
        State("recovery", "1", description="recovery of the membrane"),
    )
    parameters = (
        Parameter("a", "1", "real", (0.5, 0.9), description="offset of the recovery"),
        Parameter("b", "1", "positive", (0.6, 1.0), description="self-limit of the recovery"),
        Parameter("epsilon", "1", "positive", (0.04, 0.16), description="rate of the recovery"),
        Parameter("current", "1", "real", (0.3, 1.0), description="stimulating current"),
    )
    default_initial_state = {"voltage": (-1.5, 1.0), "recovery": (-0.6, 1.0)}
    default_times = tuple(0.5 * step for step in range(201))
    reference = "FitzHugh 1961, doi:10.1016/S0006-3495(61)86902-6"
    linear_form = LinearForm(
        names=("current", "epsilon", "epsilon_a", "epsilon_b"),
        units=("1", "1", "1", "1"),
        to_coordinates=_to_coordinates,
        from_coordinates=_from_coordinates,
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the rates of voltage and recovery."""
        voltage, recovery = y
        return (
            voltage - voltage**3 / 3.0 - recovery + p.current,
            p.epsilon * (voltage + p.a - p.b * recovery),
        )

    def linear_rhs(self, t: Any, y: Tensor, q: Any, p: Any) -> tuple[Tensor, Tensor]:
        """Return the same as a function of q."""
        voltage, recovery = y
        return (
            voltage - voltage**3 / 3.0 - recovery + q.current,
            q.epsilon * voltage + q.epsilon_a - q.epsilon_b * recovery,
        )
