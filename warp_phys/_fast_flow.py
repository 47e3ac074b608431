"""Outputs of many flows by the compiled engine, which needs no sensitivities for them."""

from __future__ import annotations

import torch
from torch import Tensor

from warp_phys._coordinates import Physical
from warp_phys._fit_compiled import library_of
from warp_phys._fit_engine import build_engine
from warp_phys._fit_grid import fine_grid
from warp_phys._fit_problem import FitProblem
from warp_phys._outside import Doses
from warp_phys._records import Records
from warp_phys._sums import Sums
from warp_phys._unknowns import Unknowns
from warp_phys.systems._supports import contains
from warp_phys.systems._system import System


def compiled_outputs(
    system: System,
    unknowns: Physical,
    times: Tensor,
    start: Tensor,
    outputs: tuple[str, ...],
    *,
    doses: Doses | None,
    rtol: float,
    max_steps: int,
) -> Tensor | None:
    """Return outputs (M, T, O) at times (T,) of M sets of unknowns; None without compiled code.

    Args:
        system: A system without inputs.
        unknowns: Parameters and the states at `start`; what lies off its support gives NaN.
        times: (T,).
        start: (M,).
        outputs: Names of the outputs wanted.
        doses: Of the M flows, none before its start.
        rtol: Relative tolerance.
        max_steps: Steps after which a flow is given up.
    """
    count, length = len(start), len(times)
    observed = torch.full((count, length, len(outputs)), torch.nan, dtype=torch.float64)
    grid = times.expand(count, -1).contiguous()
    usable = _usable(system, unknowns) & start.isfinite()
    start = torch.where(start.isfinite(), start, times[0])
    labels = tuple(range(count))
    records = Records(observed, grid, observed[..., :0], outputs, labels, False, doses=doses)
    problem = FitProblem(
        system=system,
        records=records,
        start=start,
        unknowns=Unknowns((), unknowns.parameters.double(), unknowns.initial_state.double()),
        group=torch.arange(count),
        noise="common",
        weights=None,
        logarithmic=False,
        robust=False,
        rtol=rtol,
        max_steps=max_steps,
        fine=fine_grid(system, records, start, None),
    )
    if library_of(problem) is None:
        return None
    limit = torch.where(usable, length, 0)
    every = torch.arange(count)
    engine = build_engine(problem, every, limit)
    sums = Sums.empty(count, len(outputs), 0)
    predicted = torch.full_like(observed, torch.nan)
    engine.evaluate(
        every,
        problem.unknowns.parameters,
        problem.unknowns.initial_state,
        sums,
        sensitivities=False,
        predicted=predicted,
    )
    return predicted


def _usable(system: System, unknowns: Physical) -> Tensor:
    """Return (M,) whether parameters lie on their supports and states are numbers."""
    usable = unknowns.initial_state.isfinite().all(dim=1)
    for place, parameter in enumerate(system.parameters):
        usable = usable & contains(unknowns.parameters[:, place], parameter.support)
    return usable
