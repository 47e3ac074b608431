"""The main job: the parameters behind the Hudson Bay counts of hares and lynxes.

WARP-Phys reads the 21 yearly counts without training: at every year it knows the parameters of the
Lotka-Volterra equations and the initial states, with bands, from the counts so far. The priors are
those of the Stan case study (B. Carpenter, Predator-prey population dynamics: the Lotka-Volterra
model in Stan, 2018); beside the estimates stand the means and standard deviations of the posterior
published for it (posteriordb, hudson_lynx_hare). The last five years are forecast from the first
sixteen. Then `fit` finds the maximum likelihood, which knows no priors, from the estimate, beside
the maximum found with SciPy (DOP853 at 1e-13 and Gauss-Newton).

Usage: python examples/hudson_bay.py [--output output]
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib.pyplot as plt
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import log_normal, truncated_normal
from warp_phys.systems import LotkaVolterra

RECORD = Path(__file__).parent / "data" / "hudson_bay.csv"
PRIORS = {
    "alpha": truncated_normal(1.0, 0.5),
    "beta": truncated_normal(0.05, 0.05),
    "gamma": truncated_normal(1.0, 0.5),
    "delta": truncated_normal(0.05, 0.05),
    "prey(0)": log_normal(10.0, 1.0),
    "predator(0)": log_normal(10.0, 1.0),
    "noise_sd": log_normal(math.exp(-1.0), 1.0),
}
# Means and standard deviations of the reference posterior.
PUBLISHED = {
    "alpha": (0.547, 0.063),
    "beta": (0.0277, 0.0042),
    "gamma": (0.800, 0.089),
    "delta": (0.0241, 0.0035),
}
PUBLISHED_STATES = {"prey": (34.0, 2.9), "predator": (5.94, 0.53)}
WITH_SCIPY = {"alpha": 0.5400, "beta": 0.02716, "gamma": 0.7966, "delta": 0.02370}
YEARS = (1905, 1910, 1920)
CONTEXT = 16


def print_estimates(estimated: xr.Dataset) -> None:
    """Print the estimates and their bands at some years, beside the published posterior."""
    print("\nestimates (90 % bands) from the counts up to")
    print(f"{'':<12}" + "".join(f"{year:<22}" for year in YEARS) + "published (sd)")
    for name, published in PUBLISHED.items():
        print_row(estimated, "parameters", "parameter", name, published)
    for name, published in PUBLISHED_STATES.items():
        print_row(estimated, "initial_state", "state", name, published)


def print_row(
    estimated: xr.Dataset, kind: str, dim: str, name: str, published: tuple[float, float]
) -> None:
    """Print the estimates of one unknown."""
    cells = []
    for year in YEARS:
        at = estimated.isel(trajectory=0).sel({"time": year, dim: name})
        value, lower, upper = (float(at[kind + end]) for end in ("", "_lower", "_upper"))
        cells.append(f"{value:.3g} ({lower:.2g}-{upper:.2g})")
    mean, sd = published
    label = name if dim == "parameter" else f"{name}(0)"
    unit = estimated[f"{dim}_unit"].sel({dim: name}).item()
    print(
        f"{label:<12}" + "".join(f"{cell:<22}" for cell in cells) + f"{f'{mean} ({sd})':<16}" + unit
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
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder of the results")
    output = parser.parse_args(arguments).output
    output.mkdir(parents=True, exist_ok=True)

    system = LotkaVolterra()
    record = wp.read_trajectories(RECORD)
    model = wp.WarpPhys(system, priors=PRIORS, distribution="lognormal")
    estimated = wp.estimate(model, record)
    early = estimated.isel(time=slice(CONTEXT))
    forecast = wp.forecast(early, times=record["time"].values[CONTEXT:])
    fitted = wp.fit(system, record, initial=estimated, distribution="lognormal")

    print_estimates(estimated)
    print_forecast(record, forecast)
    print_fit(fitted)
    wp.save(estimated, output / "hudson_bay_estimate.nc", overwrite=True)
    wp.save(forecast, output / "hudson_bay_forecast.nc", overwrite=True)
    wp.save(fitted, output / "hudson_bay_fit.nc", overwrite=True)
    draw(record, estimated, forecast, output / "hudson_bay.png")
    print(f"\nwritten to {output}: estimate, forecast and fit (.nc), figure (.png)")


if __name__ == "__main__":
    main()
