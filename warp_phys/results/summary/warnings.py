"""The warnings of a fit as sentences."""

from __future__ import annotations

import numpy as np
import xarray as xr

from warp_phys.fitting.result.read import flags, noise_model

_REASONS = {
    "iteration limit": "still moving after the iterations allowed; raise max_iterations, or give "
    "it a better start",
    "stalled": "no step lowers the objective, though it is not at an optimum; another start or a "
    "smaller rtol may help",
    "diverged": "the model could not be integrated along the record from any start; give starts "
    "or bounds near the values expected",
    "too few values": "fewer values than unknowns; fix or share parameters",
    "out of time": "the time budget ended first",
    "evaluated": "all is as at the start, because max_iterations is 0",
}


def warnings_of(one: xr.Dataset) -> list[str]:
    """Return the warnings about one trajectory of a fit, one line each."""
    status = flags(one["status"])[int(one["status"])]
    fitted = not np.isnan(one["parameters"].values).any()
    lines = []
    if status == "evaluated":
        lines.append(f"not fitted: {_REASONS[status]}")
    elif int(one["status"]) != 0:
        reason = _invalid(one) if status == "invalid data" else _REASONS.get(status, status)
        lines.append(f"not converged: {reason}")
        if fitted:
            lines.append("the values are those at which it stopped, without error bars")
    if failure := _failure(one):
        lines.append(failure)
    if not fitted:
        return lines
    if int(one["status"]) != 0:
        return lines + misfits(one)
    lines += [sentence for sentence in str(one["undetermined"].item()).split("; ") if sentence]
    lines += misfits(one)
    tried, agreeing = int(one["starts"]), int(one["starts_agreeing"])
    if (optima := int(one["optima"])) > 1:
        lines.append(
            f"{optima} different optima were found; this is the best, reached by {agreeing} of "
            f"{tried} starts"
        )
    elif tried > 1 and agreeing == 1:
        lines.append(f"only 1 of {tried} starts reached this optimum")
    return lines


def _failure(one: xr.Dataset) -> str:
    """Return what failed, in words; files of earlier versions do not say it."""
    return str(one["failure"].item()) if "failure" in one else ""


def _invalid(one: xr.Dataset) -> str:
    noise = noise_model(one)
    ruled_out = f"values that are not {noise.wanted} under {noise.label} noise, "
    return (
        f"no values at all, {ruled_out if noise.wanted != 'real' else ''}or known values or inputs "
        "that are not numbers"
    )


def misfits(one: xr.Dataset) -> list[str]:
    """Return how the residuals of one trajectory differ from noise."""
    bits = int(one["misfit"])
    lines = [f"misfit: {words}" for bit, words in flags(one["misfit"]).items() if bits & bit]
    outlier = str(one["outlier"].item()) if "outlier" in one else ""
    if outlier:
        lines.append(f'{outlier}; correct it or set it to NaN, or fit with loss="huber"')
    return lines
