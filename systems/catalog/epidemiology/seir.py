"""The SEIR model of an epidemic with an incubation time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class SEIR(System):
    r"""An epidemic with incubation: susceptible, exposed, infectious, recovered.

    .. math::
        \dot S &= -\beta S I / N \\
        \dot E &= \beta S I / N - \sigma E \\
        \dot I &= \sigma E - \gamma I \\
        \dot R &= \gamma I

    States, in persons: susceptible S; exposed E, infected but not yet infectious; infectious I;
    recovered R. Their sum N is the population, which is constant. Parameters: transmission
    :math:`\beta`, infectious contacts per infectious person and day; onset :math:`\sigma`, one over
    the mean incubation time; recovery :math:`\gamma`, one over the mean infectious time. The basic
    reproduction number is :math:`\beta/\gamma`.

    :math:`S + E + I - N (\gamma/\beta) \ln S` is constant, which gives the final size. The
    right-hand side is affine in the parameters. There is no closed form in time.

    References:
        H. W. Hethcote, SIAM Review 42 (2000) 599-653, doi:10.1137/S0036144500371907.

    Example:
        >>> SEIR().affine_form.names
        ('transmission', 'onset', 'recovery')
    """

    time_unit = "day"
    states = (
        State("susceptible", "1", "positive", description="persons who can be infected"),
        State("exposed", "1", "positive", description="persons who do not infect yet"),
        State("infectious", "1", "positive", description="persons who infect"),
        State("recovered", "1", description="persons who are immune"),
    )
    parameters = (
        Parameter("transmission", "1/day", "positive", (0.4, 1.5), description="beta"),
        Parameter("onset", "1/day", "positive", (0.1, 0.4), description="sigma"),
        Parameter("recovery", "1/day", "positive", (0.1, 0.25), description="gamma"),
    )
    default_initial_state = {
        "susceptible": 9990.0,
        "exposed": 5.0,
        "infectious": 5.0,
        "recovered": 0.0,
    }
    default_times = tuple(float(day) for day in range(0, 101, 2))
    reference = "Hethcote 2000, doi:10.1137/S0036144500371907"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        """Return the change of persons in each compartment."""
        susceptible, exposed, infectious, recovered = y
        population = susceptible + exposed + infectious + recovered
        infections = p.transmission * susceptible * infectious / population
        onsets, recoveries = p.onset * exposed, p.recovery * infectious
        return -infections, infections - onsets, onsets - recoveries, recoveries

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the population, and the integral that gives the final size."""
        susceptible, exposed, infectious, recovered = y
        population = susceptible + exposed + infectious + recovered
        threshold = population * p.recovery / p.transmission
        orbit = susceptible + exposed + infectious - threshold * torch.log(susceptible)
        return {"population": population, "orbit": orbit}
