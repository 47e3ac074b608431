"""The two models of `profile_intervals.py`, with data, and their profiles by SciPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import expm, expm_frechet
from scipy.optimize import brentq, least_squares

from warp_phys.systems import Parameter, State, System

Array = NDArray[np.float64]
Residuals = Callable[[Array], tuple[Array, Array]]

# Abundances of eight stages at 21 times, 0 to 10 in steps of 0.5: problem 6 of E. D. Dolan,
# J. J. More, T. S. Munson, Benchmarking Optimization Software with COPS 3.0, ANL/MCS-TM-273, 2004.
STAGES = np.fromstring(
    """
    20000 17000 10000 15000 12000 9000 7000 3000   12445 15411 13040 13338 13484 8426 6615 4022
    7705 13074 14623 11976 12453 9272 6891 5020    4664 8579 12434 12603 11738 9710 6821 5722
    2977 7053 11219 11340 13665 8534 6242 5695     1769 5054 10065 11232 12112 9600 6647 7034
    943 3907 9473 10334 11115 8826 6842 7348       581 2624 7421 10297 12427 8747 7199 7684
    355 1744 5369 7748 10057 8698 6542 7410        223 1272 4713 6869 9564 8766 6810 6961
    137 821 3451 6050 8671 8291 6827 7525          87 577 2649 5454 8430 7411 6423 8388
    49 337 2058 4115 7435 7627 6268 7189           32 228 1440 3790 6474 6658 5859 7467
    17 168 1178 3087 6524 5880 5562 7144           11 99 919 2596 5360 5762 4480 7256
    7 65 647 1873 4556 5058 4944 7538              4 44 509 1571 4009 4527 4233 6649
    2 27 345 1227 3677 4229 3805 6378              1 20 231 934 3197 3695 3159 6454
    1 12 198 707 2562 3163 3232 5566
    """,
    sep=" ",
).reshape(21, 8)
STAGE_TIMES = np.arange(21) * 0.5


def stage_system(count: int) -> type[System]:
    """Return a population of stages, n_i' = g_(i-1) n_(i-1) - (m_i + g_i) n_i, g_count = 0."""

    class Stages(System):
        """Growth to the next stage and mortality of every stage."""

        time_unit = "1"
        states = tuple(State(f"n{i}", "1") for i in range(1, count + 1))
        parameters = tuple(
            Parameter(name, "1", "positive", (0.05, 2.0)) for name in rate_names(count)
        )
        default_initial_state: ClassVar[dict[str, Any]] = {
            f"n{i}": (0.5 * first, 2.0 * first)
            for i, first in enumerate(STAGES[0, :count].tolist(), 1)
        }

        def rhs(self, _: Any, y: Any, p: Any) -> Any:
            moved = [getattr(p, f"g{i}") * y[i - 1] for i in range(1, count)]
            lost = [getattr(p, f"m{i}") * y[i - 1] for i in range(1, count + 1)]
            arriving, leaving = [0.0, *moved], [*moved, 0.0]
            return tuple(
                arrived - died - left
                for arrived, died, left in zip(arriving, lost, leaving, strict=True)
            )

    return Stages


def rate_names(count: int) -> list[str]:
    """Return the names of the parameters of `stage_system`."""
    return [f"g{i}" for i in range(1, count)] + [f"m{i}" for i in range(1, count + 1)]


class MichaelisMenten(System):
    """An oral dose taken up at first order into a volume and eliminated by a saturable enzyme.

    gut' = -ka gut, concentration' = ka gut / V - Vm concentration / (Km + concentration). Where the
    concentration stays below Km, only Vm / Km is determined.
    """

    time_unit = "h"
    states = (State("gut", "mg"), State("concentration", "mg/L"))
    parameters = (
        Parameter("ka", "1/h", "positive", (0.1, 10.0)),
        Parameter("V", "L", "positive", (5.0, 100.0)),
        Parameter("Vm", "mg/L/h", "positive", (0.05, 50.0)),
        Parameter("Km", "mg/L", "positive", (0.1, 100.0)),
    )
    default_initial_state: ClassVar[dict[str, Any]] = {"gut": 100.0, "concentration": 0.0}

    def rhs(self, _: Any, y: Any, p: Any) -> Any:
        gut, concentration = y
        uptake = p.ka * gut
        return -uptake, uptake / p.V - p.Vm * concentration / (p.Km + concentration)


