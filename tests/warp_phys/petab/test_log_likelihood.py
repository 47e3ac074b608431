"""The log likelihood of small PEtab problems, with SciPy as the reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.stats import laplace, norm

import warp_phys as wp
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, Sbml, table, write_problem

CLOSE = {"rel": 1e-8, "abs": 1e-6}


def solved(rhs, start, times, **options) -> np.ndarray:
    """Return states (S, T) by SciPy, from time zero."""
    options = {"rtol": 1e-11, "atol": 1e-13, "method": "DOP853", **options}
    return np.asarray(solve_ivp(rhs, (0.0, max(times)), start, t_eval=times, **options).y)


def log10_density(y: float, f: float, s: float) -> float:
    return float(norm.logpdf(math.log10(y), math.log10(f), s)) - math.log(y * math.log(10.0))


@pytest.fixture(scope="module")
def enzyme(tmp_path_factory) -> wp.PetabProblem:
    """Two doses of a substrate that an enzyme converts, seen in other units and on two scales.

    The compartment has size 2; the enzyme is an amount; the substrate begins at half the dose plus
    a parameter; the rate is a function definition, the total an assignment rule.
    """
    model = (
        Sbml("enzyme")
        .compartment("cell", 2.0)
        .species("S")
        .species("P", 0.0)
        .species("E", 3.0, amounts=True)
        .parameter("dose", 1.0)
        .parameter("vmax", 1.0)
        .parameter("km", 0.5)
        .parameter("decay", 0.1)
        .parameter("S0", 1.0)
        .parameter("total", constant=False)
        .function("saturating", "x, half", "x / (half + x)")
        .rule("total", "S + P")
        .initial("S", "dose / 2 + S0")
        .reaction("convert", {"S": 1}, {"P": 2}, "cell * vmax * E * saturating(S, km)")
        .reaction("lose", {"E": 1}, {}, "decay * E")
    )
    parameters = table(
        PARAMETER_COLUMNS,
        ("vmax", "log10", 1e-3, 1e3, 0.4, 1),
        ("km", "log10", 1e-3, 1e3, 0.7, 1),
        ("S0", "lin", 0, 10, 0.3, 1),
        ("scale_a", "log10", 1e-2, 1e2, 2.0, 1),
        ("scale_b", "log10", 1e-2, 1e2, 3.0, 1),
        ("offset", "lin", -1, 1, 0.05, 0),
        ("sd_total", "log10", 1e-3, 1e1, 0.2, 1),
    )
    observables = table(
        "observableId observableFormula observableTransformation noiseFormula",
        (
            "product",
            "observableParameter1_product * P + offset",
            "log10",
            "noiseParameter1_product",
        ),
        ("total_seen", "total", "lin", "sd_total * (1 + S)"),
    )
    conditions = table("conditionId dose", ("low", 1.0), ("high", 4.0))
    measurements = table(
        "observableId simulationConditionId measurement time observableParameters noiseParameters",
        ("product", "low", 1.1, 0.5, "scale_a", 0.1),
        ("product", "low", 1.3, 0.5, "scale_a", 0.1),
        ("product", "low", 3.0, 2.0, "scale_b", 0.3),
        ("product", "high", 2.5, 1.0, "scale_b", 0.2),
        ("total_seen", "low", 1.0, 0.0, "", ""),
        ("total_seen", "high", 2.9, 1.0, "", ""),
    )
    folder = tmp_path_factory.mktemp("enzyme")
    path = write_problem(
        folder,
        model,
        parameters=parameters,
        observables=observables,
        measurements=measurements,
        conditions=conditions,
    )
    return wp.read_petab(path)


def enzyme_by_scipy(vmax=0.4, km=0.7, start=0.3, scale_b=3.0) -> float:
    def states(dose: float, times: list[float]) -> np.ndarray:
        def rhs(_, y):
            rate = vmax * y[2] * y[0] / (km + y[0])
            return [-rate, 2 * rate, -0.1 * y[2]]

        return solved(rhs, [dose / 2 + start, 0.0, 3.0], times)

    low, high = states(1.0, [0.0, 0.5, 2.0]), states(4.0, [1.0])
    total = log10_density(1.1, 2.0 * low[1, 1] + 0.05, 0.1)
    total += log10_density(1.3, 2.0 * low[1, 1] + 0.05, 0.1)
    total += log10_density(3.0, scale_b * low[1, 2] + 0.05, 0.3)
    total += log10_density(2.5, scale_b * high[1, 0] + 0.05, 0.2)
    for y, (substrate, product, _) in ((1.0, low[:, 0]), (2.9, high[:, 0])):
        total += float(norm.logpdf(y, substrate + product, 0.2 * (1 + substrate)))
    return total


class TestEnzyme:
    def test_nominal_values(self, enzyme: wp.PetabProblem) -> None:
        assert enzyme.log_likelihood() == pytest.approx(enzyme_by_scipy(), **CLOSE)

    def test_other_values(self, enzyme: wp.PetabProblem) -> None:
        found = enzyme.log_likelihood({"vmax": 0.9, "S0": 1.0, "scale_b": 1.5})
        expected = enzyme_by_scipy(vmax=0.9, start=1.0, scale_b=1.5)
        assert found == pytest.approx(expected, **CLOSE)

    @pytest.mark.parametrize("method", ["scipy-stiff", "rodas5p"])
    def test_any_method_of_integration(self, enzyme: wp.PetabProblem, method: str) -> None:
        found = enzyme.log_likelihood(rtol=1e-9, method=method)
        assert found == pytest.approx(enzyme_by_scipy(), rel=1e-6)

    def test_predictions_in_the_order_of_the_table(self, enzyme: wp.PetabProblem) -> None:
        predicted = enzyme.predict()
        assert predicted.shape == (6,)
        assert predicted[0] == predicted[1]
        assert predicted[4] == pytest.approx(0.8)

    def test_an_unknown_parameter(self, enzyme: wp.PetabProblem) -> None:
        message = "unknown estimated parameter of the problem 'vmaks'; did you mean 'vmax'"
        with pytest.raises(wp.systems.errors.UnknownNameError, match=message):
            enzyme.log_likelihood({"vmaks": 1.0})


def one_state(folder: Path, rate: str, **tables: str) -> wp.PetabProblem:
    """Return a problem with one state x, x(0) = 1, and the constants k = 2 and u = 0."""
    model = Sbml().parameter("x", 1.0, constant=False).parameter("k", 2.0).parameter("u", 0.0)
    model.rule("x", rate, rate=True)
    given = {
        "parameters": table(PARAMETER_COLUMNS, ("k", "log10", 0.1, 10, 0.5, 1)),
        "observables": table("observableId observableFormula noiseFormula", ("seen", "x", "0.1")),
        "measurements": table(
            "observableId simulationConditionId measurement time", ("seen", "only", 0.6, 1.0)
        ),
    }
    return wp.read_petab(write_problem(folder, model, **(given | tables)))


class TestNoise:
    @pytest.mark.parametrize(("scale", "log"), [("log", np.log), ("log10", np.log10)])
    @pytest.mark.parametrize(("name", "density"), [("normal", norm), ("laplace", laplace)])
    def test_scales_and_distributions(self, tmp_path, scale, log, name, density) -> None:
        observables = table(
            "observableId observableFormula noiseFormula observableTransformation "
            "noiseDistribution",
            ("seen", "x", "0.3", scale, name),
        )
        problem = one_state(tmp_path, "-k * x", observables=observables)
        slope = 1.0 / (0.6 * (1.0 if scale == "log" else math.log(10.0)))
        expected = density.logpdf(log(0.6), log(math.exp(-0.5)), 0.3) + math.log(slope)
        assert problem.log_likelihood() == pytest.approx(float(expected), **CLOSE)

    def test_noise_from_several_placeholders(self, tmp_path: Path) -> None:
        observables = table(
            "observableId observableFormula noiseFormula",
            ("seen", "x", "sqrt(noiseParameter1_seen^2+(noiseParameter2_seen*x)^2)"),
        )
        measurements = table(
            "observableId simulationConditionId measurement time noiseParameters",
            ("seen", "only", 0.6, 1.0, "0.1;k"),
        )
        problem = one_state(tmp_path, "-k * x", observables=observables, measurements=measurements)
        x = math.exp(-0.5)
        expected = norm.logpdf(0.6, x, math.hypot(0.1, 0.5 * x))
        assert problem.log_likelihood() == pytest.approx(float(expected), **CLOSE)


class TestTime:
    def test_a_piecewise_function_of_time(self, tmp_path: Path) -> None:
        problem = one_state(tmp_path, "piecewise(-k * x, time >= 0.25, 0) + sin(time)")

        def rhs(t, y):
            return [np.where(t >= 0.25, -0.5 * y[0], 0.0) + math.sin(t)]

        (x,) = solved(rhs, [1.0], [1.0], max_step=0.01)[0]
        assert problem.log_likelihood(rtol=1e-10) == pytest.approx(
            float(norm.logpdf(0.6, x, 0.1)), rel=1e-6
        )

    def test_equilibrated_before_time_zero(self, tmp_path: Path) -> None:
        """The state, x' = u - k x, rests at u / k; u is 1 before, and then a parameter."""
        problem = one_state(
            tmp_path,
            "u - k * x",
            parameters=table(
                PARAMETER_COLUMNS,
                ("k", "log10", 0.1, 10, 0.5, 1),
                ("push", "lin", 0, 10, 3.0, 1),
            ),
            conditions=table("conditionId u", ("rest", 1.0), ("moved", "push"), ("off", 0.0)),
            measurements=table(
                "observableId preequilibrationConditionId simulationConditionId measurement time",
                ("seen", "rest", "moved", 2.1, 0.0),
                ("seen", "rest", "moved", 3.1, 1.0),
                ("seen", "rest", "off", 1.1, 1.0),
            ),
        )
        decayed = math.exp(-0.5)
        expected = norm.logpdf(
            [2.1, 3.1, 1.1], [2.0, 6.0 - 4.0 * decayed, 2.0 * decayed], 0.1
        ).sum()
        assert problem.log_likelihood() == pytest.approx(float(expected), **CLOSE)
        np.testing.assert_array_equal(problem.data.input_time, [[-1.0, 0.0]] * 2)

    def test_measured_in_the_steady_state(self, tmp_path: Path) -> None:
        problem = one_state(
            tmp_path,
            "3 - k * x",
            measurements=table(
                "observableId simulationConditionId measurement time",
                ("seen", "only", 5.9, "inf"),
                ("seen", "only", 3.0, 1.0),
            ),
        )
        expected = norm.logpdf([5.9, 3.0], [6.0, 6.0 - 5.0 * math.exp(-0.5)], 0.1).sum()
        assert problem.log_likelihood() == pytest.approx(float(expected), **CLOSE)

    def test_no_steady_state(self, tmp_path: Path) -> None:
        problem = one_state(
            tmp_path,
            "k",
            measurements=table(
                "observableId simulationConditionId measurement time", ("seen", "only", 1, "inf")
            ),
        )
        message = r"no steady state was found for the beginning of trajectory 'only \(steady"
        with pytest.raises(wp.systems.errors.UsageError, match=message):
            problem.log_likelihood()


