"""Share of hard fits that reach the global optimum from the default starts.

Each landscape has many local optima, or valleys that lead away from the best one. Records of one
or two outputs with 5 % noise are simulated with parameters drawn from the usual ranges. They are
fitted with ranges that are up to 100 times wider at both ends, from the starts that `fit` chooses
by default, and from the true values, which is the reference. A fit reaches the optimum if its log
likelihood is at most 1e-4 per value below that of the reference.

Usage: python benchmarks/fit_global.py [--records 100] [--only NAME ...] [--seed 0] [--quick]
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import System, get_system

# Nats per value by which a fit may fall short of the fit from the truth.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Landscape:
    """Records of a system that are hard to fit.

    Attributes:
        name: What the tables call it.
        system: The name of the system.
        end: The time of the last sample; the first one is at 0.
        samples: How many samples a record has.
        observed: The outputs that are observed.
        noise: Standard deviation of the noise, as a share of that of each output.
        widened: Factor by which the fit's ranges are wider, at both ends, than those of the truth.
    """

    name: str
    system: str
    end: float
    samples: int
    observed: tuple[str, ...]
    widened: float = 1.0
    noise: float = 0.05

    @property
    def times(self) -> np.ndarray:
        """The times of the samples."""
        return np.linspace(0.0, self.end, self.samples)

    def fitted_system(self) -> System:
        """Return the system with widened ranges of the parameters."""
        known = type(get_system(self.system))
        parameters = tuple(
            replace(one, range=(one.range[0] / self.widened, one.range[1] * self.widened))
            if one.fixed is None
            else one
            for one in known.parameters
        )
        return type(known.__name__, (known,), {"parameters": parameters})()

    def records(self, n: int, seed: int) -> xr.Dataset:
        """Simulate n records with unknown initial states."""
        data = simulate(self.system, n, self.times, noise=self.noise, seed=seed, progress=False)
        return data.sel(output=list(self.observed))


LANDSCAPES = (
    Landscape("FitzHugh-Nagumo, voltage", "fitzhugh_nagumo", 100.0, 101, ("voltage",), 10.0),
    Landscape("Goodwin, messenger", "goodwin", 120.0, 41, ("messenger",), 10.0),
    Landscape("Lorenz, x", "lorenz63", 5.0, 61, ("x",), 10.0),
    Landscape("Lotka-Volterra, prey", "lotka_volterra", 30.0, 61, ("prey",), 100.0),
    Landscape("Brusselator, x", "brusselator", 60.0, 61, ("x",), 30.0),
    Landscape("pendulum, angle", "pendulum", 40.0, 81, ("angle",), 100.0),
    Landscape("SEIR, infectious", "seir", 100.0, 26, ("infectious",), 10.0),
)


@dataclass(frozen=True)
class Score:
    """How the fits of one landscape ended."""

    reached: float
    better: float
    converged: float
    starts: float
    seconds: float


def truth_of(data: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the true parameters and initial states by name."""
    values = {}
    for variable, dim in (("true_parameters", "parameter"), ("true_initial_state", "state")):
        for name in data[dim].values:
            values[str(name)] = data[variable].sel({dim: name}).values
    return values


def score(landscape: Landscape, n: int, seed: int) -> Score:
    """Fit the records of a landscape by default and from the truth, and compare."""
    system, data = landscape.fitted_system(), landscape.records(n, seed)
    unknown = data.drop_vars("known_initial_state", errors="ignore")
    free = {name: value for name, value in truth_of(data).items() if name not in _fixed(system)}
    reference = wp.fit(system, unknown, initial=free, starts=1, progress=False)
    begin = time.process_time()
    fitted = wp.fit(system, unknown, progress=False)
    seconds = time.process_time() - begin
    values = landscape.samples * len(landscape.observed)
    short = ((reference["log_likelihood"] - fitted["log_likelihood"]) / values).values
    short = np.nan_to_num(short, nan=np.inf)
    return Score(
        reached=float((short <= TOLERANCE).mean()),
        better=float((short < -TOLERANCE).mean()),
        converged=float((fitted["status"] == 0).mean()),
        starts=float(fitted["starts"].mean()),
        seconds=seconds,
    )


def _fixed(system: System) -> set[str]:
    return {one.name for one in system.parameters if one.fixed is not None}


def main(arguments: list[str] | None = None) -> None:
    """Score all landscapes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=100, help="records of each landscape")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the names of landscapes")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated records")
    parser.add_argument("--quick", action="store_true", help="five records of each")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    n = 5 if chosen.quick else chosen.records
    print("| landscape | reached | better | converged | starts | seconds |")
    print("|---|---|---|---|---|---|")
    for landscape in LANDSCAPES:
        if chosen.only and not any(part in landscape.name for part in chosen.only):
            continue
        found = score(landscape, n, chosen.seed)
        print(
            f"| {landscape.name} | {found.reached:.0%} | {found.better:.0%} | "
            f"{found.converged:.0%} | {found.starts:.1f} | {found.seconds:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
