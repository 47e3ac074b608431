"""Errors of the information head next to the Cramer-Rao bound, and coverage of its bands."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import System, integrate
from warp_phys.systems.catalog.registry import as_system


def bound(system: System, data: xr.Dataset, free: list[int]) -> NDArray[np.float64]:
    """Return the least standard deviations (N, D) of unbiased estimates, by central differences."""
    parameters = torch.tensor(data["true_parameters"].values)
    unknown = torch.cat([parameters, torch.tensor(data["true_initial_state"].values)], dim=1)
    count = parameters.shape[1]
    seen = [system.output_names.index(name) for name in data["output"].values]

    def states(values: torch.Tensor) -> torch.Tensor:
        found = integrate(
            system,
            data["time"].values,
            values[:, count:],
            values[:, :count],
            rtol=1e-10,
            atol=1e-12,
        )
        return found.states[..., seen]

    columns = []
    for place in free:
        step = torch.zeros_like(unknown)
        step[:, place] = 1e-5 * unknown[:, place].abs().clamp_min(0.1)
        difference = states(unknown + step) - states(unknown - step)
        columns.append(difference / (2.0 * step[:, place, None, None]))
    slopes = torch.stack(columns, dim=-1)
    slopes = slopes / torch.tensor(data["true_noise_sd"].values)[:, None, :, None]
    information = torch.einsum("ntod,ntoe->nde", slopes, slopes)
    return torch.linalg.inv(information).diagonal(dim1=1, dim2=2).sqrt().numpy()


def joined(found: xr.Dataset, end: str = "") -> NDArray[np.float64]:
    """Return parameters and initial states at the last sample, or an end of their bands."""
    parts = [found[f"{name}{end}"].values[:, -1] for name in ("parameters", "initial_state")]
    return np.concatenate(parts, axis=1)


def check(name: str, count: int, duration: float, seed: int, observe: list[str] | None) -> None:
    system = as_system(name)
    # 43 samples: a mark.
    times = np.linspace(0.0, duration, 43)
    data = simulate(name, count, times, noise=0.02, observe=observe, seed=seed, progress=False)
    found = wp.estimate(wp.WarpPhys(name), data, progress=False)
    known = [place for place, entry in enumerate(system.parameters) if entry.fixed is not None]
    size = len(system.parameters) + len(system.states)
    free = [place for place in range(size) if place not in known]
    truth = np.concatenate([data["true_parameters"], data["true_initial_state"]], axis=1)[:, free]
    least = bound(system, data, free)
    # Where the bound is small, the prior says nothing, and the model is nearly linear.
    tight = least < 0.05 * np.median(abs(truth), axis=0)
    assert tight.mean() > 0.5
    ratio = (joined(found)[:, free] - truth)[tight] / least[tight]
    assert np.sqrt(np.square(ratio).mean()) < 1.15
    inside = (joined(found, "_lower") <= joined(found)) & (joined(found) <= joined(found, "_upper"))
    assert inside.all()
    held = (joined(found, "_lower")[:, free] <= truth) & (truth <= joined(found, "_upper")[:, free])
    share = held.mean(axis=0)
    assert abs(share.mean() - 0.9) < 0.03, share
    assert ((share > 0.85) & (share < 0.95)).all(), share
    assert float((found["out_of_range"] != 0).mean()) <= 0.02


def test_lotka_volterra_stands_at_the_bound() -> None:
    check("lotka_volterra", 400, 10.0, seed=5, observe=None)


def test_a_pendulum_seen_by_its_angle_stands_at_the_bound() -> None:
    check("pendulum", 400, 8.0, seed=5, observe=["angle"])


@pytest.mark.long
@pytest.mark.parametrize("seed", [11, 12])
@pytest.mark.parametrize("name", ["lotka_volterra", "pendulum", "van_der_pol"])
def test_other_records_do_so_too(name: str, seed: int) -> None:
    observe = ["angle"] if name == "pendulum" else None
    check(name, 1000, 10.0, seed=seed, observe=observe)
