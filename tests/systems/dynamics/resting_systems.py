"""Systems with steady states that are known in closed form."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from warp_phys.systems import Input, Parameter, State, System


class Receptor(System):
    """A receptor that binds a ligand u, of which the total is conserved, and its product."""

    time_unit = "s"
    states = (State("free", "1"), State("bound", "1"), State("product", "1"))
    parameters = tuple(
        Parameter(name, "1/s", support="positive", range=(0.1, 10.0))
        for name in ("on", "off", "make", "lose")
    )
    inputs = (Input("u", "1", between="held"),)
    default_initial_state = {"free": 2.0, "bound": 0.0, "product": 0.0}
    default_times = tuple(0.2 * step for step in range(16))

    def rhs(self, t: Any, y: Tensor, p: Any) -> Any:
        free, bound, product = y
        flow = p.on * p.u * free - p.off * bound
        return -flow, flow, p.make * (1.0 + bound) - p.lose * product


class Switch(System):
    """A gene that activates itself, with a function that is not traced."""

    states = (State("level", "1"),)
    parameters = (
        Parameter("leak", "1", support="positive", range=(0.01, 0.1)),
        Parameter("gain", "1", support="positive", range=(1.0, 3.0)),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> Any:
        # The logarithm of the gamma function is 0 at 1.
        square = y[0] ** 2 * torch.exp(torch.lgamma(1.0 + 0.0 * y[0]))
        return (p.leak + p.gain * square / (1.0 + square) - y[0],)


class Birth(System):
    """Birth and death: without deaths, the level grows without end."""

    states = (State("level", "1"),)
    parameters = (
        Parameter("birth", "1", support="positive", range=(0.1, 10.0)),
        Parameter("death", "1", support=(0.0, 10.0), range=(0.1, 5.0)),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> Any:
        return (p.birth - p.death * y[0],)


class Turnover(System):
    """A drug that is eliminated and stops the production of a response (indirect response)."""

    time_unit = "h"
    states = (State("drug", "mg"), State("response", "1"))
    parameters = (
        Parameter("elimination", "1/h", support="positive", range=(0.1, 1.0)),
        Parameter("production", "1/h", support="positive", range=(1.0, 20.0)),
        Parameter("loss", "1/h", support="positive", range=(0.1, 2.0)),
        Parameter("half", "mg", support="positive", range=(1.0, 20.0)),
    )
    default_initial_state = {"drug": 0.0, "response": 1.0}
    default_times = tuple(float(step) for step in range(13))

    def rhs(self, t: Any, y: Tensor, p: Any) -> Any:
        drug, response = y
        made = p.production * (1.0 - drug / (p.half + drug))
        return -p.elimination * drug, made - p.loss * response
