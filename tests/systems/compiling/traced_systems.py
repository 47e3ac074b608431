"""Systems that exercise what a shipped one does not, for tracing and compiling."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from warp_phys.systems import Input, Output, Parameter, State, System

MASSES = 4


class Forced(System):
    """Two inputs, time in the right-hand side, one output of states, parameters and inputs."""

    time_unit = "s"
    states = (State("x", "m"), State("v", "m/s"))
    outputs = (Output("power", "W"), Output("x", "m"), Output("constant", "1"))
    inputs = (Input("push", "N"), Input("floor", "m"))
    parameters = (
        Parameter("k", "N/m", "positive", (1.0, 3.0)),
        Parameter("c", "N s/m", "positive", (0.1, 0.5)),
        Parameter("g", "m/s2", fixed=9.81),
    )
    default_initial_state = {"x": (0.5, 1.0), "v": 0.0}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        x, v = y
        return v, p.push * torch.cos(t) - p.k * (x - p.floor) - p.c * v - p.g

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Any, Tensor, float]:
        return p.push * y[1] / p.k, y[0], 2.0


class Chain(System):
    """Masses in a row, written with vectors and constant matrices."""

    time_unit = "s"
    states = (
        *(State(f"x{place}", "m") for place in range(MASSES)),
        *(State(f"v{place}", "m/s") for place in range(MASSES)),
    )
    parameters = (
        Parameter("k", "1/s2", "positive", (1.0, 3.0)),
        Parameter("c", "1/s", "positive", (0.1, 0.5)),
    )
    default_initial_state = {f"x{place}": (-1.0, 1.0 + place) for place in range(MASSES)}
    coupling: ClassVar[Tensor] = torch.linspace(-1.0, 1.0, MASSES**2, dtype=torch.float64)

    def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor:
        x, v = y[:MASSES], y[MASSES:]
        ends = torch.zeros_like(x[:1])
        stretch = torch.cat([ends, x[1:] - x[:-1], ends])
        force = p.k * (stretch[1:] - stretch[:-1])
        force = force + 0.1 * self.coupling.reshape(MASSES, MASSES) @ torch.sin(x)
        force = force + torch.einsum("ij,jb->ib", torch.eye(MASSES, dtype=y.dtype), x.roll(1, 0))
        slopes = torch.zeros_like(y)
        slopes[:MASSES] = v
        slopes[MASSES:] = force - p.c * v - x.mean(0) * (x**2).sum(0) * torch.stack([*x]).cumsum(0)
        return slopes


class Gates(System):
    """Branches by value, saturation, powers that depend on parameters, a periodic drive."""

    time_unit = "s"
    states = (State("a", "1"), State("b", "1"))
    parameters = (Parameter("n", "1", "positive", (1.5, 2.5)), Parameter("s", "1", "real", (-1, 1)))
    default_initial_state = {"a": (0.2, 2.0), "b": (-2.0, 2.0)}

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        a, b = y
        hill = a**p.n / (1.0 + a**p.n)
        drive = torch.where((t % 2.0 < 1.0) & ~(b > 1.0), torch.exp(-b), torch.tanh(p.s * b))
        return hill - a.clamp(0.3, 1.1), drive - torch.relu(b) * (a > 0.7) + torch.maximum(a, b)


class Draining(System):
    """A closed form, and an initial state that the parameters give."""

    time_unit = "s"
    states = (State("level", "m"), State("gone", "m"))
    parameters = (
        Parameter("rate", "1/s", "positive", (0.1, 1.0)),
        Parameter("full", "m", "positive", (1.0, 3.0)),
    )

    def rhs(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        return -p.rate * y[0], p.rate * y[0]

    def initial_state(self, p: Any) -> tuple[Any, float]:
        return p.full**2 / p.rate, 0.0

    def solution(self, t: Any, y0: Tensor, p: Any) -> tuple[Tensor, Tensor]:
        left = y0[0] * torch.exp(-p.rate * t)
        return left, y0[1] + y0[0] - left


# Each takes two positive numbers below one and gives one.
FUNCTIONS = {
    "powers": lambda a, b: a**2 + a**3 + a**-1 + a**0.5 + a**-0.5 + a**2.5 + a**7.3 + 2.0**b + a**b,
    "large_power": lambda a, b: (a + b) ** 9,
    "exponentials": lambda a, b: torch.exp(a) + torch.expm1(b) + torch.exp2(a),
    "logarithms": lambda a, b: a.log() + b.log1p() + a.log2() + a.log10() + torch.xlogy(a, b),
    "circle": lambda a, b: a.sin() + b.cos() + a.tan() + a.asin() + b.acos() + torch.atan2(a, b),
    "hyperbola": lambda a, b: a.sinh() + b.cosh() + a.tanh() + a.asinh() + b.atanh() + b.atan(),
    "inverse_cosine": lambda a, b: torch.acosh(1.5 + a),
    "roots": lambda a, b: a.sqrt() + b.rsqrt() + a.reciprocal() + torch.hypot(a, b),
    "errors": lambda a, b: torch.erf(a) + torch.erfc(b),
    "sigmoids": lambda a, b: torch.sigmoid(a) + torch.nn.functional.softplus(b),
    "networks": lambda a, b: torch.nn.functional.silu(a) + torch.nn.functional.leaky_relu(a - b),
    "signs": lambda a, b: (a - b).abs() + torch.sign(a - b) * a,
    "bounds": lambda a, b: a.clamp(0.4, 0.6) + torch.clamp(b, min=0.5) + b.clamp(max=0.5),
    "greatest": lambda a, b: torch.maximum(a, b) - torch.minimum(a, 0.5 * a) + torch.relu(a - b),
    "ties": lambda a, b: torch.maximum(a, a * 1.0) + torch.minimum(b, 1.0 * b),
    "steps": lambda a, b: (
        (5.0 * a).floor() + (5.0 * b).ceil() + (3.0 * a).round() + (9 * b).trunc()
    ),
    "remainders": lambda a, b: a % 0.3 + torch.remainder(-a, b) + torch.fmod(-b, 0.2) + b.frac(),
    "choices": lambda a, b: torch.where((a > b) | (a == 0.5), a * b, b / a),
    "not_both": lambda a, b: torch.where(~((a >= b) & (a <= 0.9)), a, b.square()),
    "switches": lambda a, b: (
        (a > b) * a + (a < b).to(a.dtype) * b + torch.logical_not(a != b) * 1.0
    ),
    "masks": lambda a, b: a.masked_fill(a > 0.5, 0.25) * b,
    "mixtures": lambda a, b: torch.lerp(a, b, 0.3) + torch.lerp(a, b, 0.8),
    "fused": lambda a, b: torch.addcmul(a, a, b, value=2.0) + torch.addcdiv(a, a, b, value=0.5),
    "held": lambda a, b: a.detach() * b,
    "negations": lambda a, b: (
        a * -b - (-a) / -b + (-b).neg() + (a - b) / -2.0 + (0.0 - a) * 1.0 + 0.0 * b
    ),
    "single_precision": lambda a, b: a * torch.sqrt(torch.tensor(2.0)),
    "norms": lambda a, b: torch.linalg.vector_norm(torch.stack([a, b]), dim=0),
    "products": lambda a, b: torch.stack([a, b, a]).prod(0) + torch.stack([a, b]).amax(0),
    "picks": lambda a, b: torch.stack([a, b, a * b])[[2, 0]].flip(0)[1] + torch.stack([a, b])[-1],
    "matrices": lambda a, b: (torch.stack([a, b]).T @ torch.arange(1.0, 3.0).double()[:, None])[
        :, 0
    ],
    "in_place": lambda a, b: a.clone().mul_(b).add_(1.0),
}


class Zoo(System):
    """One output for each of `FUNCTIONS`."""

    states = (State("a", "1"),)
    outputs = tuple(Output(name, "1") for name in FUNCTIONS)
    parameters = (Parameter("b", "1", "positive", (0.1, 0.9)),)
    default_initial_state = {"a": (0.1, 0.9)}

    def rhs(self, t: Any, y: Tensor, p: Any) -> Tensor:
        return -y

    def observe(self, t: Any, y: Tensor, p: Any) -> tuple[Tensor, ...]:
        return tuple(function(y[0], p.b) for function in FUNCTIONS.values())
