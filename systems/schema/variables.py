"""The data schema: the name, dimensions, long name, unit and flags of every variable.

Labels, checks, summaries and the documentation read these declarations, so that a new variable is
one entry here.

A data set is one `xarray.Dataset`. Its dimensions are `trajectory`; `time` where all
trajectories share a grid, else `sample` with a coordinate `time(trajectory, sample)` padded by
NaN; and `output`, `state`, `parameter`, `input`, whose coordinates hold names, with the units in
another coordinate (`output_unit`, ...). A missing value is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from warp_phys.systems.errors import unknown_name
from warp_phys.systems.schema.flags import (
    CENSORED,
    ESTIMATE_STATUS,
    IDENTIFIABLE,
    MISFIT,
    OUT_OF_RANGE,
    SEARCH,
    FitStatus,
    Flags,
    SimulationStatus,
    codes,
)

SCHEMA_VERSION = "1"

NAMED_DIMENSIONS = ("output", "state", "parameter", "input", "coordinate", "noise_parameter")
"""Dimensions whose coordinate holds names; `<dimension>_unit` holds the unit of each."""


@dataclass(frozen=True)
class Quantity:
    """One variable of the schema.

    Attributes:
        long_name: A description in words.
        layouts: The dimensions it may have, by name; `time` stands for `sample` where the
            trajectories have their own grids.
        units: A fixed unit; "" if there is none; "time" for the unit of time; or the dimension
            whose entries' unit it has, recorded if all of them share one.
        flags: The meanings of its integer codes or bits, if it has any.
        text: Whether it contains text instead of numbers.
        note: A remark for readers of the file.
    """

    long_name: str
    layouts: tuple[tuple[str, ...], ...]
    units: str = ""
    flags: Flags | None = None
    text: bool = False
    note: str = ""


def _quantity(
    long_name: str,
    *layouts: str,
    units: str = "",
    flags: Flags | None = None,
    text: bool = False,
    note: str = "",
) -> Quantity:
    dims = tuple(tuple(layout.split()) for layout in layouts)
    return Quantity(long_name, dims, units, flags, text, note)


_PER_SAMPLE = "trajectory time output"
_PER_PARAMETER = "trajectory parameter"
_PER_NOISE_PARAMETER = "trajectory noise_parameter"
_PARAMETER_IN_TIME = "trajectory time parameter"

QUANTITIES: dict[str, Quantity] = {
    # simulated or measured
    "observed": _quantity("observed output", _PER_SAMPLE, units="output"),
    "censored": _quantity(
        "whether the observed value is a limit below or above which the true one was",
        _PER_SAMPLE,
        units="1",
        flags=Flags(CENSORED),
    ),
    "noiseless": _quantity("output without noise", _PER_SAMPLE, units="output"),
    "inputs": _quantity("known input", "trajectory time input", units="input"),
    "true_parameters": _quantity(
        "parameter behind the trajectory", _PER_PARAMETER, units="parameter"
    ),
    "true_initial_state": _quantity(
        "state behind the first sample", "trajectory state", units="state"
    ),
    # The bytes of shards, which a later version may have to complete, hold these texts.
    "true_noise_sd": _quantity(
        "standard deviation of the noise added", "trajectory output", units="output"
    ),
    "input_table": _quantity(
        "known input at the times of its table", "trajectory knot input", units="input"
    ),
    "input_time": _quantity("time in the table of the inputs", "trajectory knot", units="time"),
    "dose_amount": _quantity("what a dose adds to its state", "trajectory dose"),
    "dose_time": _quantity(
        "time of the dose, NaN where there is none", "trajectory dose", units="time"
    ),
    "rejected": _quantity("draws that broke a constraint before this one", "trajectory", units="1"),
    "known_initial_state": _quantity(
        "known initial state",
        "trajectory state",
        units="state",
        note="NaN for states that are not known; it holds at initial_time",
    ),
    "error_estimate": _quantity(
        "estimated integration error relative to the state", "trajectory", units="1"
    ),
    "status": _quantity("how the computation ended", "trajectory", units="1"),
    "context_samples": _quantity("samples given before the forecast", "trajectory", units="1"),
    "input_sequence": _quantity("what a sequence model is given", _PER_SAMPLE, units="output"),
    "target_sequence": _quantity(
        "what a sequence model has to return", _PER_SAMPLE, units="output"
    ),
    # fitted or estimated
    "parameters": _quantity(
        "estimated parameter", _PER_PARAMETER, _PARAMETER_IN_TIME, units="parameter"
    ),
    "parameters_lower": _quantity(
        "lower end of the parameter's band", _PER_PARAMETER, _PARAMETER_IN_TIME, units="parameter"
    ),
    "parameters_upper": _quantity(
        "upper end of the parameter's band", _PER_PARAMETER, _PARAMETER_IN_TIME, units="parameter"
    ),
    "standard_errors": _quantity(
        "standard error of the parameter", _PER_PARAMETER, units="parameter"
    ),
    "covariance": _quantity(
        "covariance of the estimated parameters and initial states",
        "trajectory estimated estimated_",
        note="estimated_ repeats estimated",
    ),
    "initial_state": _quantity(
        "estimated initial state", "trajectory state", "trajectory time state", units="state"
    ),
    "initial_state_lower": _quantity(
        "lower end of the initial state's band",
        "trajectory state",
        "trajectory time state",
        units="state",
    ),
    "initial_state_upper": _quantity(
        "upper end of the initial state's band",
        "trajectory state",
        "trajectory time state",
        units="state",
    ),
    "initial_state_standard_errors": _quantity(
        "standard error of the initial state", "trajectory state", units="state"
    ),
    "predicted": _quantity("predicted output", _PER_SAMPLE, units="output"),
    "predicted_lower": _quantity("lower end of the output's band", _PER_SAMPLE, units="output"),
    "predicted_upper": _quantity("upper end of the output's band", _PER_SAMPLE, units="output"),
    "observed_lower": _quantity("lower end of the measurement's band", _PER_SAMPLE, units="output"),
    "observed_upper": _quantity("upper end of the measurement's band", _PER_SAMPLE, units="output"),
    "noise_sd": _quantity(
        "standard deviation of the noise", "trajectory output", "trajectory time output"
    ),
    "noise_parameters": _quantity(
        "estimated parameter of the noise", _PER_NOISE_PARAMETER, units="noise_parameter"
    ),
    "noise_parameters_standard_errors": _quantity(
        "standard error of the parameter of the noise",
        _PER_NOISE_PARAMETER,
        units="noise_parameter",
    ),
    "noise_parameters_lower": _quantity(
        "lower end of the noise parameter's band", _PER_NOISE_PARAMETER, units="noise_parameter"
    ),
    "noise_parameters_upper": _quantity(
        "upper end of the noise parameter's band", _PER_NOISE_PARAMETER, units="noise_parameter"
    ),
    "initial_time": _quantity("time at which the initial state holds", "trajectory", units="time"),
    "coordinates": _quantity(
        "coordinate in which the right-hand side is affine",
        "trajectory time coordinate",
        units="coordinate",
    ),
    "unknowns": _quantity("unknown in its unconstrained coordinate", "trajectory time unknown"),
    "unknowns_covariance": _quantity(
        "covariance of the unknowns in their unconstrained coordinates",
        "trajectory time unknown unknown_",
    ),
    "information": _quantity(
        "Fisher information of the estimated in unconstrained coordinates",
        "trajectory estimated estimated_",
    ),
    "fixed": _quantity(
        "whether the parameter was known for every trajectory", "parameter", units="1"
    ),
    "known": _quantity(
        "whether the unknown of the others was known for this trajectory",
        "trajectory estimated",
        units="1",
    ),
    "on_bound": _quantity(
        "whether the parameter ran to the end of its support", _PER_PARAMETER, units="1"
    ),
    "profiled": _quantity(
        "whether the interval comes from the profile likelihood", _PER_PARAMETER, units="1"
    ),
    "value_count": _quantity("measured values that count", "trajectory", units="1"),
    "degrees_of_freedom": _quantity(
        "degrees of freedom of the noise level", "trajectory", units="1"
    ),
    "reduced_chi_square": _quantity(
        "weighted sum of squares for each degree of freedom", "trajectory", units="1"
    ),
    "autocorrelation": _quantity(
        "correlation of successive residuals", "trajectory output", units="1"
    ),
    "misfit": _quantity(
        "how the residuals differ from noise",
        "trajectory",
        units="1",
        flags=Flags(MISFIT, bits=True),
    ),
    "outlier": _quantity("the value farthest from the prediction", "trajectory", text=True),
    "outlier_sample": _quantity(
        "sample of that value", "trajectory", units="1", note="-1 where there is no outlier"
    ),
    "undetermined": _quantity("what the data do not determine", "trajectory", text=True),
    "failure": _quantity("what failed in a fit that has not converged", "trajectory", text=True),
    "search": _quantity(
        "reasons to distrust the search for the best optimum",
        "trajectory",
        units="1",
        flags=Flags(SEARCH, bits=True),
    ),
    "gradient": _quantity(
        "derivative of the log likelihood by the estimated", "trajectory estimated"
    ),
    "starts": _quantity("starts tried", "trajectory", units="1"),
    "starts_agreeing": _quantity("starts that led to the best optimum", "trajectory", units="1"),
    "optima": _quantity("different optima found", "trajectory", units="1"),
    "group": _quantity("group that shares parameters", "trajectory", units="1"),
    "sum_of_squares": _quantity("sum of squared residuals", "trajectory"),
    "log_likelihood": _quantity("log likelihood", "trajectory", units="1"),
    "log_prior": _quantity("log density of the priors", "trajectory", units="1"),
    "iterations": _quantity("iterations used", "trajectory", units="1"),
    "identifiable": _quantity(
        "whether the data determine the parameter", _PER_PARAMETER, flags=Flags(IDENTIFIABLE)
    ),
    "out_of_range": _quantity(
        "how the record differs from the training data, or from prior and model",
        "trajectory",
        flags=Flags(OUT_OF_RANGE, bits=True),
    ),
    "estimate_status": _quantity(
        "reasons to distrust the estimate",
        "trajectory time",
        units="1",
        flags=Flags(ESTIMATE_STATUS, bits=True),
    ),
    "described": _quantity(
        "1 as long as the model describes the record so far, else 0", "trajectory time", units="1"
    ),
    "changed_at": _quantity(
        "time of the first sample that the model does not describe, NaN where there is none",
        "trajectory",
        units="time",
    ),
}

SIMULATED: Mapping[str, Quantity] = QUANTITIES | {
    "status": replace(QUANTITIES["status"], flags=codes(SimulationStatus))
}
"""The variables of simulated data sets."""

FITTED: Mapping[str, Quantity] = QUANTITIES | {
    "status": _quantity("how the fit ended", "trajectory", units="1", flags=codes(FitStatus))
}
"""The variables of fits."""

COORDINATES: dict[str, tuple[str, str]] = {
    "trajectory": ("trajectory", "trajectory"),
    "dose_state": ("dose", "state the dose goes to"),
    "dose_unit": ("dose", "unit of the dose"),
    "estimated_kind": ("estimated", "what the unknown is"),
    "estimated_lower": ("estimated", "lower end of its support"),
    "estimated_upper": ("estimated", "upper end of its support"),
    "estimated_shared": ("estimated", "whether the trajectories of a group have it in common"),
    "unknown": ("unknown", "unknown"),
    "unknown_kind": ("unknown", "what the unknown is"),
}
"""Coordinates: name -> dimension and long name; see also `NAMED_DIMENSIONS`."""


def layouts(name: str, *, own_grids: bool) -> list[tuple[str, ...]]:
    """Return the dimensions a variable may have, on a shared grid or on own grids."""
    if name not in QUANTITIES:
        raise unknown_name("variable of the data schema", name, list(QUANTITIES))
    possible = QUANTITIES[name].layouts
    if not own_grids:
        return list(possible)
    return [tuple("sample" if dim == "time" else dim for dim in dims) for dims in possible]
