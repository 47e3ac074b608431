"""The SIR model of an epidemic in a closed population."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class SIR(System):
    r"""An epidemic in a closed population: susceptible, infected, recovered.

    .. math::
        \dot S &= -\beta S I / N \\
        \dot I &= \beta S I / N - \gamma I

    States: susceptible S and infected I, in persons; the recovered are N - S - I and have no
    effect. Parameters: transmission :math:`\beta`, infectious contacts per infected person and day;
    recovery :math:`\gamma`, one over the mean infectious time; population N, fixed unless freed.
    The basic reproduction number is :math:`\beta/\gamma`. Population, initial state and times are
    those of the influenza outbreak at an English boarding school in 1978: 763 boys, one of them
    infected on day 0. If you change the population, give the initial state too.

    :math:`S + I - N (\gamma/\beta) \ln S` is constant. The right-hand side is affine in
    (:math:`\beta`, :math:`\gamma`) if N is fixed. There is no closed form in time.

    References:
        W. O. Kermack, A. G. McKendrick, Proc. R. Soc. Lond. A 115 (1927) 700-721,
        doi:10.1098/rspa.1927.0118.
        Influenza in a boarding school, British Medical Journal 1 (1978) 587.

    Example:
        >>> SIR().free_names
        ('transmission', 'recovery')
    """

    time_unit = "day"
    states = (
        State("susceptible", "1", "positive", description="persons who can be infected"),
        State("infected", "1", "positive", description="persons who infect"),
    )
    parameters = (
        Parameter("transmission", "1/day", "positive", (0.5, 4.0), description="beta"),
        Parameter("recovery", "1/day", "positive", (0.1, 1.0), description="gamma"),
        Parameter("population", "1", "positive", (100.0, 1e4), fixed=763.0, description="N"),
    )
    default_initial_state = {"susceptible": 762.0, "infected": 1.0}
    default_times = tuple(float(day) for day in range(15))
    reference = "Kermack and McKendrick 1927, doi:10.1098/rspa.1927.0118"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the change of susceptible and infected persons."""
        susceptible, infected = y
        infections = p.transmission / p.population * susceptible * infected
        return -infections, infections - p.recovery * infected

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the integral that ties infected to susceptible persons."""
        susceptible, infected = y
        threshold = p.population * p.recovery / p.transmission
        return {"orbit": susceptible + infected - threshold * torch.log(susceptible)}
