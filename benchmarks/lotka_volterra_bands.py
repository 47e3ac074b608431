"""How good estimates and bands are on Lotka-Volterra records: error and coverage by context.

Trains models on records of 21 yearly counts under the published priors with several seeds; the
information head gets the priors themselves, and no training. Then prints how far the estimates from
the Hudson Bay record lie from the published posterior, and on 2,000 simulated records that no
training or calibration saw the share of log-parameter variance left unexplained and the coverage of
the 90 % bands, by number of samples. Results are kept in benchmarks/README.md.

Usage: python benchmarks/lotka_volterra_bands.py [--models information direct weights readout]
       [--seeds 0 1 2] [--quick]
"""

from __future__ import annotations

import argparse
import runpy
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import LotkaVolterra

EXAMPLE = Path(__file__).parents[1] / "examples" / "hudson_bay.py"
CONTEXTS = (5, 10, 15, 21)
RECORDS = 380_000
STEPS = 6_500
LEARNING_RATE = 8e-3
TEST_RECORDS = 2_000
MODELS: dict[str, dict[str, Any]] = {
    "information": {"distribution": "lognormal"},
    "direct": {"head": "direct"},
    "weights": {"head": "weights"},
    "weights, features": {"head": "weights", "drive": "features"},
    "readout": {"head": "readout"},
}


def simulate_records(priors: Mapping[str, Any], n: int, seed: int) -> xr.Dataset:
    """Draw parameters, initial states "name(0)" and noise levels from priors."""
    system = LotkaVolterra()
    return simulate(
        system,
        n=n,
        times=np.arange(21.0),
        parameters={name: priors[name] for name in system.parameter_names},
        initial_states={name: priors[f"{name}(0)"] for name in system.state_names},
        noise=dict.fromkeys(system.output_names, priors["noise_sd"]),
        distribution="lognormal",
        seed=seed,
        # Under these priors prey can fall to 1e-100: only a relative error keeps it positive.
        rtol=1e-6,
        atol=1e-30,
    )


def accuracy(model: wp.WarpPhys, test: xr.Dataset) -> list[tuple[int, Any, Any]]:
    """Return context, unexplained variance and coverage of each parameter."""
    rows = []
    truth = test["true_parameters"]
    spread = np.log(truth).var("trajectory")
    found = wp.estimate(model, test)
    inside = (found["parameters_lower"] <= truth) & (truth <= found["parameters_upper"])
    unexplained = (np.log(found["parameters"] / truth) ** 2).mean("trajectory") / spread
    for context in CONTEXTS:
        # An estimate sees the samples so far, so this is what the shorter record gives.
        at = {"time": context - 1}
        covered = inside.isel(at).mean("trajectory")
        rows.append((context, unexplained.isel(at).values, covered.values))
    return rows


def report(title: str, seconds: float, model: wp.WarpPhys, test: xr.Dataset) -> None:
    """Print how good a model is on the test records."""
    for context, unexplained, coverage in accuracy(model, test):
        print(
            f"{title} | {seconds:.0f} | {context} | "
            f"{' '.join(f'{value:.3f}' for value in unexplained)} | "
            f"{' '.join(f'{value:.3f}' for value in coverage)}"
        )


def runs(models: list[str], seeds: list[int]) -> list[tuple[str, int]]:
    """Return model and seed of each run; what is not trained has one."""
    return [
        (name, seed) for name in models for seed in (seeds[:1] if name == "information" else seeds)
    ]


def main(arguments: list[str] | None = None) -> None:
    """Train, test and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["information", "direct"], choices=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="few records, short training")
    chosen = parser.parse_args(arguments)

    # Small matrices gain little from a second thread and lose much where the cores are shared.
    torch.set_num_threads(1)
    example = runpy.run_path(str(EXAMPLE))
    published = np.array(list(example["PUBLISHED"].values()))
    records, steps = (4_000, 150) if chosen.quick else (RECORDS, STEPS)
    test = simulate_records(example["PRIORS"], TEST_RECORDS, seed=2)
    test = test.isel(trajectory=np.flatnonzero(test["status"].values == 0))
    record = wp.read_trajectories(example["RECORD"])
    print(f"{torch.get_num_threads()} threads, {records} records, {steps} steps")
    print("model, seed | train (s) | context | unexplained | coverage of 90 % bands")
    trained = [name for name in chosen.models if name != "information"]
    data = simulate_records(example["PRIORS"], records, seed=1) if trained else None
    for name, seed in runs(chosen.models, chosen.seeds):
        settings = MODELS[name] if name in trained else MODELS[name] | {"priors": example["PRIORS"]}
        model = wp.WarpPhys(LotkaVolterra(), **settings)
        started = time.perf_counter()
        if data is not None and name in trained:
            rate = LEARNING_RATE
            wp.train(model, data, steps=steps, learning_rate=rate, seed=seed, progress=False)
        report(f"{name}, {seed}", time.perf_counter() - started, model, test)
        estimate = wp.estimate(model, record)["parameters"].values[0, -1]
        off = (estimate - published[:, 0]) / published[:, 1]
        print(
            f"{name}, {seed}: Hudson Bay {' '.join(f'{value:.4f}' for value in estimate)}, "
            f"off by {' '.join(f'{value:+.2f}' for value in off)} published sd",
            flush=True,
        )


if __name__ == "__main__":
    main()
