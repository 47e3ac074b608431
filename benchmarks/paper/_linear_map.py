"""A linear map from sample to sample, fitted to each context: the simplest control of all."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._physics import failed_records
from benchmarks.paper._tasks import Floats, Split, Task


class LinearMap:
    """The matrix that best takes each sample of a context to the next, applied over and over.

    With M the least-squares solution of x_{i+1} = M x_i over the context, the forecast is
    x_{s+j} = M^{j+1} x_{s-1}. With dt between samples, log(M)/dt has the trace -c/m and the
    determinant k/m. For oscillators all of whose states are observed, on an even grid.
    """

    def fit(self, task: Task, budget: Budget) -> float:  # noqa: ARG002  # learns nothing
        """Check that the task suits.

        Raises:
            ValueError: It is no free vibration.
        """
        _check(task)
        return math.inf

    def forecast(self, task: Task, split: Split) -> Forecast:
        """Predict what is behind the contexts; they are returned as they were observed.

        Raises:
            ValueError: The task is no free vibration.
        """
        _check(task)
        outputs = np.full_like(split.sequence, np.nan)
        parameters = {name: np.full(len(split), np.nan) for name in ("k_over_m", "c_over_m")}
        step = float(np.diff(split.times).mean())
        for count in np.unique(split.context):
            rows = np.flatnonzero(split.context == count)
            seen = split.sequence[rows, :count]
            sound = np.isfinite(seen).all(axis=(1, 2))
            rows, seen = rows[sound], seen[sound]
            maps = _maps(seen)
            outputs[rows, :count] = seen
            outputs[rows, count:] = _rolled(maps, seen[:, -1], len(split.times) - count)
            parameters["k_over_m"][rows], parameters["c_over_m"][rows] = _rates(maps, step)
        return Forecast(outputs, parameters, int(failed_records(split, outputs).sum()))

    def count(self) -> int:
        """Return 0: nothing is trained."""
        return 0


def _check(task: Task) -> None:
    if not {"m", "k", "c"} <= set(task.system.parameter_names):
        raise ValueError(f"a linear map does not suit {task.name!r}, which is no free vibration")


def _maps(seen: Floats) -> Floats:
    """Return M (N, S, S) of contexts (N, s, S), by SVD: normal equations lose half the digits."""
    transposed = np.linalg.pinv(seen[:, :-1]) @ seen[:, 1:]
    found: Floats = transposed.transpose(0, 2, 1)
    return found


def _rolled(maps: Floats, last: Floats, steps: int) -> Floats:
    """Return (N, steps, S): M applied 1 to `steps` times to the last sample (N, S)."""
    states = []
    for _ in range(steps):
        last = np.einsum("nij,nj->ni", maps, last)
        states.append(last)
    return np.stack(states, axis=1)


def _rates(maps: Floats, step: float) -> tuple[Floats, Floats]:
    """Return k/m and c/m (N,): product and negative sum of the eigenvalues of log(M)/dt."""
    logarithms = np.log(np.linalg.eigvals(maps).astype(np.complex128)) / step
    return logarithms.prod(axis=1).real, -logarithms.sum(axis=1).real
