"""Events of SBML models, with what happens between and at them as the reference."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import warp_phys as wp
from tests.warp_phys.petab.small_problems import PARAMETER_COLUMNS, Sbml, table, write_problem

TIMES = (0.5, 1.0, 2.0, 3.5)


def decaying(folder: Path, *events, start: float = 1.0, **tables: str) -> wp.PetabProblem:
    """Return a problem with x' = -x / 2 and the events (name, trigger, values, options)."""
    model = Sbml().parameter("x", start, constant=False).parameter("k", 0.5).parameter("lag", 1.5)
    model.parameter("count", 0.0, constant=False)
    model.rule("x", "-k * x", rate=True)
    for name, trigger, values, options in events:
        model.event(name, trigger, values, **options)
    given = {
        "parameters": table(
            PARAMETER_COLUMNS,
            ("k", "log10", 0.1, 10, 0.5, 1),
            ("lag", "lin", 0, 3, 1.5, 1),
        ),
        "observables": table(
            "observableId observableFormula noiseFormula", ("x_seen", "x", 0.1), ("n", "count", 0.1)
        ),
        "measurements": table(
            "observableId simulationConditionId measurement time",
            *((name, "only", 1.0, time) for time in TIMES for name in ("x_seen", "n")),
        ),
    }
    return wp.read_petab(write_problem(folder, model, **(given | tables)))


def seen(problem: wp.PetabProblem, **values: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the predictions of x and of the count."""
    predicted = problem.predict(values or None, rtol=1e-10)
    return predicted[::2], predicted[1::2]


def test_a_dose_at_an_estimated_time(tmp_path: Path) -> None:
    """What only an event changes is a state, too; both values are those just before."""
    dose = ("dose", "time >= lag", {"x": "x + 2", "count": "count + x"}, {})
    problem = decaying(tmp_path, dose)
    for lag in (1.5, 0.7):
        x, count = seen(problem, lag=lag)
        left = np.exp(-0.5 * np.array(TIMES))
        after = np.array(TIMES) >= lag
        expected = left + np.where(after, 2.0 * np.exp(-0.5 * (np.array(TIMES) - lag)), 0.0)
        np.testing.assert_allclose(x, expected, rtol=1e-8)
        np.testing.assert_allclose(count, np.where(after, math.exp(-0.5 * lag), 0.0), atol=1e-8)


def test_a_threshold(tmp_path: Path) -> None:
    """Whenever x falls to a half it is doubled: at 2 ln 2, 4 ln 2, ..."""
    double = ("double", "not(x >= 0.5)", {"x": "2 * x", "count": "count + 1"}, {})
    x, count = seen(decaying(tmp_path, double))
    times = np.array(TIMES)
    np.testing.assert_allclose(count, np.floor(times / (2.0 * math.log(2.0))), atol=1e-8)
    np.testing.assert_allclose(x, np.exp(-0.5 * times) * 2.0**count, rtol=1e-7)


@pytest.mark.parametrize(("held_before", "first"), [(True, 1.0), (False, 4.0)])
def test_a_trigger_that_holds_at_the_start(tmp_path: Path, held_before: bool, first: float) -> None:
    options = {"held_before": held_before}
    events = (
        ("set", "x > 0.9 && time >= -1", {"x": "4 * x", "count": "x"}, options),
        ("other", "x > 100", {"x": "0"}, options),
    )
    x, count = seen(decaying(tmp_path, *events))
    np.testing.assert_allclose(x, first * np.exp(-0.5 * np.array(TIMES)), rtol=1e-8)
    np.testing.assert_allclose(count, 0.0 if held_before else 1.0)


def test_a_dose_at_the_start(tmp_path: Path) -> None:
    x, _ = seen(decaying(tmp_path, ("dose", "time >= 0", {"x": "x + 2"}, {"held_before": False})))
    np.testing.assert_allclose(x, 3.0 * np.exp(-0.5 * np.array(TIMES)), rtol=1e-8)


def test_a_condition_sets_what_an_event_changes(tmp_path: Path) -> None:
    """As in an experiment with a stimulus that ends at a time of its own."""
    model = Sbml().parameter("x", 0.0, constant=False).parameter("drug", 0.0, constant=False)
    model.parameter("end", 1.0).parameter("k", 0.5)
    model.rule("x", "k * drug", rate=True).event("stop", "time >= end", {"drug": "0"})
    problem = wp.read_petab(
        write_problem(
            tmp_path,
            model,
            parameters=table(PARAMETER_COLUMNS, ("k", "log10", 0.1, 10, 0.5, 1)),
            conditions=table("conditionId drug end", ("a", 2.0, 1.0), ("b", 4.0, 2.5)),
            observables=table("observableId observableFormula noiseFormula", ("seen", "x", 0.1)),
            measurements=table(
                "observableId simulationConditionId measurement time",
                ("seen", "a", 1.0, 3.0),
                ("seen", "b", 1.0, 2.0),
                ("seen", "b", 1.0, 3.0),
            ),
        )
    )
    np.testing.assert_allclose(problem.predict(), [1.0, 4.0, 5.0], rtol=1e-8)


def test_a_fit_finds_the_time_of_a_dose(tmp_path: Path) -> None:
    lag, times = 1.2, np.array([0.4, 0.9, 1.6, 2.1, 2.8, 3.3])
    x = np.exp(-0.5 * times) + np.where(times >= lag, 2.0 * np.exp(-0.5 * (times - lag)), 0.0)
    problem = decaying(
        tmp_path,
        ("dose", "time >= lag", {"x": "x + 2"}, {}),
        measurements=table(
            "observableId simulationConditionId measurement time",
            *(("x_seen", "only", value, time) for value, time in zip(x, times, strict=True)),
        ),
    )
    fitted = wp.fit(
        problem.system, problem.data, initial=problem.start(), progress=False, **problem.arguments
    )
    assert problem.estimates(fitted) == pytest.approx({"k": 0.5, "lag": 1.2}, rel=1e-5)
