"""Predator and prey with limits to growth and appetite: the Rosenzweig-MacArthur model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class RosenzweigMacArthur(System):
    r"""Predator and prey; prey has a capacity, and predators need time to handle each catch.

    .. math::
        \dot x &= r x (1 - x/K) - \frac{a x y}{1 + a h x} \\
        \dot y &= \frac{e a x y}{1 + a h x} - m y

    States: prey x and predator y, as densities in any unit. Parameters: growth rate r and capacity
    K of prey; attack rate a and handling time h of predators; efficiency e, predators born for each
    prey eaten; mortality m of predators. The species coexist at the equilibrium :math:`x^* = m / (a
    (e - m h))`, which is stable for :math:`K < 2 x^* + 1/(a h)` and gives way to a limit cycle for
    larger K, the paradox of enrichment. The ranges cover both cases.

    The right-hand side is affine in r, e and m if the others are fixed. There is neither a
    closed form nor an invariant.

    References:
        M. L. Rosenzweig, R. H. MacArthur, American Naturalist 97 (1963) 209-223,
        doi:10.1086/282272.
        M. L. Rosenzweig, Science 171 (1971) 385-387, doi:10.1126/science.171.3969.385.

    Example:
        >>> RosenzweigMacArthur(capacity=5.0, attack=1.0, handling=0.5).affine_form.names
        ('growth', 'efficiency', 'mortality')
    """

    time_unit = "year"
    states = (
        State("prey", "1", "positive", description="density of prey"),
        State("predator", "1", "positive", description="density of predators"),
    )
    parameters = (
        Parameter("growth", "1/year", "positive", (0.5, 2.0), description="growth rate of prey"),
        Parameter("capacity", "1", "positive", (1.5, 3.5), description="capacity for prey"),
        Parameter("attack", "1/year", "positive", (0.6, 1.2), description="attack rate"),
        Parameter("handling", "year", "positive", (0.3, 0.6), description="time for each catch"),
        Parameter("efficiency", "1", "positive", (0.5, 0.8), description="births for each catch"),
        Parameter("mortality", "1/year", "positive", (0.15, 0.3), description="death of predators"),
    )
    default_initial_state = {"prey": (0.5, 2.0), "predator": (0.5, 2.0)}
    default_times = tuple(0.5 * step for step in range(101))
    reference = "Rosenzweig and MacArthur 1963, doi:10.1086/282272"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the growth of prey and predator."""
        prey, predator = y
        eaten = p.attack * prey * predator / (1.0 + p.attack * p.handling * prey)
        return (
            p.growth * prey * (1.0 - prey / p.capacity) - eaten,
            p.efficiency * eaten - p.mortality * predator,
        )
