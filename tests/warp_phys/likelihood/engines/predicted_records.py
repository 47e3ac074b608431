"""Predictions of an engine, and their derivatives, at given values of the parameters."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from warp_phys import fit
from warp_phys.fitting.options import FitOptions
from warp_phys.likelihood.engines.choose import build_engine
from warp_phys.likelihood.engines.compiled import CompiledEngine
from warp_phys.likelihood.engines.engine import Evaluation, Sums
from warp_phys.records.records import read_records
from warp_phys.systems import System


def blank(system: System, times: np.ndarray, n: int = 1, **more: Any) -> xr.Dataset:
    """Return a data set of n records of all outputs, whose values do not matter."""
    outputs = list(system.output_names)
    values = np.ones((n, len(times), len(outputs)))
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), values)},
        coords={"time": times, "output": outputs},
    )
    return data.assign(more)


def predicted(
    system: System,
    times: np.ndarray,
    values: Tensor,
    data: xr.Dataset | None = None,
    *,
    implicit: bool = False,
    start: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions (N, T, O), derivatives (N, T, O, P), and statuses of records.

    Args:
        system: The system.
        times: (T,).
        values: (N, P) or (P,), the parameters, all of which are free.
        data: The records, with doses or inputs; blank ones by default.
        implicit: Whether to take implicit steps.
        start: (N, S); the system's by default.
    """
    values = torch.atleast_2d(values)
    if data is None:
        data = blank(system, times, len(values))
    defaults = {name: one.default for name, one in signature(fit).parameters.items()}
    initial = {name: float(value) for name, value in system.default_initial_state.items()}
    options = FitOptions.from_arguments(
        defaults | {"initial_state": initial, "rtol": 1e-10, "initial_time": float(times[0])}
    )
    problem = options.problem(system, read_records(data, system, forcing=True))
    rows = torch.arange(len(values))
    engine = build_engine(problem, rows, torch.full_like(rows, len(times)))
    if implicit:
        assert isinstance(engine, CompiledEngine)
        engine.stiff[:] = True
    outputs = len(problem.records.outputs)
    sums = Sums.empty(len(values), outputs, values.shape[1])
    shape = (len(values), len(times), outputs)
    found = torch.full(shape, torch.nan, dtype=torch.float64)
    slopes = torch.full((*shape, values.shape[1]), torch.nan, dtype=torch.float64)
    states = problem.unknowns.initial_state if start is None else start
    for _ in range(2):  # the second call repeats what the first one has planned
        engine.evaluate(Evaluation(rows, values, states, sums, predicted=found, jacobian=slopes))
    return found, slopes, sums.status
