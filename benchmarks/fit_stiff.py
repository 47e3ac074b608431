"""How fast stiff systems are fitted, on one thread, by `fit` and by others with implicit steps.

Three rates of Robertson's reaction from 22 samples up to 1e4 s, a chain of reactions from fast to
slow, and the Oregonator, whose oscillations have jumps: records with 2 % noise relative to each
output's largest value, a known initial state, and starts 20 % off in every parameter. `fit` takes
all records in one call. The others take the first of them, one at a time: SciPy's `least_squares`
with `solve_ivp`, by LSODA and by Radau, and optimistix with diffrax's Kvaerno5, compiled.

Each side's optimum is checked by its sum of squares, integrated by Radau at 1e-10: it must be no
larger than the best of all sides by more than a hundredth of a per cent; others are counted.

Usage: python benchmarks/fit_stiff.py [--records 1000] [--sample 10] [--repeats 3]
Peers, if wanted: pip install diffrax optimistix
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import warp_phys as wp
from warp_phys.systems import Parameter, Robertson, State, System

NOISE, OFF, TOLERANCE = 0.02, 0.2, 1e-4


class Chain(System):
    """A -> B -> C -> D, each step a hundred times slower than the one before."""

    time_unit = "s"
    states = tuple(State(name, "1") for name in "abcd")
    parameters = (
        Parameter("fast", "1/s", support="positive", range=(1e3, 1e5)),
        Parameter("medium", "1/s", support="positive", range=(10.0, 1e3)),
        Parameter("slow", "1/s", support="positive", range=(0.1, 10.0)),
    )
    default_initial_state: ClassVar = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0}

    def rhs(self, _: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """Return the rates of change."""
        one, two, three = p.fast * y[0] * y[0], p.medium * y[1], p.slow * y[2]
        return -one, one - two, two - three, three


class Oregonator(System):
    """The Belousov-Zhabotinsky reaction, scaled as in Hairer and Wanner, Solving ODEs II, IV.1."""

    time_unit = "s"
    states = tuple(State(name, "1") for name in ("x", "y", "z"))
    parameters = (
        Parameter("s", "1/s", support="positive", range=(40.0, 150.0)),
        Parameter("w", "1/s", support="positive", range=(0.05, 0.5)),
        Parameter("q", "1", support="positive", range=(1e-6, 1e-4)),
    )
    default_initial_state: ClassVar = {"x": 1.0, "y": 2.0, "z": 3.0}

    def rhs(self, _: Any, y: Any, p: Any) -> tuple[Any, ...]:
        """Return the rates of change."""
        return (
            p.s * (y[1] + y[0] * (1.0 - p.q * y[0] - y[1])),
            (y[2] - (1.0 + y[0]) * y[1]) / p.s,
            p.w * (y[0] - y[2]),
        )


@dataclass(frozen=True)
class Case:
    """A system with its right-hand side for SciPy and JAX, and what is fitted."""

    name: str
    system: System
    rhs: Callable[[Any, Any], list[Any]]
    truth: tuple[float, ...]
    times: np.ndarray

    @property
    def start(self) -> np.ndarray:
        """The initial state."""
        return np.array(list(self.system.default_initial_state.values()), dtype=float)

    def solved(self, p: Any, method: str, rtol: float, times: np.ndarray) -> np.ndarray:
        """Integrate by SciPy; infinite where that fails."""
        atol = rtol * 1e-4 * np.maximum(np.abs(self.start), 1e-3)
        found = solve_ivp(
            lambda _, y: self.rhs(y, p),
            (times[0], times[-1]),
            self.start,
            method,
            times,
            rtol=rtol,
            atol=atol,
        )
        return found.y.T if found.success else np.full((len(times), len(self.start)), np.inf)


def _robertson(y: Any, p: Any) -> list[Any]:
    one, two, three = p[0] * y[0], p[1] * y[1] * y[1], p[2] * y[1] * y[2]
    return [-one + three, one - three - two, two]


def _chain(y: Any, p: Any) -> list[Any]:
    one, two, three = p[0] * y[0] * y[0], p[1] * y[1], p[2] * y[2]
    return [-one, one - two, two - three, three]


def _oregonator(y: Any, p: Any) -> list[Any]:
    return [
        p[0] * (y[1] + y[0] * (1.0 - p[2] * y[0] - y[1])),
        (y[2] - (1.0 + y[0]) * y[1]) / p[0],
        p[1] * (y[0] - y[2]),
    ]


CASES = (
    Case(
        "Robertson",
        Robertson(),
        _robertson,
        (0.04, 3e7, 1e4),
        np.append(0.0, np.logspace(-5.0, 4.0, 21)),
    ),
    Case("chain", Chain(), _chain, (1e4, 1e2, 1.0), np.append(0.0, np.logspace(-5.0, 1.0, 21))),
    Case(
        "Oregonator",
        Oregonator(),
        _oregonator,
        (77.27, 0.161, 8.375e-6),
        np.linspace(0.0, 60.0, 31),
    ),
)


def make_records(case: Case, n: int, seed: int) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Return records, starts (n, P) and the standard deviations (n, O) of their noise."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    truth = np.array(case.truth) * np.exp(0.1 * generator.standard_normal((n, len(case.truth))))
    clean = np.stack([case.solved(p, "LSODA", 1e-8, case.times) for p in truth])
    sd = NOISE * np.abs(clean).max(axis=1)
    observed = clean + sd[:, None] * generator.standard_normal(clean.shape)
    observed[:, 0] = clean[:, 0]
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), observed)},
        coords={"time": case.times, "output": list(case.system.output_names)},
    )
    signs = generator.choice([-1.0, 1.0], truth.shape)
    return data, truth * np.exp(OFF * signs), sd


def ours(case: Case, data: xr.Dataset, starts: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Fit all records in one call."""
    names = list(case.system.parameter_names)
    table = xr.DataArray(starts, dims=("trajectory", "parameter"), coords={"parameter": names})
    fitted = wp.fit(
        case.system,
        data,
        initial=table,
        initial_state={k: float(v) for k, v in case.system.default_initial_state.items()},
        noise_sd=sd,
        starts=1,
        progress=False,
    )
    found: np.ndarray = fitted["parameters"].values
    return found


