"""The row of the information head: what it learns, what it reads, and what it reaches."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from benchmarks.paper._alterations import noisy
from benchmarks.paper._cells import QUICK, result_cells, tuning_cells
from benchmarks.paper._models import Budget, Forecast
from benchmarks.paper._over_bound import over_bound
from benchmarks.paper._physics import held_parameters
from benchmarks.paper._physics_rows import Root, WarpPhys
from benchmarks.paper._tasks import Sizes, Task, make_task, true_combinations

ROW = "WARP-Phys, information head"
BUDGET = Budget(steps=1, batch_size=1, learning_rate=1.0, seed=0)
SIZES = Sizes(100, 20, 20)


@cache
def task_of(name: str, noise: float = 0.0) -> Task:
    # A shorter context than the paper's, which takes less time.
    context = 50 if name == "msd_zero" else None
    return make_task(name, SIZES, context=context, alter=noisy(noise) if noise else None)


@cache
def learned(name: str, noise: float = 0.0) -> WarpPhys:
    row = WarpPhys("information")
    row.fit(task_of(name, noise), BUDGET)
    return row


@cache
def forecast(name: str, root: Root = "first_sample", noise: float = 0.0) -> Forecast:
    row, task = learned(name, noise), task_of(name, noise)
    row.root = root
    return row.forecast(task, task.test)


def behind(task: Task) -> np.ndarray:
    return np.arange(task.test.target.shape[1]) >= task.test.context[:, None]


def error(task: Task, found: Forecast) -> float:
    return float((((found.outputs - task.test.target) * task.scale)[behind(task)] ** 2).mean())


@pytest.mark.parametrize(
    ("name", "root", "limit"),
    [
        ("msd", "first_sample", 1e-20),
        ("msd_zero", "first_sample", 1e-20),
        ("msd_zero", "last_sample", 1e-20),
        ("lv", "first_sample", 1e-10),
        ("lv", "last_sample", 1e-10),
        ("lv_repeat_copy", "first_sample", 1e-10),
        # Of a single sample the level of the noise cannot be told: it stays as assumed.
        ("sine", "first_sample", 1e-4),
        ("sine", "fit", 1e-20),
    ],
)
def test_forecasts_without_noise(name: str, root: Root, limit: float) -> None:
    found = forecast(name, root)
    assert found.failed == 0
    assert error(task_of(name), found) < limit


def test_near_the_bound_with_noise() -> None:
    task = task_of("msd_zero", 0.05)
    ratios, far = over_bound(task, task.test, forecast("msd_zero", noise=0.05).parameters)
    # 20 records: 1 +- 0.16 at the limit.
    for ratio in ratios.values():
        assert 0.6 < ratio < 1.4
    assert far == 0.0


def test_the_prior_is_of_the_training_set() -> None:
    task, model = task_of("lv"), learned("lv").model
    assert model is not None
    moments = model.choices.head.learned
    assert moments.trajectories == SIZES.train
    parameters = [moments.labels.index(name) for name in task.system.parameter_names]
    expected = np.log(held_parameters(task, task.train)).mean(axis=0)
    np.testing.assert_allclose(moments.mean[parameters], expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["msd_zero", "lv_repeat_copy"])
def test_nothing_is_read_behind_the_context(name: str) -> None:
    task = task_of(name)
    count = (task.test.context - (task.cycle_gap is not None))[:, None, None]
    hidden = np.arange(task.test.data.sizes["time"])[:, None] >= count
    observed = task.test.data["observed"]
    truths = ["true_parameters", "true_initial_state", "noiseless"]
    lost = {truth: task.test.data[truth] * np.nan for truth in truths}
    lost["observed"] = observed.copy(data=np.where(hidden, np.nan, observed.values))
    blind = replace(task.test, data=task.test.data.assign(lost))
    seen = forecast(name)
    row = learned(name)
    row.root = "first_sample"
    found = row.forecast(task, blind)
    np.testing.assert_array_equal(found.outputs[behind(task)], seen.outputs[behind(task)])


def test_a_record_without_values_keeps_the_prior_and_leaves_others_as_they_are() -> None:
    task = task_of("msd_zero", 0.05)
    values = task.test.sequence.copy()
    values[3] = np.nan
    data = task.test.data.assign(observed=task.test.data["observed"].copy(data=values))
    row = learned("msd_zero", 0.05)
    row.root = "first_sample"
    found = row.forecast(task, replace(task.test, data=data, sequence=values))
    whole = forecast("msd_zero", noise=0.05)
    others = np.arange(len(values)) != 3
    np.testing.assert_allclose(found.outputs[others], whole.outputs[others], rtol=1e-9, atol=1e-12)
    logarithms = np.log(held_parameters(task, task.train))
    names = ("k_over_m", "c_over_m")
    prior = logarithms.mean(axis=0)[1:] - logarithms[0, 0]
    np.testing.assert_allclose([np.log(found.parameters[name][3]) for name in names], prior)


def test_missing_samples_are_left_out() -> None:
    task = task_of("msd_zero")
    values = task.test.sequence.copy()
    values[:, 5:40:3] = np.nan
    values[:, 6:40:3, 0] = np.nan
    data = task.test.data.assign(observed=task.test.data["observed"].copy(data=values))
    row = learned("msd_zero")
    row.root = "first_sample"
    found = row.forecast(task, replace(task.test, data=data, sequence=values))
    for name, truth in true_combinations(task, task.test).items():
        np.testing.assert_allclose(found.parameters[name], truth, rtol=1e-9)


def test_it_stands_once_wherever_the_direct_head_stands() -> None:
    cells = list(result_cells(QUICK))
    direct = {c.key for c in cells if c.row == "WARP-Phys, direct head" and c.seed == 0}
    own = [replace(c, row="WARP-Phys, direct head").key for c in cells if c.row == ROW]
    assert sorted(own) == sorted(direct)
    assert all(cell.row != ROW for cell in tuning_cells(QUICK))
    assert learned("msd_zero").count() == 0
