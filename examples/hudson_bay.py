"""The main job: the parameters behind the Hudson Bay counts of hares and lynxes.

WARP-Phys is trained on simulated Lotka-Volterra records of 21 yearly counts, drawn from the priors
of the Stan case study (B. Carpenter, Predator-prey population dynamics: the Lotka-Volterra model in
Stan, 2018), and then reads the real record: parameters at every year with bands, and a forecast of
the last five years from the first sixteen. Beside the estimates stand the means and standard
deviations of the published posterior (posteriordb, hudson_lynx_hare). Then the record is fitted by
maximum likelihood, starting from the estimate, beside the maximum that is found with SciPy (DOP853
at 1e-13 and Gauss-Newton).

Usage: python examples/hudson_bay.py [--quick] [--seed 0] [--output output]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_normal, simulate, truncated_normal
from warp_phys.systems import LotkaVolterra

RECORD = Path(__file__).parent / "data" / "hudson_bay.csv"
PUBLISHED = {  # mean and standard deviation of the reference posterior
    "alpha": (0.547, 0.063),
    "beta": (0.0277, 0.0042),
    "gamma": (0.800, 0.089),
    "delta": (0.0241, 0.0035),
}
WITH_SCIPY = {"alpha": 0.5400, "beta": 0.02716, "gamma": 0.7966, "delta": 0.02370}
CONTEXT = 16
RECORDS = 380_000
STEPS = 6_500
LEARNING_RATE = 8e-3


def simulate_records(n: int, seed: int) -> xr.Dataset:
    """Draw parameters, initial states and noise levels from the published priors."""
    noise_level = log_normal(math.exp(-1.0), 1.0)
    return simulate(
        LotkaVolterra(),
        n=n,
        times=np.arange(21.0),
        parameters={
            "alpha": truncated_normal(1.0, 0.5),
            "beta": truncated_normal(0.05, 0.05),
            "gamma": truncated_normal(1.0, 0.5),
            "delta": truncated_normal(0.05, 0.05),
        },
        initial_states={"prey": log_normal(10.0, 1.0), "predator": log_normal(10.0, 1.0)},
        noise={"prey": noise_level, "predator": noise_level},
        distribution="lognormal",
        seed=seed,
        # Under these priors prey can fall to 1e-100: only a relative error keeps it positive.
        rtol=1e-6,
        atol=1e-30,
    )


def print_estimates(estimated: xr.Dataset) -> None:
    """Print the estimates at the last year beside the published posterior."""
    print("\nparameter  estimate   90 % band           published (sd)      off by")
    last = estimated.isel(trajectory=0, time=-1)
    for name, (mean, sd) in PUBLISHED.items():
        value, lower, upper = (
            float(last[key].sel(parameter=name))
            for key in ("parameters", "parameters_lower", "parameters_upper")
        )
        unit = str(last["parameter_unit"].sel(parameter=name).item())
        print(
            f"{name:<9}  {value:<8.4f}   {lower:.4f} to {upper:.4f}    {mean:<6} ({sd:<6}) "
            f"{unit:<7} {(value - mean) / sd:+.1f} sd"
        )


def print_fit(fitted: xr.Dataset) -> None:
    """Print the maximum likelihood fit beside the one found with SciPy."""
    print("\nfitted, starting from the estimate")
    print("parameter  fit        standard error   95 % interval       with SciPy")
    one = fitted.isel(trajectory=0)
    for name, theirs in WITH_SCIPY.items():
        value, error, lower, upper = (
            float(one[key].sel(parameter=name))
            for key in ("parameters", "standard_errors", "parameters_lower", "parameters_upper")
        )
        print(
            f"{name:<9}  {value:<#8.4g}   {error:<#14.3g}   {lower:.4f} to {upper:.4f}    "
            f"{theirs:#.4g}"
        )


def print_forecast(record: xr.Dataset, forecast: xr.Dataset) -> None:
    """Print the forecast years beside what was counted."""
    print(f"\nforecast from the first {CONTEXT} years (thousands of pelts)")
    print("year  output      forecast   90 % band of a count   counted")
    for year in forecast["time"].values:
        for name in forecast["output"].values:
            at = {"time": year, "output": name}
            row = forecast.sel(at).isel(trajectory=0)
            counted = float(record["observed"].sel(at).isel(trajectory=0))
            print(
                f"{year:.0f}  {name:<10}  {float(row['predicted']):8.1f}   "
                f"{float(row['observed_lower']):7.1f} to {float(row['observed_upper']):7.1f}   "
                f"{counted:7.1f}"
            )


def draw(record: xr.Dataset, estimated: xr.Dataset, forecast: xr.Dataset, path: Path) -> None:
    """Draw parameters over the years, and the forecast beside the counts."""
    figure, axes = plt.subplots(3, 2, figsize=(10, 9), layout="constrained")
    wp.plot_parameters(estimated, truth=PUBLISHED, axes=axes[:2].ravel())
    for ax, name in zip(axes[2], ("prey", "predator"), strict=True):
        wp.plot_predicted(forecast, record, output=name, ax=ax)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> None:
    """Run the main job."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few records, short training")
    parser.add_argument("--seed", type=int, default=0, help="of the training")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the results")
    chosen = parser.parse_args(arguments)
    chosen.output.mkdir(parents=True, exist_ok=True)
    # Small matrices gain little from a second thread and lose much where the cores are shared.
    torch.set_num_threads(1)

    data = simulate_records(4_000 if chosen.quick else RECORDS, seed=1)
    model = wp.WarpPhys(LotkaVolterra(), head="direct", drive="features")
    wp.train(
        model,
        data,
        steps=150 if chosen.quick else STEPS,
        learning_rate=LEARNING_RATE,
        seed=chosen.seed,
        time_budget=115,
    )

    record = wp.read_trajectories(RECORD)
    estimated = wp.estimate(model, record)
    fitted = wp.fit(LotkaVolterra(), record, initial=estimated, distribution="lognormal")
    early = wp.estimate(model, record.isel(time=slice(CONTEXT)))
    forecast = wp.forecast(early, times=record["time"].values[CONTEXT:])

    print_estimates(estimated)
    print_fit(fitted)
    print_forecast(record, forecast)
    wp.save(estimated, chosen.output / "hudson_bay_estimate.nc", overwrite=True)
    wp.save(fitted, chosen.output / "hudson_bay_fit.nc", overwrite=True)
    wp.save(forecast, chosen.output / "hudson_bay_forecast.nc", overwrite=True)
    model.save(chosen.output / "lotka_volterra.safetensors", overwrite=True)
    draw(record, estimated, forecast, chosen.output / "hudson_bay.png")
    print(f"\nwritten to {chosen.output}: estimate, fit and forecast (.nc), model, figure (.png)")


if __name__ == "__main__":
    main()
