"""Candidates from another model: its estimates as points of linearization."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from warp_phys.likelihood.problem import FitProblem
from warp_phys.models.estimator import Estimator
from warp_phys.models.information.marks.marker import Candidates
from warp_phys.records.records import Records
from warp_phys.systems.errors import UsageError


def started(model: Estimator, problem: FitProblem) -> Candidates:
    """Return a function of rows (n,) and a number of samples to coordinates (n, D), NaN if unknown.

    Args:
        model: Reads the records.
        problem: The records, and the unknowns that coordinates are wanted of.

    Raises:
        UsageError: The model reads outputs that the records do not have.
    """
    if not set(model.outputs or ()) <= set(problem.records.outputs):
        raise UsageError(
            f"start reads the outputs {', '.join(model.outputs or ())}, the records have "
            f"{', '.join(problem.records.outputs)}; leave start out, or train one on these"
        )

    def candidates(rows: Tensor, samples: int) -> Tensor:
        part = problem.select(rows)
        found = model.estimate(_beginning(part.records, model, samples), 0.9, show=False).values
        last = (part.counts.clamp_max(samples) - 1).clamp_min(0)
        every = torch.arange(len(rows))
        columns = []
        for entry in part.unknowns.entries:
            kind = "parameters" if entry.kind == "parameter" else "initial_state"
            value = found[kind][every, last, entry.index].double()
            known = value.isfinite()
            line = entry.coordinate(torch.where(known, value, entry.usual[0]))
            columns.append(torch.where(known, line, torch.nan))
        return torch.stack(columns, dim=1)

    return candidates


def _beginning(records: Records, model: Estimator, samples: int) -> Records:
    """Return the first samples of records, in the order of outputs that a model reads."""
    outputs = records.outputs if model.outputs is None else model.outputs
    order = [records.outputs.index(name) for name in outputs]
    return replace(
        records,
        observed=records.observed[:, :samples, order],
        times=records.times[:, :samples],
        inputs=records.inputs[:, :samples],
        outputs=tuple(outputs),
    )
