"""Small problems with what published ones have, each with SciPy as the reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import minimize
from scipy.stats import norm

import warp_phys as wp
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, Sbml, table, write_problem

MEASURED = "observableId simulationConditionId measurement time"
SEEN = "observableId observableFormula noiseFormula"


def solved(rhs, start, times) -> np.ndarray:
    """Return states (S, T) by SciPy, from time zero."""
    options = {"rtol": 1e-11, "atol": 1e-13, "method": "DOP853", "t_eval": times}
    return np.asarray(solve_ivp(rhs, (0.0, max(times)), start, **options).y)


def test_transport_between_compartments(tmp_path: Path) -> None:
    """Two compartments of sizes 2 and 0.5; one species is an amount, one set by its amount.

    The amounts change by the rates: n_in' = 2 k a n_out/.5 ..., a concentration by that over its
    compartment.
    """
    model = Sbml().compartment("outside", 2.0).compartment("inside", 0.5)
    model.species("a", 3.0, where="outside").species("b", 1.0, amounts=True, where="inside")
    model.species("c", where="inside")
    model.model.getSpecies("c").setInitialAmount(0.2)  # 0.4 as a concentration
    model.parameter("k", 0.3).parameter("r", 0.7)
    model.reaction("enter", {"a": 1}, {"b": 2}, "outside * k * a")
    model.reaction("turn", {"b": 1}, {"c": 1}, "r * b * c")
    problem = wp.read_petab(
        write_problem(
            tmp_path,
            model,
            parameters=table(PARAMETER_COLUMNS, ("k", "log10", 0.01, 10, 0.4, 1)),
            observables=table(SEEN, ("a_seen", "a", 1), ("b_seen", "b", 1), ("c_seen", "c", 1)),
            measurements=table(
                MEASURED,
                *((f"{name}_seen", "only", 1.0, t) for t in (0.0, 0.7, 2.0) for name in "abc"),
            ),
        )
    )

    def rhs(_, y):
        enter, turn = 2.0 * 0.4 * y[0], 0.7 * y[1] * y[2]
        return [-enter / 2.0, 2.0 * enter - turn, turn / 0.5]

    expected = solved(rhs, [3.0, 1.0, 0.4], [0.0, 0.7, 2.0])
    np.testing.assert_allclose(problem.predict(), expected.T.ravel(), rtol=1e-8)


def test_rules_and_assignments_that_need_each_other(tmp_path: Path) -> None:
    """X' = -rate x with a chain of rules; y(0) = 2 x(0) and the constant b come from assignments.

    A function is called in a function, and a piecewise function has a piecewise function inside.
    """
    model = Sbml().parameter("x", 1.5, constant=False).parameter("y", 9.0, constant=False)
    for name in ("rate", "total", "dose"):
        model.parameter(name, constant=False)
    model.parameter("a", 0.5).parameter("b", 0.0)
    model.function("hill", "s, h", "s^2 / (h^2 + s^2)").function("both", "s", "hill(s, 1) + 1")
    model.rule("rate", "a * both(total) + b").rule("total", "x + y")
    model.rule("dose", "piecewise(2, time < 0.5, piecewise(1, time < 1, 0))")
    model.rule("x", "-rate * x", rate=True).rule("y", "dose - 0.2 * y", rate=True)
    model.initial("y", "2 * x").initial("b", "a / 5")
    times = (0.3, 0.8, 1.7)
    problem = wp.read_petab(
        write_problem(
            tmp_path,
            model,
            parameters=table(PARAMETER_COLUMNS, ("a", "lin", 0, 10, 0.8, 1)),
            observables=table(SEEN, ("x_seen", "x", 1), ("y_seen", "total - x", 1)),
            measurements=table(
                MEASURED, *((f"{name}_seen", "only", 1.0, t) for t in times for name in "xy")
            ),
        )
    )

    def dose(t: float) -> float:
        return 2.0 if t < 0.5 else 1.0 if t < 1.0 else 0.0

    def rhs(t, y):
        total = y[0] + y[1]
        return [-(0.8 * (total**2 / (1 + total**2) + 1) + 0.16) * y[0], dose(t) - 0.2 * y[1]]

    y, expected, start = np.array([1.5, 3.0]), [], 0.0
    for end in (0.3, 0.5, 0.8, 1.0, 1.7):
        mid = dose(0.5 * (start + end))
        y = solve_ivp(
            lambda t, y, mid=mid: [rhs(t, y)[0], mid - 0.2 * y[1]],
            (start, end),
            y,
            rtol=1e-11,
            atol=1e-13,
        ).y[:, -1]
        start = end
        if end in times:
            expected += list(y)
    np.testing.assert_allclose(problem.predict(rtol=1e-10), expected, rtol=1e-8)


@pytest.mark.long
class TestNoise:
    """Two outputs with noise formulas of their own: constant plus proportional, and log10."""

    @pytest.fixture(scope="class")
    @classmethod
    def problem(cls, tmp_path_factory) -> wp.PetabProblem:
        model = Sbml().parameter("x", 2.0, constant=False).parameter("k", 0.5)
        model.rule("x", "-k * x", rate=True)
        observables = table(
            f"{SEEN} observableTransformation",
            ("linear", "x", "base + share * x", "lin"),
            ("decadic", "gain * x", "0.05", "log10"),
        )
        parameters = table(
            PARAMETER_COLUMNS,
            ("k", "log10", 0.01, 10, 0.5, 1),
            ("gain", "log10", 0.1, 100, 3.0, 1),
            ("base", "log10", 1e-3, 1, 0.1, 1),
            ("share", "lin", 0, 1, 0.1, 1),
        )
        lines = [("linear", "only", v, t) for t, v in cls.linear]
        lines += [("decadic", "only", v, t) for t, v in cls.decadic]
        return wp.read_petab(
            write_problem(
                tmp_path_factory.mktemp("noise"),
                model,
                parameters=parameters,
                observables=observables,
                measurements=table(MEASURED, *lines),
            )
        )

    linear = (
        *((0.0, 2.3), (0.5, 1.4), (1.0, 1.3), (1.5, 0.85), (2.0, 0.8), (3.0, 0.4), (4.0, 0.35)),
        *((5.0, 0.1), (6.0, 0.2)),
    )
    decadic = ((0.5, 5.0), (1.5, 2.6), (3.0, 1.3), (5.0, 0.55))

    def density(self, k: float, gain: float, base: float, share: float) -> float:
        total = 0.0
        for t, value in self.linear:
            x = 2.0 * math.exp(-k * t)
            total += float(norm.logpdf(value, x, base + share * x))
        for t, value in self.decadic:
            f = gain * 2.0 * math.exp(-k * t)
            total += float(norm.logpdf(math.log10(value), math.log10(f), 0.05))
            total -= math.log(value * math.log(10.0))
        return total

    def test_the_log_likelihood(self, problem: wp.PetabProblem) -> None:
        for values in ((0.5, 3.0, 0.1, 0.1), (0.7, 2.0, 0.3, 0.0)):
            given = dict(zip(("k", "gain", "base", "share"), values, strict=True))
            expected = self.density(*values)
            assert problem.log_likelihood(given) == pytest.approx(expected, rel=1e-8)

    def test_a_fit(self, problem: wp.PetabProblem) -> None:
        fitted = wp.fit(problem.system, problem.data, progress=False, **problem.arguments)
        best = minimize(
            lambda v: -self.density(*np.exp(v)),
            np.log([0.5, 3.0, 0.1, 0.1]),
            method="Nelder-Mead",
            options={"xatol": 1e-10, "fatol": 1e-12, "maxiter": 4000, "maxfev": 8000},
        )
        total = float(fitted.log_likelihood.sum()) + problem.log_likelihood_constant
        assert total == pytest.approx(-best.fun, abs=1e-6)
        assert problem.log_likelihood(problem.estimates(fitted)) == pytest.approx(total, abs=1e-6)


def test_equilibration_of_a_conserved_total(tmp_path: Path) -> None:
    """A turns to B and back; the total, which a condition sets, stays what it was."""
    model = Sbml().compartment("cell").species("A", 1.0).species("B", 0.0)
    model.parameter("on", 1.0).parameter("off", 1.0)
    model.reaction("forth", {"A": 1}, {"B": 1}, "on * A").reaction(
        "back", {"B": 1}, {"A": 1}, "off * B"
    )
    problem = wp.read_petab(
        write_problem(
            tmp_path,
            model,
            parameters=table(
                PARAMETER_COLUMNS,
                ("off", "log10", 0.01, 10, 0.5, 1),
                ("amount", "lin", 0, 10, 6.0, 1),
            ),
            conditions=table("conditionId A on", ("rest", "amount", 1.0), ("pushed", "", 4.0)),
            observables=table(SEEN, ("B_seen", "B", 0.1)),
            measurements=table(
                f"{MEASURED} preequilibrationConditionId",
                ("B_seen", "pushed", 4.0, 0.0, "rest"),
                ("B_seen", "pushed", 5.0, 0.2, "rest"),
            ),
        )
    )
    late = 6.0 * 4.0 / 4.5
    expected = [4.0, late + (4.0 - late) * math.exp(-4.5 * 0.2)]
    np.testing.assert_allclose(problem.predict(), expected, rtol=1e-8)


def test_tables_in_several_files(tmp_path: Path) -> None:
    model = Sbml().parameter("x", 1.0, constant=False).parameter("k", 0.5).parameter("u", 0.0)
    model.rule("x", "u - k * x", rate=True)
    path = write_problem(
        tmp_path,
        model,
        parameters=table(PARAMETER_COLUMNS, ("k", "log10", 0.1, 10, 0.5, 1)),
        conditions=table("conditionId u", ("a", 1.0)),
        observables=table(SEEN, ("seen", "x", 0.1)),
        measurements=table(MEASURED, ("seen", "a", 1.0, 1.0)),
        yaml=lambda text: (
            text.replace("s.tsv]", "s.tsv, more_tables.tsv]")
            .replace("[conditions.tsv, more_tables", "[conditions.tsv, more_conditions")
            .replace("[observables.tsv, more_tables", "[observables.tsv, more_observables")
            .replace("[measurements.tsv, more_tables", "[measurements.tsv, more_measurements")
        ),
    )
    for name, text in (
        ("conditions", table("conditionId k", ("b", 2.0))),
        ("observables", table(f"{SEEN} observableTransformation", ("log", "x", 0.1, "log"))),
        ("measurements", table(MEASURED, ("seen", "b", 1.0, 1.0), ("log", "a", 1.0, 2.0))),
    ):
        (tmp_path / f"more_{name}.tsv").write_text(text, encoding="utf-8")
    problem = wp.read_petab(path)
    expected = [2.0 - math.exp(-0.5), math.exp(-2.0), 2.0 - math.exp(-1.0)]
    np.testing.assert_allclose(problem.predict(), expected, rtol=1e-8)
