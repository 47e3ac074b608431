"""Growth up to a capacity: the logistic equation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.linear_form import LinearForm
from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


def _to_coordinates(p: Any) -> tuple[Tensor, Tensor]:
    return p.growth, p.growth / p.capacity


def _from_coordinates(q: Any, p: Any) -> dict[str, Tensor | None]:
    growth = q.growth if p.growth is None else p.growth
    return {"growth": growth, "capacity": growth / q.growth_over_capacity}


class LogisticGrowth(System):
    r"""A population that grows up to a capacity: the logistic equation of Verhulst.

    .. math:: \dot N = r N (1 - N/K)

    State: population N, as a count or density in any unit. Parameters: r, growth rate of a small
    population; K, the capacity. Closed form:

    .. math:: N(t) = \frac{K N_0}{N_0 + (K - N_0)\, e^{-rt}}

    The right-hand side is affine in q = (r, r/K).

    References:
        P.-F. Verhulst, Correspondance mathematique et physique 10 (1838) 113-121.
        R. Pearl, L. J. Reed, PNAS 6 (1920) 275-288, doi:10.1073/pnas.6.6.275.

    Example:
        >>> import torch
        >>> p = torch.tensor([0.5, 100.0])
        >>> LogisticGrowth().solution_at(torch.tensor(1e3), torch.tensor([2.0]), p)
        tensor([100.])
    """

    time_unit = "day"
    states = (State("population", "1", "positive", description="number of individuals"),)
    parameters = (
        Parameter("growth", "1/day", "positive", (0.2, 1.5), description="rate of a small one"),
        Parameter("capacity", "1", "positive", (50.0, 500.0), description="what can be sustained"),
    )
    default_initial_state = {"population": (2.0, 20.0)}
    default_times = tuple(0.5 * step for step in range(41))
    reference = "Verhulst 1838; Pearl and Reed 1920, doi:10.1073/pnas.6.6.275"
    linear_form = LinearForm(
        names=("growth", "growth_over_capacity"),
        units=("1/day", "1/day"),
        to_coordinates=_to_coordinates,
        from_coordinates=_from_coordinates,
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor]:
        """Return the growth of the population."""
        (population,) = y
        return (p.growth * population * (1.0 - population / p.capacity),)

    def linear_rhs(self, t: Any, y: Tensor, q: Any, p: Any) -> tuple[Tensor]:
        """Return the same as a function of q = (r, r/K)."""
        (population,) = y
        return (q.growth * population - q.growth_over_capacity * population**2,)

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor]:
        """Return the population in closed form."""
        (population,) = y0
        room = (p.capacity - population) * torch.exp(-p.growth * t)
        return (p.capacity * population / (population + room),)
