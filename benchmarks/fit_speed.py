"""How many Lotka-Volterra records are fitted in a second, on one thread, by `fit` and by others.

Each record has 100 samples of prey and predator on [0, 10] with 2 % noise and a known initial
state; four parameters are fitted by least squares, from a start that is 30 % off in every one.
`fit` takes all records in one call. The others take the first of them, one at a time: SciPy's
`least_squares` with `odeint`, whose right-hand side is Python or compiled by Numba, and optimistix
with diffrax, compiled, once in a loop and once with all records in `vmap`. They run at the loosest
tolerances found at which their sums of squares still come out right to 1e-6.

Which optimum each side found is checked with SciPy's DOP853 at 1e-12 on the records they share:
where the parameters are within 1 % of those with the least sum of squares of all sides, the sum of
squares must be the same to 1e-6; the other records are counted as another minimum.

Usage: python benchmarks/fit_speed.py [--sizes 1000 10000] [--sample 100] [--repeats 5] [--quick]
Peers, if wanted: pip install numba diffrax optimistix
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import importlib.metadata
import importlib.util
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr
from scipy.integrate import ODEintWarning, odeint, solve_ivp
from scipy.optimize import least_squares

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra

TIMES = np.linspace(0.0, 10.0, 100)
RANGES = {"alpha": (0.5, 1.5), "beta": (0.3, 1.0), "gamma": (0.5, 1.5), "delta": (0.3, 1.0)}
STARTS_OFF = 0.3  # of the logarithm of every parameter, up or down
SAME_MINIMUM, AGREEMENT = 0.01, 1e-6
PEERS = {"numba": ("numba",), "optimistix": ("jax", "diffrax", "optimistix")}


@dataclass(frozen=True)
class Problem:
    """N simulated records, and the parameters (N, P) where their fits start."""

    data: xr.Dataset
    start: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    def first(self, n: int) -> Problem:
        """Return the first n records."""
        return Problem(self.data.isel(trajectory=slice(n)), self.start[:n])

    @property
    def rows(self) -> Iterator[tuple[Any, Any, Any]]:
        """Observed values (T, 2), initial state (2,) and log of the start (P,) of each record."""
        initial = self.data["known_initial_state"].values
        return zip(self.data["observed"].values, initial, np.log(self.start), strict=True)


@dataclass
class Side:
    """One way to fit n records: a call that returns parameters (n, P), and its times."""

    name: str
    n: int
    fit: Callable[[], np.ndarray]
    seconds: list[float] = field(default_factory=list)
    found: np.ndarray = field(default_factory=lambda: np.empty(0))

    def run(self) -> None:
        """Fit, and keep time and result."""
        begun = time.perf_counter()
        self.found = self.fit()
        self.seconds.append(time.perf_counter() - begun)

    @property
    def speed(self) -> float:
        """Median fits per second of the warm calls."""
        return self.n / statistics.median(self.seconds[1:])


def make_problem(n: int, seed: int) -> Problem:
    """Draw n records and starts; the first are the same whatever n."""
    data = simulate(
        LotkaVolterra(),
        n=n,
        times=TIMES,
        parameters=RANGES,
        initial_states={"prey": (0.5, 2.0), "predator": (0.5, 2.0)},
        noise=0.02,
        seed=seed,
        progress=False,
    )
    truth = data["true_parameters"].values
    signs = np.random.Generator(np.random.Philox(key=seed)).choice([-1.0, 1.0], truth.shape)
    start = truth * np.exp(STARTS_OFF * signs)
    return Problem(data.assign(known_initial_state=data["true_initial_state"]), start)


def warp_phys_fit(problem: Problem) -> np.ndarray:
    """Fit all records in one call."""
    data = problem.data[["observed", "known_initial_state"]]
    start = problem.data["true_parameters"].copy(data=problem.start)
    fitted = wp.fit(LotkaVolterra(), data, initial=start, noise_sd="common", progress=False)
    parameters: np.ndarray = fitted["parameters"].values
    return parameters


def rates(y: Any, _: float, alpha: float, beta: float, gamma: float, delta: float) -> Any:
    """Return the growth of prey and predator, as `odeint` asks for it."""
    return (alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]


def scipy_fit(problem: Problem, rhs: Callable[..., Any]) -> np.ndarray:
    """Fit one record after the other; defaults of `odeint`, Levenberg-Marquardt of MINPACK."""
    found = []
    for observed, initial, start in problem.rows:

        def residual(line: Any, initial: Any = initial, observed: Any = observed) -> Any:
            return (odeint(rhs, initial, TIMES, args=tuple(np.exp(line))) - observed).ravel()

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ODEintWarning)  # of a step too far, which is taken back
            found.append(least_squares(residual, start, method="lm").x)
    return np.exp(found)


def numba_rates() -> Callable[..., Any]:
    """Return the right-hand side compiled."""
    import numba

    compiled: Callable[..., Any] = numba.njit(rates)
    return compiled


def optimistix_fits(problem: Problem) -> dict[str, Callable[[], np.ndarray]]:
    """Return the fit of a loop over a compiled fit and of a compiled `vmap`."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import optimistix

    jax.config.update("jax_enable_x64", True)
    term = diffrax.ODETerm(lambda t, y, p: jnp.stack(rates(y, t, *p)))
    solver = optimistix.LevenbergMarquardt(rtol=1e-5, atol=1e-5)

    def residual(line: Any, record: Any) -> Any:
        observed, initial = record
        solution = diffrax.diffeqsolve(
            term,
            diffrax.Tsit5(),
            t0=TIMES[0],
            t1=TIMES[-1],
            dt0=None,
            y0=initial,
            args=jnp.exp(line),
            saveat=diffrax.SaveAt(ts=jnp.asarray(TIMES)),
            stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-9),
            adjoint=diffrax.ForwardMode(),  # the default one cannot be differentiated forward
            throw=False,  # one stray record would stop all
        )
        return solution.ys - observed

    def fit(observed: Any, initial: Any, start: Any) -> Any:
        return optimistix.least_squares(
            residual,
            solver,
            start,
            (observed, initial),
            options={"jac": "fwd"},
            max_steps=100,
            throw=False,
        ).value

    one, many = jax.jit(fit), jax.jit(jax.vmap(fit))
    rows = list(problem.rows)
    columns = [np.stack(column) for column in zip(*rows, strict=True)]
    return {
        "loop": lambda: np.exp([one(*row) for row in rows]),
        "vmap": lambda: np.exp(many(*columns)),
    }