class TestConditions:
    def test_a_condition_sets_a_state(self, tmp_path: Path) -> None:
        problem = one_state(
            tmp_path,
            "-k * x",
            parameters=table(
                PARAMETER_COLUMNS,
                ("k", "log10", 0.1, 10, 0.5, 1),
                ("first", "lin", 0, 10, 4.0, 1),
            ),
            conditions=table(
                "conditionId x", ("default", ""), ("number", 2.0), ("estimated", "first")
            ),
            measurements=table(
                "observableId simulationConditionId measurement time",
                ("seen", "default", 0.6, 1.0),
                ("seen", "number", 1.2, 1.0),
                ("seen", "estimated", 2.4, 1.0),
            ),
        )
        decayed = math.exp(-0.5)
        np.testing.assert_allclose(problem.predict(), np.array([1, 2, 4]) * decayed, rtol=1e-8)
        np.testing.assert_allclose(problem.predict({"first": 1.0})[2], decayed, rtol=1e-8)

    def test_one_parameter_in_two_places(self, tmp_path: Path) -> None:
        """Where two quantities hold the same parameter, it is estimated once."""
        problem = one_state(
            tmp_path,
            "u - k * x",
            parameters=table(
                PARAMETER_COLUMNS, ("a", "lin", 0, 10, 0.5, 1), ("b", "lin", 0, 10, 0.25, 1)
            ),
            conditions=table("conditionId k u", ("c1", "a", "b"), ("c2", "b", "a")),
            measurements=table(
                "observableId simulationConditionId measurement time",
                ("seen", "c1", 0.6, 1.0),
                ("seen", "c2", 1.2, 1.0),
            ),
        )

        def x(k: float, u: float) -> float:
            return u / k + (1 - u / k) * math.exp(-k)

        np.testing.assert_allclose(problem.predict(), [x(0.5, 0.25), x(0.25, 0.5)], rtol=1e-8)
        assert problem.system.free_names == ("a", "b")

    def test_a_parameter_of_its_own_in_each_condition(self, tmp_path: Path) -> None:
        """Then the system has one parameter, and the data set says who shares it."""
        problem = one_state(
            tmp_path,
            "-k * x",
            parameters=table(
                PARAMETER_COLUMNS,
                ("k_1", "log10", 0.1, 10, 0.5, 1),
                ("k_2", "log10", 0.1, 10, 2, 1),
            ),
            conditions=table("conditionId k", ("c1", "k_1"), ("c2", "k_2"), ("c3", 1.0)),
            measurements=table(
                "observableId simulationConditionId measurement time",
                *(("seen", f"c{number}", 0.6, 1.0) for number in (1, 2, 3)),
            ),
        )
        assert problem.system.parameter_names == ("k",)
        assert problem.data.group_of_k.values.tolist() == ["k_1", "k_2", "known"]
        assert problem.arguments["shared"] == {"k": "group_of_k"}
        np.testing.assert_array_equal(problem.arguments["fixed"]["k"], [np.nan, np.nan, 1.0])
        np.testing.assert_allclose(problem.predict(), np.exp([-0.5, -2.0, -1.0]), rtol=1e-8)
