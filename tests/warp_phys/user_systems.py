"""Systems as a user writes them: driven, on an interval, with an explicit time."""

import torch

from warp_phys.systems import Input, Output, Parameter, State, System


class DrivenOscillator(System):
    """x'' + damping x' + stiffness x = force, of unit mass."""

    time_unit = "s"
    states = (State("position", "m"), State("velocity", "m/s"))
    inputs = (Input("force", "N"),)
    parameters = (
        Parameter("stiffness", "1/s2", "positive", (1.0, 4.0)),
        Parameter("damping", "1/s", "positive", (0.1, 1.0)),
    )
    default_initial_state = {"position": (0.5, 1.5), "velocity": 0.0}

    def rhs(self, t, y, p):
        position, velocity = y
        return velocity, p.force - p.stiffness * position - p.damping * velocity


class Saturation(System):
    """Growth to a plateau; each parameter on another kind of support."""

    time_unit = "d"
    states = (State("amount", "kg", (0.0, 10.0)),)
    outputs = (Output("logarithm", "1"),)
    parameters = (
        Parameter("rate", "1/d", "positive", (0.1, 1.0)),
        Parameter("share", "1", (0.0, 1.0), (0.2, 0.8)),
        Parameter("offset", "1", "real", (-2.0, 2.0)),
        Parameter("depth", "m", (-torch.inf, 0.0), (-5.0, -1.0)),
        Parameter("scale", "1", "positive", fixed=3.0),
    )
    default_initial_state = {"amount": (1.0, 2.0)}

    def rhs(self, t, y, p):
        return (p.rate * y[0] * (p.share - 0.1 * y[0]),)

    def observe(self, t, y, p):
        return (torch.log(y[0]) + p.offset + 0.1 * p.depth / p.scale,)


class Switched(System):
    """A damped body in a moving frame, with a force that is switched; one output is the power."""

    time_unit = "s"
    states = (State("x", "m"), State("v", "m/s"))
    outputs = (Output("x", "m"), Output("power", "W"))
    inputs = (Input("force", "N", between="held"), Input("frame", "m"))
    parameters = (
        Parameter("stiffness", "N/m", "positive", (1.0, 4.0)),
        Parameter("damping", "N s/m", "positive", (0.1, 1.0)),
    )
    default_initial_state = {"x": (0.5, 1.0), "v": 0.0}

    def rhs(self, t, y, p):
        x, v = y
        return v, p.force - p.stiffness * (x - p.frame) - p.damping * v

    def observe(self, t, y, p):
        return y[0], p.force * y[1]
