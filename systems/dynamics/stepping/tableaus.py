"""Coefficients of the embedded explicit Runge-Kutta methods, as SciPy carries them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import DOP853, RK45


@dataclass(frozen=True)
class Tableau:
    """An embedded explicit Runge-Kutta pair whose last stage is the derivative at the step's end.

    Attributes:
        name: "rk45" or "dop853".
        error_order: Order of the error estimate; the step grows as error^(-1 / (error_order + 1)).
        stability: Step size times largest eigenvalue from which on a step counts as bounded by
            stability. Measured: on a stiff problem three steps in four or more lie above.
        nodes: Times of the stages as fractions of the step.
        stages: Weights of the earlier stages in each stage, without the first stage's empty row.
        weights: Weights of the stages in the step.
        errors: Weights of all stages, the last one included, in the error estimate; DOP853 has two.
        extra_nodes: Nodes of the stages that only interpolation needs.
        extra_stages: Their weights.
        interpolation: Weights of all stages in each inner coefficient of the interpolant, from its
            fourth on.
    """

    name: str
    error_order: int
    stability: float
    nodes: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]
    errors: tuple[tuple[float, ...], ...]
    extra_nodes: tuple[float, ...]
    extra_stages: tuple[tuple[float, ...], ...]
    interpolation: tuple[tuple[float, ...], ...]


def _rows(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(entry) for entry in row) for row in matrix)


RK45_TABLEAU = Tableau(
    name="rk45",
    error_order=RK45.error_estimator_order,
    stability=2.5,
    nodes=tuple(map(float, RK45.C[1:])),
    stages=_rows(RK45.A[1:]),
    weights=tuple(map(float, RK45.B)),
    errors=_rows(RK45.E[None]),
    extra_nodes=(),
    extra_stages=(),
    interpolation=_rows(RK45.P.T[3:]),
)

DOP853_TABLEAU = Tableau(
    name="dop853",
    error_order=DOP853.error_estimator_order,
    stability=4.5,
    nodes=tuple(map(float, DOP853.C[1:])),
    stages=_rows(DOP853.A[1:]),
    weights=tuple(map(float, DOP853.B)),
    errors=_rows(np.stack([DOP853.E5, DOP853.E3])),
    extra_nodes=tuple(map(float, DOP853.C_EXTRA)),
    extra_stages=_rows(DOP853.A_EXTRA),
    interpolation=_rows(DOP853.D),
)
