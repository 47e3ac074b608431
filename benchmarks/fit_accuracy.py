"""Whether `fit` is at the statistical limit: its errors in units of the Cramer-Rao bound.

Simulates records of five systems with 2 % noise on every output, fits parameters and initial
states together from the system's default start, and prints for every parameter

- error: root mean square of (estimate - truth) / bound; 1 is the limit of any unbiased estimate,
- coverage: share of records whose 95 % interval holds the truth,
- bound: the median bound relative to the parameter, which says how much a record tells;

the error is over the fits within 10 bounds in every parameter, the others are counted as far off.
The bound of each record is computed at the truth: the Fisher information of the noiseless outputs
under the noise as it was, over free parameters and initial states, from central differences of
solutions at 1e-10. It is compared with forward derivatives through RK4 on 20 records.

Usage: python benchmarks/fit_accuracy.py [--systems pendulum sir] [--n 2000] [--seed 0] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_uniform, simulate
from warp_phys.systems import System, get_system, integrate

NOISE = 0.02
FAR = 10.0  # bounds
STEP = 1e-4  # of central differences: relative, or of the typical size of a state
CHECKED = 20
Range = tuple[float, float]


@dataclass(frozen=True)
class Study:
    """What is drawn and seen of one system.

    Attributes:
        parameters: Ranges drawn from, uniformly in the logarithm; the fit starts in their middle.
        initial_states: Ranges, drawn from uniformly, or in the logarithm where positive.
        end: Last sample time; the first is 0.
        samples: Number of samples.
        observe: The outputs seen, all by default.
        substeps: Of RK4 between samples, in the check of the bounds.
    """

    parameters: dict[str, Range]
    initial_states: dict[str, Range]
    end: float
    samples: int
    observe: tuple[str, ...] | None = None
    substeps: int = 4


STUDIES = {
    "lotka_volterra": Study(
        {"alpha": (0.5, 1.5), "beta": (0.3, 1.0), "gamma": (0.5, 1.5), "delta": (0.3, 1.0)},
        {"prey": (0.5, 2.0), "predator": (0.5, 2.0)},
        end=10.0,
        samples=101,
    ),
    "pendulum": Study(
        {"length": (0.5, 2.0), "damping": (0.05, 0.5)},
        {"angle": (0.3, 1.5), "angular_velocity": (-1.0, 1.0)},
        end=5.0,
        samples=101,
        observe=("angle",),
    ),
    "damped_oscillator": Study(
        {"natural_frequency": (10.0, 30.0), "damping_rate": (0.3, 3.0)},
        {"position": (0.5, 1.5), "velocity": (-10.0, 10.0)},
        end=1.0,
        samples=101,
    ),
    "van_der_pol": Study(
        {"mu": (0.5, 5.0)},
        {"position": (0.5, 2.5), "velocity": (-1.0, 1.0)},
        end=20.0,
        samples=201,
        substeps=16,
    ),
    # The basic reproduction number lies between 1.5 and 18, and every epidemic peaks in time.
    "sir": Study(
        {"transmission": (1.0, 3.5), "recovery": (0.2, 0.65)},
        {"susceptible": (690.0, 750.0), "infected": (1.0, 10.0)},
        end=30.0,
        samples=61,
        substeps=8,
    ),
}


def simulate_records(system: System, study: Study, n: int, seed: int) -> xr.Dataset:
    """Draw parameters and initial states, and return the records that could be integrated."""
    positive = {state.name: state.support == "positive" for state in system.states}
    data = simulate(
        system,
        n=n,
        times=np.linspace(0.0, study.end, study.samples),
        parameters={name: log_uniform(*pair) for name, pair in study.parameters.items()},
        initial_states={
            name: log_uniform(*pair) if positive[name] else pair
            for name, pair in study.initial_states.items()
        },
        noise=NOISE,
        observe=study.observe,
        seed=seed,
        progress=False,
    )
    return data.isel(trajectory=np.flatnonzero(data["status"].values == 0))


class Outputs:
    """The noiseless outputs of n records as a function of K unknowns each.

    Unknowns are the free parameters and the initial states, in the system's order.
    """

    def __init__(self, system: System, data: xr.Dataset) -> None:
        self.system = system
        self.times = torch.tensor(data["time"].values)
        self.parameters = torch.tensor(data["true_parameters"].values)
        initial = torch.tensor(data["true_initial_state"].values)
        self.free = [system.parameter_names.index(name) for name in system.free_names]
        self.seen = [system.output_names.index(name) for name in data["output"].values]
        self.truth = torch.cat([self.parameters[:, self.free], initial], dim=1)
        # A state may start at 0 and still change by what others of its trajectory reach.
        reached = torch.as_tensor(np.abs(data["noiseless"].values).max(axis=(1, 2)))
        sizes = torch.stack([reached.clone() for _ in system.states], dim=1)
        for index, state in enumerate(system.states):
            if state.support == "positive":
                sizes[:, index] = initial[:, index]
        self.sizes = torch.cat([self.parameters[:, self.free].abs(), sizes], dim=1)

    def at(self, unknowns: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return outputs (O, n, T) at unknowns (n, K); n may be a multiple of the records."""
        columns = list(self.parameters.repeat(len(unknowns) // len(self.truth), 1).unbind(1))
        for place, index in enumerate(self.free):
            columns[index] = unknowns[:, place]
        parameters = torch.stack(columns, dim=1)
        initial = unknowns[:, len(self.free) :]
        solution = integrate(self.system, self.times, initial, parameters, **options)
        states = solution.states.movedim(-1, 0)
        each = parameters.T[:, :, None].expand(-1, -1, len(self.times))
        return self.system.outputs_at(self.times, states, each)[self.seen]

    def differences(self) -> torch.Tensor:
        """Return the Jacobian (K, O, n, T) by central differences, all in one call."""
        steps = [STEP * column for column in self.sizes.unbind(1)]
        moved = []
        for place, step in enumerate(steps):
            shift = torch.zeros_like(self.truth)
            shift[:, place] = step
            moved += [self.truth + shift, self.truth - shift]
        outputs = self.at(torch.cat(moved), rtol=1e-10, atol=1e-12)
        pairs = outputs.unflatten(1, (len(steps), 2, -1)).movedim((1, 2), (0, 1))
        widths = torch.stack(steps)[:, None, :, None]
        return (pairs[:, 0] - pairs[:, 1]) / (2.0 * widths)

    def forward_derivatives(self, substeps: int) -> torch.Tensor:
        """Return the same Jacobian by forward derivatives through RK4."""
        count, unknowns = self.truth.shape
        directions = torch.eye(unknowns, dtype=torch.float64).repeat_interleave(count, dim=0)
        _, derivatives = torch.func.jvp(
            lambda moved: self.at(moved, method="rk4", substeps=substeps),
            (self.truth.repeat(unknowns, 1),),
            (directions,),
        )
        return derivatives.unflatten(1, (unknowns, count)).movedim(1, 0)


def bounds(jacobian: torch.Tensor, data: xr.Dataset) -> np.ndarray:
    """Return the Cramer-Rao bounds (n, K) as standard deviations, from a Jacobian (K, O, n, T)."""
    noise = torch.tensor(data["true_noise_sd"].values).T[:, :, None]
    rows = (jacobian / noise).movedim(2, 0).flatten(2)  # (n, K, O T)
    scale = rows.norm(dim=2)
    rows = rows / scale[:, :, None]
    covariance = torch.linalg.inv(rows @ rows.mT)
    found: np.ndarray = (covariance.diagonal(dim1=1, dim2=2).sqrt() / scale).numpy()
    return found


def run_study(name: str, n: int, seed: int) -> None:
    """Simulate, fit and print one system."""
    study = STUDIES[name]
    system = get_system(name, **study.parameters)
    data = simulate_records(system, study, n, seed)
    bound = bounds(Outputs(system, data).differences(), data)
    few = data.isel(trajectory=slice(CHECKED))
    checked = bounds(Outputs(system, few).forward_derivatives(study.substeps), few)
    off = np.abs(bound[: len(checked)] / checked - 1.0).max()

    begun = time.perf_counter()
    fitted = wp.fit(system, data[["observed"]], initial_state="estimate", progress=False)
    seconds = time.perf_counter() - begun

    free = {"parameter": list(system.free_names)}
    truth = data["true_parameters"].sel(free).values
    bound = bound[:, : truth.shape[1]]
    estimate, lower, upper = (
        fitted[key].sel(free).values
        for key in ("parameters", "parameters_lower", "parameters_upper")
    )
    off_by = np.abs(estimate - truth) / bound
    near = (off_by <= FAR).all(axis=1)
    covered = ((lower <= truth) & (truth <= upper)).mean(axis=0)
    error = np.sqrt((off_by[near] ** 2).mean(axis=0))
    count = len(truth)
    ranges = ", ".join(
        f"{key} {low:g} to {high:g}"
        for key, (low, high) in (study.parameters | study.initial_states).items()
    )
    print(
        f"\n{type(system).__name__}: {ranges}; {study.samples} samples on [0, {study.end:g}]",
        end="",
    )
    print(f" of {', '.join(study.observe or system.output_names)}; {count} records\n")
    print("| parameter | error | coverage | bound |")
    print("|---|---|---|---|")
    for place, parameter in enumerate(system.free_names):
        relative = np.median(bound[:, place] / truth[:, place])
        print(f"| {parameter} | {error[place]:.3f} | {covered[place]:.3f} | {relative:.2%} |")
    print(
        f"\n{(~near).sum()} far off; {reasons(fitted['status'])}; {seconds:.1f} s; "
        f"bounds checked to {off:.0e}",
        flush=True,
    )


def reasons(status: xr.DataArray) -> str:
    """Return how many fits ended with each status, in words."""
    flags = np.atleast_1d(status.attrs["flag_values"]).tolist()
    meanings = status.attrs["flag_meanings"].split()
    counts = {
        meaning: int((status.values == flag).sum())
        for flag, meaning in zip(flags, meanings, strict=True)
    }
    return ", ".join(f"{counted} {meaning}" for meaning, counted in counts.items() if counted)


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=list(STUDIES), choices=STUDIES)
    parser.add_argument("--n", type=int, default=2_000, help="records of each system")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation")
    parser.add_argument("--quick", action="store_true", help="50 records of each")
    chosen = parser.parse_args(arguments)
    n = 50 if chosen.quick else chosen.n

    torch.set_num_threads(1)
    print(
        f"noise {NOISE:g} of each output's standard deviation; at the limit with {n} records an",
        end="",
    )
    print(
        f" error is 1 +- {1 / math.sqrt(2 * n):.3f}, "
        f"a coverage 0.95 +- {math.sqrt(0.95 * 0.05 / n):.3f} (one standard deviation)"
    )
    for name in chosen.systems:
        run_study(name, n, chosen.seed)


if __name__ == "__main__":
    main()
