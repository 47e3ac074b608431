"""Fits under every noise model: errors beside the Cramér-Rao bound, coverage of intervals, time.

Records of logistic growth, 41 samples each, from one set of true values; noise is drawn anew. The
bound is the inverse of the expected information at the truth,

    F = sum_t J_t^T I(f_t) J_t,    J_t = df_t / dtheta,

with the information I about the prediction and, for noise in which they depend on each other, about
the parameters of the noise. Errors are those of logarithms. For censored values I is that of a
value which is only seen above the limit, by numerical integration.

    python -m benchmarks.noise_models             # 2,000 records, a few minutes
    python -m benchmarks.noise_models --quick
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import stats

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.systems import AdditiveProportional, Binomial, NegativeBinomial, StudentT
from warp_phys.systems.noise.registry import as_noise

Floats = NDArray[np.float64]
TIMES = np.linspace(0.0, 8.0, 41)
TRUTH = np.array([1.0, 60.0, 3.0])
LIMIT = 15.0


@dataclass(frozen=True)
class Case:
    """A noise model.

    Attributes:
        title: Its row in the table.
        drawn: The noise that is simulated.
        fitted: The argument of `fit`.
        level: The level in `simulate`.
        limits: Limits of detection.
    """

    title: str
    drawn: Any
    fitted: Any
    level: float | None = None
    limits: tuple[float | None, float | None] | None = None


CASES = (
    Case("normal", "normal", "normal", 2.0),
    Case("lognormal", "lognormal", "lognormal", 0.1),
    Case("poisson", "poisson", "poisson"),
    Case("negative_binomial, dispersion estimated", NegativeBinomial(0.1), "negative_binomial"),
    Case("negative_binomial, dispersion known", NegativeBinomial(0.1), NegativeBinomial(0.1)),
    Case("binomial, 80 trials", Binomial(80), Binomial(80)),
    Case("student_t, 4 degrees of freedom known", StudentT(4.0), "student_t", 2.0),
    Case("student_t, degrees of freedom estimated", StudentT(4.0), StudentT(None), 2.0),
    Case("additive_proportional", AdditiveProportional(0.1), "additive_proportional", 2.0),
    Case(f"normal, below {LIMIT:g} censored", "normal", "normal", 2.0, (LIMIT, None)),
)


def curve(theta: Floats) -> Floats:
    """Return the population at the samples."""
    growth, capacity, start = theta
    return capacity / (1.0 + (capacity / start - 1.0) * np.exp(-growth * TIMES))


def bound(case: Case) -> Floats:
    """Return the smallest possible standard deviations of the logarithms of the unknowns."""
    size = len(TRUTH)
    steps = 1e-6 * np.eye(size)
    slopes = np.stack(
        [(curve(TRUTH * np.exp(s)) - curve(TRUTH * np.exp(-s))) / 2e-6 for s in steps], axis=1
    )
    f = torch.from_numpy(curve(TRUTH))
    level = torch.full_like(f, case.level or 1.0)
    noise = as_noise(case.drawn)
    if case.limits is not None:
        return _bound_of_limits(case, slopes)
    about = noise.information(f, level).numpy()
    full = [[slopes.T @ (about[:, None] * slopes)]]
    own = noise.own_information(f, f, level)
    names = sorted({first for first, _ in own} - {"f"})
    if any((name, "f") in own for name in names):
        crossed = [(slopes * own[name, "f"].numpy()[:, None]).sum(axis=0) for name in names]
        inner = [
            [float(own.get((a, b), own.get((b, a), torch.zeros(1))).sum()) for a in names]
            for b in names
        ]
        border = np.stack(crossed, axis=1)
        return _errors(np.block([[full[0][0], border], [border.T, np.array(inner)]]), size)
    return _errors(full[0][0], size)


def _bound_of_limits(case: Case, slopes: Floats) -> Floats:
    """Return the bound with normal noise of unknown level, values below a limit censored."""
    assert case.level is not None
    u = (LIMIT - curve(TRUTH)) / case.level
    below = stats.norm.cdf(u)
    hazard = np.exp(stats.norm.logpdf(u) - stats.norm.logcdf(u))
    e = np.linspace(-9.0, 9.0, 20_001)
    weight = stats.norm.pdf(e) * (e[1] - e[0]) * (e >= u[:, None])
    # Scores about f and log s: e / s and e^2 - 1 where measured, -h / s and -h u where censored.

    def mean(score: Floats) -> Floats:
        found: Floats = (weight * score).sum(axis=1)
        return found

    ff = (mean(e**2) + below * hazard**2) / case.level**2
    fs = (mean(e * (e**2 - 1.0)) + below * hazard**2 * u) / case.level
    ss = mean((e**2 - 1.0) ** 2) + below * hazard**2 * u**2
    border = (slopes * fs[:, None]).sum(axis=0)[:, None]
    corner = np.array([[ss.sum()]])
    whole = np.block([[slopes.T @ (ff[:, None] * slopes), border], [border.T, corner]])
    return _errors(whole, len(TRUTH))


def _errors(information: Floats, size: int) -> Floats:
    found: Floats = np.sqrt(np.diag(np.linalg.inv(information))[:size])
    return found


def fitted_case(case: Case, records: int, seed: int) -> tuple[xr.Dataset, float]:
    """Return the fits of a case, and the processor seconds they took, warm."""
    more: dict[str, Any] = {}
    if case.level is not None:
        more["noise"] = {"population": case.level}
    if case.limits is not None:
        more["limits"] = {"population": case.limits}
    data = simulate(
        "logistic_growth",
        n=records,
        times=TIMES,
        parameters={"growth": TRUTH[0], "capacity": TRUTH[1]},
        initial_states={"population": np.full(records, TRUTH[2])},
        distribution=case.drawn,
        seed=seed,
        progress=False,
        **more,
    )
    fit = partial(
        wp.fit,
        "logistic_growth",
        distribution=case.fitted,
        initial_state="estimate",
        progress=False,
    )
    fit(data.isel(trajectory=slice(0, 4)))
    begin = time.process_time()
    found = fit(data)
    return found, time.process_time() - begin


def row_of(case: Case, records: int, seed: int) -> str:
    """Return a row of the table."""
    fitted, seconds = fitted_case(case, records, seed)
    good = fitted["status"].values == 0
    names = ["growth", "capacity"]
    table = {
        name: np.concatenate(
            [
                fitted[columns[0]].sel(parameter=names).values,
                fitted[columns[1]].values,
            ],
            axis=1,
        )[good]
        for name, columns in {
            "value": ("parameters", "initial_state"),
            "low": ("parameters_lower", "initial_state_lower"),
            "high": ("parameters_upper", "initial_state_upper"),
        }.items()
    }
    error = np.log(table["value"] / TRUTH)
    ratio = np.sqrt((error**2).mean(axis=0)) / bound(case)
    inside = ((table["low"] <= TRUTH) & (table["high"] >= TRUTH)).mean(axis=0)
    misfit = (fitted["misfit"].values[good] != 0).mean()
    return (
        f"| {case.title} | {good.mean():.1%} | "
        + " ".join(f"{one:.3f}" for one in ratio)
        + " | "
        + " ".join(f"{100.0 * one:.1f}" for one in inside)
        + f" | {100.0 * misfit:.1f} | {1e3 * seconds / records:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="100 records")
    parser.add_argument("--records", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    records = 100 if options.quick else options.records
    print("| noise | converged | error / bound | inside, % | misfit, % | ms a record |")
    print("|---|---|---|---|---|---|")
    for case in CASES:
        print(row_of(case, records, options.seed), flush=True)


if __name__ == "__main__":
    main()
