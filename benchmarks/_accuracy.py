"""Systems whose records are estimated, and the Cramer-Rao bounds of their unknowns.

What `fit_accuracy.py` and `estimates.py` share: the ranges that truths are drawn from, and the
Fisher information of noiseless outputs under the noise as it was, over free parameters and initial
states, from central differences of solutions at 1e-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys.data_gen import log_uniform, simulate, uniform
from warp_phys.systems import System, integrate

NOISE = 0.02
STEP = 1e-4  # of central differences: relative, or of the typical size of a state
Range = tuple[float, float]


@dataclass(frozen=True)
class Study:
    """What is drawn and observed of one system.

    Attributes:
        parameters: Ranges drawn from, uniformly in the logarithm; the fit starts in their middle.
        initial_states: Ranges, drawn from uniformly, or in the logarithm where positive.
        end: Last sample time; the first is 0.
        samples: Number of samples.
        observe: The observed outputs, all by default.
        substeps: Of RK4 between samples, in the check of the bounds.
    """

    parameters: dict[str, Range]
    initial_states: dict[str, Range]
    end: float
    samples: int
    observe: tuple[str, ...] | None = None
    substeps: int = 4

    @property
    def times(self) -> np.ndarray:
        """The sample times (T,)."""
        return np.linspace(0.0, self.end, self.samples)

    def priors(self, system: System) -> dict[str, Any]:
        """Return the distribution of every parameter "name" and initial state "name(0)"."""
        positive = {state.name: state.support == "positive" for state in system.states}
        return {name: log_uniform(*pair) for name, pair in self.parameters.items()} | {
            f"{name}(0)": log_uniform(*pair) if positive[name] else uniform(*pair)
            for name, pair in self.initial_states.items()
        }


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


def simulate_records(system: System, study: Study, n: int, seed: int, **options: Any) -> xr.Dataset:
    """Draw parameters and initial states, and return the records that could be integrated.

    Args:
        system: The system.
        study: Its ranges, times and outputs.
        n: Number of records.
        seed: Of the simulation.
        options: Of `simulate`, in place of those of the study; `parameters` are merged.
    """
    priors = study.priors(system)
    drawn = {name: priors[name] for name in study.parameters} | options.pop("parameters", {})
    settings = {
        "times": study.times,
        "parameters": drawn,
        "initial_states": {name: priors[f"{name}(0)"] for name in study.initial_states},
        "noise": NOISE,
        "observe": study.observe,
        "seed": seed,
        "progress": False,
    }
    data = simulate(system, n=n, **(settings | options))
    return data.isel(trajectory=np.flatnonzero(data["status"].values == 0))


class Outputs:
    """The noiseless outputs of n records as a function of K unknowns each.

    Unknowns are the free parameters and the initial states, in the system's order.

    Args:
        system: The system.
        data: Simulated records, on a shared or on own time grids.
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

    def at(self, unknowns: Tensor, **options: Any) -> Tensor:
        """Return outputs (O, n, T) at unknowns (n, K); n may be a multiple of the records."""
        copies = len(unknowns) // len(self.truth)
        columns = list(self.parameters.repeat(copies, 1).unbind(1))
        for place, index in enumerate(self.free):
            columns[index] = unknowns[:, place]
        parameters = torch.stack(columns, dim=1)
        initial = unknowns[:, len(self.free) :]
        times = self.times if self.times.ndim == 1 else self.times.repeat(copies, 1)
        solution = integrate(self.system, times, initial, parameters, **options)
        states = solution.states.movedim(-1, 0)
        each = parameters.T[:, :, None].expand(-1, -1, times.shape[-1])
        return self.system.outputs_at(times, states, each)[self.seen]

    def differences(self) -> Tensor:
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

    def forward_derivatives(self, substeps: int) -> Tensor:
        """Return the same Jacobian by forward derivatives through RK4."""
        count, unknowns = self.truth.shape
        directions = torch.eye(unknowns, dtype=torch.float64).repeat_interleave(count, dim=0)
        _, derivatives = torch.func.jvp(
            lambda moved: self.at(moved, method="rk4", substeps=substeps),
            (self.truth.repeat(unknowns, 1),),
            (directions,),
        )
        return derivatives.unflatten(1, (unknowns, count)).movedim(1, 0)


def fisher_information(jacobian: Tensor, data: xr.Dataset, samples: int | None = None) -> Tensor:
    r"""Return the Fisher information (n, K, K) of the first samples of each record.

    .. math:: F = \sum_{t, o} \sigma_o^{-2} \, J_{t,o} J_{t,o}^T

    over the values that are not missing.

    Args:
        jacobian: Derivatives (K, O, n, T) of the outputs.
        data: The records, with their true noise levels.
        samples: How many samples count, all by default.
    """
    noise = torch.tensor(data["true_noise_sd"].values).T[:, :, None]
    seen = torch.tensor(np.isfinite(data["observed"].values)).movedim(2, 0)  # (O, n, T)
    rows = torch.where(seen, jacobian / noise, 0.0)[..., :samples]
    rows = rows.movedim(2, 0).flatten(2)  # (n, K, O T)
    return rows @ rows.mT


def standard_deviations(information: Tensor) -> np.ndarray:
    """Return the bounds (n, K) of information (n, K, K); infinite where it is singular."""
    scale = information.diagonal(dim1=1, dim2=2).sqrt()
    scaled = information / (scale[:, :, None] * scale[:, None, :])
    inverse, failed = torch.linalg.inv_ex(scaled.nan_to_num(0.0))
    variances = inverse.diagonal(dim1=1, dim2=2)
    known = (failed == 0)[:, None] & (variances > 0.0)
    found: np.ndarray = torch.where(known, variances.sqrt() / scale, torch.inf).numpy()
    return found