def make_sides(problem: Problem, sizes: list[int], sample: int) -> list[Side]:
    """Return all sides whose packages are there; say which are not."""
    shared = problem.first(sample)
    sides = [Side("SciPy odeint, Python", sample, lambda: scipy_fit(shared, rates))]
    missing = {
        peer: lacking
        for peer, modules in PEERS.items()
        if (lacking := [name for name in modules if importlib.util.find_spec(name) is None])
    }
    for peer, lacking in missing.items():
        print(f"{peer} is left out; to have it: pip install {' '.join(lacking)}")
    if "numba" not in missing:
        compiled = numba_rates()
        sides.append(Side("SciPy odeint, Numba", sample, lambda: scipy_fit(shared, compiled)))
    if "optimistix" not in missing:
        for how, fit in optimistix_fits(shared).items():
            sides.append(Side(f"optimistix, {how}", sample, fit))
    for n in sizes:
        part = problem.first(n)
        sides.append(Side("warp_phys.fit", n, lambda part=part: warp_phys_fit(part)))
    return sides


def sums_of_squares(problem: Problem, parameters: np.ndarray) -> np.ndarray:
    """Return the sum of squares (N,) at parameters (N, P), integrated at 1e-12."""
    sums = []
    for (observed, initial, _), values in zip(problem.rows, parameters, strict=True):
        solution = solve_ivp(
            lambda t, y, values=values: rates(y, t, *values),
            (TIMES[0], TIMES[-1]),
            initial,
            method="DOP853",
            t_eval=TIMES,
            rtol=1e-12,
            atol=1e-12,
        )
        sums.append(((solution.y.T - observed) ** 2).sum() if solution.success else np.inf)
    return np.array(sums)


def compare(problem: Problem, sides: list[Side]) -> list[tuple[float, int]]:
    """Return each side's largest excess over the least sum of squares, and its other minima.

    The excess is relative, over the records where the side is in the best minimum.
    """
    found = np.stack([side.found[: len(problem)] for side in sides])
    sums = np.stack([sums_of_squares(problem, parameters) for parameters in found])
    best = sums.argmin(axis=0)
    rows = np.arange(len(problem))
    same = np.abs(np.log(found / found[best, rows])).max(axis=2) < SAME_MINIMUM
    excess = np.where(same, sums / sums[best, rows] - 1.0, 0.0).max(axis=1)
    return [(float(most), int((~row).sum())) for most, row in zip(excess, same, strict=True)]


def main(arguments: list[str] | None = None) -> None:
    """Time all sides in turn, check that they agree, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000], help="of fit")
    parser.add_argument("--sample", type=int, default=100, help="records of the other sides")
    parser.add_argument("--repeats", type=int, default=5, help="warm calls of each side")
    parser.add_argument("--quick", action="store_true", help="few records, one warm call")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.sizes, chosen.sample, chosen.repeats = [100], 10, 1
    chosen.sample = min(chosen.sample, *chosen.sizes)

    torch.set_num_threads(1)
    versions = (
        f"{name} {importlib.metadata.version(name)}"
        for name in ("torch", "scipy", "numba", "jax", "diffrax", "optimistix")
        if importlib.util.find_spec(name) is not None
    )
    print(f"one thread of {os.cpu_count()} cores; {', '.join(versions)}")
    problem = make_problem(max(chosen.sizes), seed=0)
    sides = make_sides(problem, chosen.sizes, chosen.sample)
    # In turn, so that what else the machine does meets all of them; the first call is cold, and
    # `fit` then finds nothing that an earlier run has compiled.
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WARP_PHYS_CACHE"] = folder
        for _ in range(1 + chosen.repeats):
            for side in sides:
                side.run()

    compared = compare(problem.first(chosen.sample), sides)
    reference = next((side for side in sides if "Numba" in side.name), sides[0])
    print(f"\nratio: to {reference.name}; the last two of the first {chosen.sample} records\n")
    print("| side | records | fits/s | ratio | first call (s) | excess | other minimum |")
    print("|---|---|---|---|---|---|---|")
    for side, (excess, others) in zip(sides, compared, strict=True):
        print(
            f"| {side.name} | {side.n:,} | {side.speed:,.0f} | {side.speed / reference.speed:.2f} "
            f"| {side.seconds[0]:.1f} | {excess:.1e} | {others} |"
        )
    if (worst := max(excess for excess, _ in compared)) > AGREEMENT:
        raise SystemExit(f"sums of squares differ by {worst:.1e}, more than {AGREEMENT:g}")


if __name__ == "__main__":
    main()