def scipy_fit(
    case: Case, data: xr.Dataset, starts: np.ndarray, sd: np.ndarray, method: str
) -> np.ndarray:
    """Fit the records one after the other."""

    def one(values: np.ndarray, start: np.ndarray, levels: np.ndarray) -> np.ndarray:
        def residuals(z: np.ndarray) -> np.ndarray:
            model = case.solved(np.exp(z), method, 1e-7, case.times)
            return np.nan_to_num((model - values) / levels, posinf=1e6, neginf=1e6).ravel()

        return np.exp(least_squares(residuals, np.log(start), x_scale="jac", xtol=1e-8).x)

    rows = zip(data["observed"].values, starts, sd, strict=True)
    return np.stack([one(*row) for row in rows])


def diffrax_fit(case: Case) -> Callable[..., np.ndarray]:
    """Return a compiled fit of one record after the other."""
    import diffrax
    import jax
    import jax.numpy as jnp
    import optimistix

    jax.config.update("jax_enable_x64", True)
    initial, times = jnp.asarray(case.start), jnp.asarray(case.times)
    scale = jnp.maximum(jnp.abs(initial), 1e-3)

    def residuals(z: Any, record: Any) -> Any:
        values, levels = record
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _, y, p: jnp.stack(case.rhs(y, p))),
            diffrax.Kvaerno5(),
            times[0],
            times[-1],
            None,
            initial,
            args=jnp.exp(z),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=1e-7, atol=1e-11 * scale),
            adjoint=diffrax.DirectAdjoint(),
            max_steps=4096,
            throw=False,
        )
        return jnp.nan_to_num((solution.ys - values) / levels, posinf=1e6, neginf=1e6)

    @jax.jit
    def one(start: Any, values: Any, levels: Any) -> Any:
        solver = optimistix.LevenbergMarquardt(rtol=1e-8, atol=1e-8)
        return optimistix.least_squares(
            residuals, solver, jnp.log(start), (values, levels), max_steps=60, throw=False
        ).value

    def fit(_: Case, data: xr.Dataset, starts: np.ndarray, sd: np.ndarray) -> np.ndarray:
        rows = zip(starts, data["observed"].values, sd, strict=True)
        return np.exp(np.stack([np.asarray(one(*row)) for row in rows]))

    return fit


def sums_of_squares(case: Case, data: xr.Dataset, found: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Return the weighted sum of squares (n,) at parameters, by Radau."""
    pairs = zip(data["observed"].values[: len(found)], found, sd, strict=False)
    return np.array(
        [
            float((((case.solved(p, "Radau", 1e-10, case.times) - y) / s) ** 2).sum())
            for y, p, s in pairs
        ]
    )


def compare(case: Case, records: int, sample: int, repeats: int) -> list[str]:
    """Return the table's rows of a case."""
    data, starts, sd = make_records(case, records, 0)
    few = data.isel(trajectory=slice(sample))
    sides: dict[str, tuple[Callable[[], np.ndarray], int]] = {
        "`fit`": (lambda: ours(case, data, starts, sd), records)
    }
    for method in ("LSODA", "Radau"):
        sides[f"SciPy, {method}"] = (
            lambda method=method: scipy_fit(case, few, starts[:sample], sd[:sample], method),
            sample,
        )
    if importlib.util.find_spec("diffrax") and importlib.util.find_spec("optimistix"):
        kvaerno = diffrax_fit(case)
        sides["diffrax, Kvaerno5"] = (
            lambda: kvaerno(case, few, starts[:sample], sd[:sample]),
            sample,
        )
    found: dict[str, np.ndarray] = {}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(1 + repeats):
        for name, (run, _) in sides.items():
            if round_ > 1 and "Radau" in name:
                continue  # minutes for nothing new
            begun = time.process_time()
            found[name] = run()
            seconds[name].append(time.process_time() - begun)
    squares = {name: sums_of_squares(case, few, found[name][:sample], sd) for name in sides}
    best = np.minimum.reduce(list(squares.values()))
    speeds = {
        name: count / statistics.median(seconds[name][1:] or seconds[name])
        for name, (_, count) in sides.items()
    }
    rows = []
    for name in sides:
        same = int((squares[name] <= best * (1.0 + TOLERANCE)).sum())
        ratio = speeds["`fit`"] / speeds[name]
        rows.append(
            f"| {case.name} | {name} | {speeds[name]:.3g} | {ratio:.3g} | {same} of {sample} "
            f"| {seconds[name][0]:.2g} |"
        )
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    print("| system | side | fits per second | `fit` over it | at the optimum | first call, s |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        print("\n".join(compare(case, asked.records, asked.sample, asked.repeats)), flush=True)


if __name__ == "__main__":
    main()