@dataclass(frozen=True)
class Reference:
    """A least squares problem for SciPy: residuals with their Jacobian, and bounds.

    Attributes:
        residuals: Returns the residuals (n,) and their Jacobian (n, P) at P unknowns.
        best: (P,), the unknowns with the least sum of squares.
        squares: That sum.
        bounds: Lower and upper bound of all unknowns.
        freedom: n - p, where unknowns at their bound do not count in p.
    """

    residuals: Residuals
    best: Array
    squares: float
    bounds: tuple[float, float]
    freedom: int

    @classmethod
    def at_optimum(
        cls, residuals: Residuals, start: Array, bounds: tuple[float, float]
    ) -> Reference:
        """Return the problem at its optimum, the best of a fit from the start and two near it."""
        draws = np.random.default_rng(0).normal(scale=0.2, size=(2, len(start)))
        found = [
            _least(residuals, first, bounds)
            for first in (start, *(start * (1.0 + draw) for draw in draws))
        ]
        best, squares = min(found, key=lambda pair: pair[1])
        at_bound = int((best - bounds[0] < 1e-6).sum())
        return cls(residuals, best, squares, bounds, residuals(best)[0].size - best.size + at_bound)

    def end(self, place: int, side: int, level: float) -> float:
        """Return where the profile of unknown `place` reaches the quantile, or the bound."""
        variance = self.squares / self.freedom
        target = stats.t.ppf(0.5 + 0.5 * level, self.freedom)
        known = [(self.best[place], self.best)]

        def lacking(value: float) -> float:
            # From the last optimum, and from the line through the last two.
            starts = [known[-1][1]]
            if len(known) > 1:
                (x, y), (x_last, y_last) = known[-2:]
                starts.append(y_last + (value - x_last) / (x_last - x) * (y_last - y))
            tries = [_least(self.residuals, start, self.bounds, (place, value)) for start in starts]
            found, squares = min(tries, key=lambda pair: pair[1])
            if value != known[-1][0]:
                known.append((value, found))
            return float(np.sqrt(max(squares - self.squares, 0.0) / variance) - target)

        inner, step = self.best[place], 0.02 * max(abs(self.best[place]), 0.05)
        outer = inner
        while lacking(outer) <= 0.0:
            if outer in self.bounds:
                return outer
            inner, step = outer, 2.0 * step
            outer = float(np.clip(self.best[place] + side * step, *self.bounds))
        return float(brentq(lacking, inner, outer, xtol=1e-7, rtol=1e-6))


def _least(
    residuals: Residuals,
    start: Array,
    bounds: tuple[float, float],
    held: tuple[int, float] | None = None,
) -> tuple[Array, float]:
    """Return the unknowns with the least sum of squares, one of them held, and that sum."""
    lower, upper = bounds
    unknowns = start.copy()
    free = np.arange(len(start))
    if held is not None:
        unknowns[held[0]] = held[1]
        free = np.delete(free, held[0])

    def at(values: Array) -> Array:
        unknowns[free] = values
        return unknowns

    found = least_squares(
        lambda values: residuals(at(values))[0],
        np.clip(unknowns[free], lower + 1e-6, upper - 1e-6),
        lambda values: residuals(at(values))[1][:, free],
        bounds=(lower, upper),
        xtol=1e-12,
        ftol=1e-12,
        gtol=1e-12,
        x_scale="jac",
        max_nfev=300,
    )
    return at(found.x).copy(), 2.0 * float(found.cost)


def stage_residuals(observed: Array, spacing: float) -> Residuals:
    """Return the residuals (of thousands) of stages with estimated initial sizes."""
    samples, count = observed.shape
    rates = 2 * count - 1

    def matrix(values: Array) -> Array:
        growth = np.append(values[: count - 1], 0.0)
        return np.diag(-growth - values[count - 1 :]) + np.diag(growth[:-1], -1)

    directions = [spacing * matrix(unit) for unit in np.eye(rates)]

    def residuals(unknowns: Array) -> tuple[Array, Array]:
        generator = spacing * matrix(unknowns[:rates])
        step = expm(generator)
        slopes = [expm_frechet(generator, one, compute_expm=False) for one in directions]
        sizes = np.zeros((samples, count))
        jacobian = np.zeros((samples, count, rates + count))
        sizes[0], jacobian[0, :, rates:] = unknowns[rates:], np.eye(count)
        for k in range(samples - 1):
            sizes[k + 1], jacobian[k + 1] = step @ sizes[k], step @ jacobian[k]
            for place, slope in enumerate(slopes):
                jacobian[k + 1, :, place] += slope @ sizes[k]
        rest = sizes - observed / 1e3
        return rest.ravel(), jacobian.reshape(samples * count, -1)

    return residuals


def dose_residuals(times: Array, observed: Array) -> Residuals:
    """Return the residuals of `MichaelisMenten` by the logarithms of its parameters."""

    def derivative(t: float, y: Array, ka: float, volume: float, most: float, half: float) -> Array:
        """Return c' and the derivatives of c by the logarithms of ka, V, Vm and Km."""
        c, slopes = y[0], y[1:]
        uptake, elimination = ka * 100.0 * np.exp(-ka * t) / volume, most * c / (half + c)
        partial = np.array(
            [uptake * (1.0 - ka * t), -uptake, -elimination, elimination * half / (half + c)]
        )
        return np.append(uptake - elimination, partial - slopes * most * half / (half + c) ** 2)

    def residuals(logarithms: Array) -> tuple[Array, Array]:
        found = solve_ivp(
            derivative,
            (0.0, times[-1]),
            np.zeros(5),
            method="LSODA",
            t_eval=times,
            args=tuple(np.exp(logarithms)),
            rtol=1e-9,
            atol=1e-11,
        )
        return found.y[0] - observed, found.y[1:].T

    return residuals


def record(times: Array, observed: Array, outputs: list[str], unit: str) -> xr.Dataset:
    """Return a data set of one trajectory."""
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), observed[None])},
        coords={"time": times, "output": outputs},
    )
    data["time"].attrs["units"] = unit
    return data
