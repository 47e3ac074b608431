"""Predator and prey: the Lotka-Volterra equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from warp_phys.systems.model.quantities import Parameter, State
from warp_phys.systems.model.system import System


class LotkaVolterra(System):
    r"""Predator and prey, the Lotka-Volterra equations.

    .. math::
        \dot x &= (\alpha - \beta y)\, x \\
        \dot y &= (\delta x - \gamma)\, y

    States: prey x and predator y, as counts or densities in any unit (thousands of pelts in the
    Hudson Bay record). Parameters: alpha, growth rate of prey without predators; beta, predation
    rate for each predator; gamma, death rate of predators without prey; delta, growth rate of
    predators for each prey. The ranges cover the bulk of the priors of Carpenter's case study for
    yearly counts in thousands.

    Every orbit is closed: :math:`\delta x - \gamma \ln x + \beta y - \alpha \ln y` is constant.
    The right-hand side is affine in the parameters. There is no closed form in time.

    References:
        A. J. Lotka, Elements of Physical Biology, Williams & Wilkins, 1925, ch. 8.
        V. Volterra, Nature 118 (1926) 558-560, doi:10.1038/118558a0.
        B. Carpenter, Predator-Prey Population Dynamics: the Lotka-Volterra model in Stan,
        mc-stan.org/users/documentation/case-studies/lotka-volterra-predator-prey.html, 2018.

    Example:
        >>> LotkaVolterra().parameter_names
        ('alpha', 'beta', 'gamma', 'delta')
    """

    time_unit = "year"
    states = (
        State("prey", "1", support="positive", description="number of prey"),
        State("predator", "1", support="positive", description="number of predators"),
    )
    parameters = (
        Parameter("alpha", "1/year", "positive", (0.2, 2.0), description="growth rate of prey"),
        Parameter("beta", "1/year", "positive", (0.01, 0.15), description="predation rate"),
        Parameter("gamma", "1/year", "positive", (0.2, 2.0), description="death rate of predators"),
        Parameter("delta", "1/year", "positive", (0.01, 0.15), description="predator growth rate"),
    )
    default_initial_state = {"prey": (5.0, 50.0), "predator": (2.0, 40.0)}
    default_times = tuple(float(year) for year in range(21))
    reference = "Lotka 1925; Volterra 1926, doi:10.1038/118558a0"

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        """Return the growth of prey and predator."""
        prey, predator = y
        return (p.alpha - p.beta * predator) * prey, (p.delta * prey - p.gamma) * predator

    def invariants(self, t: Any, y: Tensor, p: Any) -> Mapping[str, Tensor]:
        """Return the Lotka-Volterra integral, which labels the closed orbit."""
        prey, predator = y
        of_prey = p.delta * prey - p.gamma * torch.log(prey)
        of_predator = p.beta * predator - p.alpha * torch.log(predator)
        return {"orbit": of_prey + of_predator}
