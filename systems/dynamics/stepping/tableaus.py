"""Coefficients of the embedded explicit Runge-Kutta methods, taken from SciPy.

"rk45" is the pair 5(4) of Dormand and Prince with Shampine's dense output of order 4, "dop853" the
pair 8(5, 3) with dense output of order 7 (Hairer, Norsett, Wanner, Solving ODEs I, sec. II.5, II.6
and II.10).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.integrate import DOP853, RK45


@dataclass(frozen=True)
class Tableau:
    """An embedded explicit Runge-Kutta pair whose last stage is the derivative at the step's end.

    With the symbols of a Butcher tableau, A are `stages`, b `weights` and c `nodes`; `errors` holds
    b - b_hat, with a last entry for the derivative at the end ("first same as last").

    Attributes:
        name: "rk45" or "dop853".
        error_order: Order of the error estimate; the step grows as error^(-1 / (error_order + 1)).
        stability: Value of step size times largest eigenvalue above which a step counts as limited
            by stability. Measured: on a stiff problem at least three steps of four lie above it.
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
    # Stability on the negative real axis ends near -3.3. The controller hovers below this limit, so
    # that a threshold close to it, as the 3.25 of the code DOPRI5, would be crossed too rarely
    # here.
    stability=2.5,
    # The first stage is the known derivative at (t, y): its row of A is empty and its node is 0.
    nodes=tuple(map(float, RK45.C[1:])),
    stages=_rows(RK45.A[1:]),
    weights=tuple(map(float, RK45.B)),
    errors=_rows(RK45.E[None]),
    extra_nodes=(),
    extra_stages=(),
    # SciPy writes the interpolant by powers, y + h sum_j k_j (P_j1 x + ... + P_j4 x^4). In the
    # nested form of `runge_kutta.interpolant` only F_3 x^2 (1 - x)^2 contains x^4, hence F_3 = h
    # sum_j P_j4 k_j; the other coefficients follow from the values and derivatives at both ends.
    interpolation=_rows(RK45.P.T[3:]),
)

DOP853_TABLEAU = Tableau(
    name="dop853",
    error_order=DOP853.error_estimator_order,
    # The code DOP853 uses 6.1; see above for why the threshold is lower here.
    stability=4.5,
    nodes=tuple(map(float, DOP853.C[1:])),
    stages=_rows(DOP853.A[1:]),
    weights=tuple(map(float, DOP853.B)),
    # Two estimates, of orders 5 and 3, which are combined to one of order 7 in `_error_norm`.
    errors=_rows(np.stack([DOP853.E5, DOP853.E3])),
    extra_nodes=tuple(map(float, DOP853.C_EXTRA)),
    extra_stages=_rows(DOP853.A_EXTRA),
    interpolation=_rows(DOP853.D),
)
