"""Records whose first parameter changes: a drift over the record, or a jump at half of it.

With the change stated as a random walk, the estimate at the last sample is compared with the value
there, beside the unscented filter with the same random walk. Without it stated, a head should
notice that a record is no longer described by one value. The size of the random walk for each root
of the time unit is the total change of the logarithm over the root of the duration, at which the
walk's standard deviation at the end is the change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import xarray as xr

import warp_phys as wp
from benchmarks._accuracy import simulate_records
from benchmarks._estimates_cases import SYSTEMS, Case, ordinary
from benchmarks._estimates_scores import covered
from benchmarks._estimates_ways import LEVEL, Estimates, from_samples, information, unscented_filter
from warp_phys.systems import Input, System, get_system

CHANGING = ("lotka_volterra", "pendulum")
HEADER = "| change | way | RMSE, changed | worst other | coverage, mean | lowest | highest |"
NOTICED_HEADER = "| change | noticed | median delay in samples | noticed before |"


@dataclass(frozen=True)
class Change:
    """A course of a factor of the first parameter.

    Attributes:
        factor: At the end of the record.
        shares: Knots, as shares of the record's duration.
        values: Factors at the knots.
        between: "linear" or "held".
    """

    factor: float
    shares: tuple[float, ...]
    values: tuple[float, ...]
    between: Literal["linear", "held"]


CHANGES = {
    "drift": Change(1.3, (0.0, 1.0), (1.0, 1.3), "linear"),
    "jump": Change(1.5, (0.0, 0.5), (1.0, 1.5), "held"),
}


class _Scaled:
    """The parameters of a system, one of them times the input "factor"."""

    def __init__(self, p: Any, name: str) -> None:
        self._p, self._name = p, name

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._p, name)
        return value * self._p.factor if name == self._name else value


def varying(system: System, name: str, between: Literal["linear", "held"]) -> System:
    """Return the system with one parameter times a known input, "factor"."""
    base = type(system)

    def rhs(self: System, t: Any, y: Any, p: Any) -> Any:
        return base.rhs(self, t, y, _Scaled(p, name))

    members = {"inputs": (Input("factor", "1", between=between),), "rhs": rhs, "linear_form": None}
    made = type(f"Varying{base.__name__}", (base,), members)
    found: System = made(**system.options)
    return found


def changing_records(name: str, kind: str, n: int, seed: int) -> Case:
    """Return records whose first parameter changes, with the values at the end as the truth."""
    study, change = SYSTEMS[name], CHANGES[kind]
    system = get_system(name, **study.parameters)
    first = system.free_names[0]
    data = simulate_records(
        varying(system, first, change.between),
        study,
        n,
        seed,
        inputs={"factor": np.array(change.values)},
        input_times=study.end * np.array(change.shares),
    )
    data = data.drop_vars([key for key in data.variables if "input" in str(key)])
    truth = data["true_parameters"]
    factors = xr.where(truth["parameter"] == first, change.factor, 1.0)
    return Case(name, kind, study, data.assign(true_parameters=truth * factors))


def print_changes(name: str, n: int, seed: int) -> None:
    """Print both tables of one system."""
    cases = {kind: changing_records(name, kind, n, seed) for kind in CHANGES}
    usual = ordinary(name, n, seed)
    first = usual.system.free_names[0]
    print(f"\n{usual.title}, {first} changes; relative errors at the last sample; {n:,} records")
    print(f"\n{HEADER}\n{'|---' * 7}|")
    for kind, case in cases.items():
        walk = {first: math.log(CHANGES[kind].factor) / math.sqrt(case.study.end)}
        known = from_samples(partial(information, drift=walk))
        _print_errors(kind, f"information, drift {walk[first]:.3f}", case, known(case))
        _print_errors(kind, "unscented filter, same", case, unscented_filter(case, walk))
    print(f"\n{NOTICED_HEADER}\n{'|---' * 4}|")
    for kind, case in ({"none": usual} | cases).items():
        _print_noticed(kind, case)


def _print_errors(kind: str, way: str, case: Case, found: Estimates) -> None:
    error = np.sqrt(np.mean((found.values[-1] / case.truth - 1.0) ** 2, axis=0))
    inside = covered(case.truth, found.lower[-1], found.upper[-1])
    print(
        f"| {kind} | {way} | {error[0]:.2%} | {error[1:].max():.2%} | {inside.mean():.3f} | "
        f"{inside.min():.3f} | {inside.max():.3f} |",
        flush=True,
    )


def _print_noticed(kind: str, case: Case) -> None:
    """Print in how many records a change that was not stated is noticed, and how soon."""
    found = wp.estimate(information(case), case.observed, level=LEVEL, progress=False)
    at = found["changed_at"].values
    noticed = np.isfinite(at)
    step = case.study.end / (case.study.samples - 1)
    begun = 0.5 * case.study.end if kind == "jump" else 0.0
    dated = kind != "none" and noticed.any()
    delay = f"{np.median(at[noticed] - begun) / step:.0f}" if dated else "-"
    early = f"{(at[noticed] < begun).mean():.2%}" if kind == "jump" and noticed.any() else "-"
    print(f"| {kind} | {noticed.mean():.2%} | {delay} | {early} |", flush=True)
