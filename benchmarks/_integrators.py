"""The sides of `work_precision.py`: `integrate` and its peers, each as one function of a problem.

A side is built for a case and returns a function (problem, rtol, atol) -> states (N, T, S). All
control the local error by atol + rtol abs(y) and give the states at the sample times. A package is
imported when a side that needs it is built, so that every side can have a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from _integration_cases import CASES, Problem, solve_scipy

Solve = Callable[[Problem, float, float], np.ndarray]
Build = Callable[[str], Solve]
_BLOCK = 500  # trajectories that diffrax takes at once, in a loop
_STEPS = 100_000  # after which a side gives a trajectory up


@dataclass(frozen=True)
class Side:
    """A way to integrate.

    Attributes:
        build: Returns what integrates the problems of a case, by its name.
        packages: What it needs beside this one's dependencies.
        stiff: Whether it is for stiff cases, or for the others; None for all.
        most: The most trajectories it is timed with; for more its time is scaled up.
    """

    build: Build
    packages: tuple[str, ...] = ()
    stiff: bool | None = None
    most: int | None = None


def warp_phys(method: str) -> Build:
    """`integrate`, its error estimates included."""

    def build(name: str) -> Solve:
        import torch

        from warp_phys.systems import get_system, integrate

        torch.set_num_threads(1)
        system = get_system(CASES[name].system)

        def solve(problem: Problem, rtol: float, atol: float) -> np.ndarray:
            solution = integrate(
                system,
                problem.times,
                problem.initial,
                problem.parameters,
                rtol=rtol,
                atol=atol,
                method=method,
            )
            states: np.ndarray = solution.states.numpy()
            return states

        return solve

    return build


def odeint(compiled: bool) -> Build:
    """SciPy's LSODA, one trajectory at a time; right-hand side in Python or compiled by Numba."""

    def build(name: str) -> Solve:
        from scipy.integrate import odeint

        rates = CASES[name].rates
        if compiled:
            import numba

            rates = numba.njit(rates)

        def solve(problem: Problem, rtol: float, atol: float) -> np.ndarray:
            rows = enumerate(zip(problem.initial, problem.parameters.tolist(), strict=True))
            options = {"rtol": rtol, "atol": atol, "mxstep": _STEPS}
            return np.stack(
                [odeint(rates, y, problem.grid(row), tuple(p), **options) for row, (y, p) in rows]
            )

        return solve

    return build


def solve_ivp(method: str) -> Build:
    """SciPy's `solve_ivp`, one trajectory at a time."""
    return lambda name: lambda problem, rtol, atol: solve_scipy(name, problem, method, rtol, atol)


def diffrax(solver: str) -> Build:
    """Diffrax, `vmap` and `jit`.

    All trajectories of a `vmap` go on until the last is done; in blocks of 500, one after the
    other in one compiled call, 10,000 take three quarters of the time of one `vmap`.
    """

    def build(name: str) -> Solve:
        import diffrax
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        rates = CASES[name].rates
        term = diffrax.ODETerm(lambda t, y, p: jnp.stack(rates(y, t, *p)))

        def one(times: Any, initial: Any, parameters: Any, rtol: Any, atol: Any) -> Any:
            return diffrax.diffeqsolve(
                term,
                getattr(diffrax, solver)(),
                t0=times[0],
                t1=times[-1],
                dt0=None,
                y0=initial,
                args=parameters,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
                max_steps=_STEPS,
                throw=False,
            ).ys

        @jax.jit
        def many(times: Any, initial: Any, parameters: Any, rtol: Any, atol: Any) -> Any:
            def row(values: Any) -> Any:
                grid = times if times.ndim == 1 else values[2]
                return one(grid, values[0], values[1], rtol, atol)

            values = (initial, parameters, times) if times.ndim == 2 else (initial, parameters)
            if len(initial) <= 2 * _BLOCK:
                return jax.vmap(row)(values)
            return jax.lax.map(row, values, batch_size=_BLOCK)

        def solve(problem: Problem, rtol: float, atol: float) -> np.ndarray:
            return np.asarray(many(problem.times, problem.initial, problem.parameters, rtol, atol))

        return solve

    return build


def torchdiffeq(method: str) -> Build:
    """Torchdiffeq, all trajectories in step, their greatest error controlled."""

    def build(name: str) -> Solve:
        import torch
        import torchdiffeq

        rates = CASES[name].rates
        torch.set_num_threads(1)

        @torch.no_grad()
        def solve(problem: Problem, rtol: float, atol: float) -> np.ndarray:
            parameters = torch.tensor(problem.parameters.T.copy())
            states = torchdiffeq.odeint(
                lambda t, y: torch.stack(rates(y, t, *parameters)),
                torch.tensor(problem.initial.T.copy()),
                torch.tensor(problem.times),
                rtol=rtol,
                atol=atol,
                method=method,
                options={"norm": lambda errors: errors.abs().max()},
            )
            found: np.ndarray = states.permute(2, 0, 1).numpy()
            return found

        return solve

    return build


def torchode(name: str) -> Solve:
    """Torchode's Tsit5, a step size for each trajectory, by `torch.compile`."""
    import torch
    import torchode

    torch.set_num_threads(1)

    def rates(t: Any, y: Any, p: Any) -> Any:
        return torch.stack(CASES[name].rates(y.unbind(1), t, *p.unbind(1)), dim=1)

    term = torchode.ODETerm(rates, with_args=True)

    @torch.no_grad()
    def solve(problem: Problem, rtol: float, atol: float) -> np.ndarray:
        controller = torchode.IntegralController(atol=atol, rtol=rtol, term=term)
        adjoint = torchode.AutoDiffAdjoint(torchode.Tsit5(term=term), controller)
        call = torch.compile(adjoint.solve)
        times = torch.tensor(problem.times).expand(len(problem), -1).contiguous()
        start = torchode.InitialValueProblem(y0=torch.tensor(problem.initial), t_eval=times)
        states: np.ndarray = call(start, term, args=torch.tensor(problem.parameters)).ys.numpy()
        return states

    return solve


_JAX, _SLOW, _LOOP = ("jax", "diffrax"), 10_000, 900
SIDES = {
    "warp_phys": Side(warp_phys("auto")),
    "warp_phys dop853": Side(warp_phys("dop853"), stiff=False),
    "warp_phys rodas5p": Side(warp_phys("rodas5p"), stiff=True),
    "diffrax Tsit5": Side(diffrax("Tsit5"), _JAX, False),
    "diffrax Dopri8": Side(diffrax("Dopri8"), _JAX, False),
    "diffrax Kvaerno5": Side(diffrax("Kvaerno5"), _JAX, True, 1_000),
    "torchode Tsit5": Side(torchode, ("torchode",), False, _SLOW),
    "torchdiffeq dopri5": Side(torchdiffeq("dopri5"), stiff=False, most=_SLOW),
    "torchdiffeq dopri8": Side(torchdiffeq("dopri8"), stiff=False, most=_SLOW),
    "SciPy odeint, Numba": Side(odeint(compiled=True), ("numba",), most=_LOOP),
    "SciPy odeint, Python": Side(odeint(compiled=False), most=_LOOP),
    "SciPy DOP853": Side(solve_ivp("DOP853"), stiff=False, most=_LOOP),
}
