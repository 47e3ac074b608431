"""The controls that know the physics: what they reach, what they read, and how they fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr

from benchmarks.paper._alterations import coarse, noisy, quadratic_drag
from benchmarks.paper._cramer_rao import cramer_rao
from benchmarks.paper._kalman import KalmanFilter
from benchmarks.paper._least_squares import LeastSquares
from benchmarks.paper._linear_map import LinearMap
from benchmarks.paper._models import Budget, Forecast, Model
from benchmarks.paper._over_bound import over_bound, within_ranges
from benchmarks.paper._physics import context_data, held_parameters, physics_outputs
from benchmarks.paper._tasks import Sizes, Split, Task, make_task, true_combinations

BUDGET = Budget(steps=1, batch_size=1, learning_rate=1.0, seed=0)
SIZES = Sizes(100, 20, 20)
CONTROLS = {
    "linear_map": LinearMap,
    "least_squares": LeastSquares,
    "kalman": KalmanFilter,
}


@cache
def task_of(name: str, noise: float = 0.0) -> Task:
    # A shorter context than the paper's, which takes less time.
    context = 50 if name == "msd_zero" else None
    return make_task(name, SIZES, context=context, alter=noisy(noise) if noise else None)


@cache
def trained(control: str, name: str, noise: float = 0.0) -> Model:
    model: Model = CONTROLS[control]()
    model.fit(task_of(name, noise), BUDGET)
    return model


@cache
def forecast(control: str, name: str) -> Forecast:
    return trained(control, name).forecast(task_of(name), task_of(name).test)


def error(task: Task, found: Forecast) -> float:
    behind = np.arange(found.outputs.shape[1]) >= task.test.context[:, None]
    return float((((found.outputs - task.test.target) * task.scale)[behind] ** 2).mean())


def replaced(split: Split, values: np.ndarray) -> Split:
    """Return the split with other observations."""
    data = split.data.assign(observed=split.data["observed"].copy(data=values))
    return replace(split, data=data, sequence=values)


@pytest.mark.parametrize(
    ("control", "name", "limit"),
    [
        ("linear_map", "msd", 1e-20),
        ("least_squares", "msd_zero", 1e-20),
        ("least_squares", "sine", 1e-20),
        ("least_squares", "lv", 1e-10),
        ("least_squares", "lv_repeat_copy", 1e-12),
        ("kalman", "msd_zero", 1e-10),
        ("kalman", "sine", 1e-12),
        ("kalman", "lv_repeat_copy", 1e-3),
    ],
)
def test_forecasts_without_noise(control: str, name: str, limit: float) -> None:
    task = task_of(name)
    found = forecast(control, name)
    assert found.failed == 0
    assert error(task, found) < limit


@pytest.mark.parametrize("control", CONTROLS)
def test_combinations_without_noise(control: str) -> None:
    task = task_of("msd_zero")
    found = forecast(control, "msd_zero")
    for name, truth in true_combinations(task, task.test).items():
        np.testing.assert_allclose(found.parameters[name], truth, rtol=0.01)


@pytest.mark.parametrize("control", ["least_squares", "kalman"])
def test_near_the_bound_with_noise(control: str) -> None:
    task = task_of("msd_zero", noise=0.05)
    model = trained(control, "msd_zero", noise=0.05)
    parameters = model.forecast(task, task.validation).parameters
    ratios, far = over_bound(task, task.validation, parameters)
    # 20 records: 1 +- 0.16 at the limit.
    for ratio in ratios.values():
        assert 0.6 < ratio < (1.4 if control == "least_squares" else 2.5)
    assert far == 0.0


def test_linear_map_does_not_suit_other_physics() -> None:
    with pytest.raises(ValueError, match="no free vibration"):
        LinearMap().fit(task_of("lv"), BUDGET)
    with pytest.raises(ValueError, match="no free vibration"):
        LinearMap().forecast(task_of("sine"), task_of("sine").test)


@pytest.mark.parametrize("control", CONTROLS)
def test_nothing_is_read_behind_the_context(control: str) -> None:
    task = task_of("msd_zero")
    values = task.test.sequence.copy()
    values[np.arange(values.shape[1]) >= task.test.context[:, None]] = np.nan
    hidden = replaced(task.test, values)
    truths = ["true_parameters", "true_initial_state", "noiseless"]
    lost = {name: hidden.data[name] * np.nan for name in truths}
    hidden = replace(
        hidden, data=hidden.data.assign(lost), target=np.full_like(hidden.target, np.nan)
    )
    seen = forecast(control, "msd_zero")
    blind = trained(control, "msd_zero").forecast(task, hidden)
    np.testing.assert_array_equal(blind.outputs[:, 50:], seen.outputs[:, 50:])


def test_nothing_is_read_behind_the_cycle() -> None:
    task = task_of("lv_repeat_copy")
    data = context_data(task.test, cycle=True)
    counts = np.isfinite(data["observed"].values).all(axis=2).sum(axis=1)
    np.testing.assert_array_equal(counts, task.test.data["context_samples"])
    assert list(data.data_vars) == ["observed"]


@pytest.mark.parametrize("control", CONTROLS)
def test_a_record_without_values_fails_alone(control: str) -> None:
    task = task_of("msd_zero")
    values = task.test.sequence.copy()
    values[3] = np.nan
    whole = forecast(control, "msd_zero")
    found = trained(control, "msd_zero").forecast(task, replaced(task.test, values))
    assert found.failed == 1
    assert np.isnan(found.outputs[3]).all()
    assert np.isnan(found.parameters["k_over_m"][3])
    others = np.arange(len(values)) != 3
    np.testing.assert_allclose(found.outputs[others], whole.outputs[others], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("control", ["least_squares", "kalman"])
def test_missing_samples_are_left_out(control: str) -> None:
    task = task_of("msd_zero")
    values = task.test.sequence.copy()
    values[:, 5:40:3] = np.nan
    values[:, 6:40:3, 0] = np.nan
    found = trained(control, "msd_zero").forecast(task, replaced(task.test, values))
    for name, truth in true_combinations(task, task.test).items():
        np.testing.assert_allclose(found.parameters[name], truth, rtol=0.01)


def test_starts_may_have_another_mass() -> None:
    task = task_of("msd_zero")

    def truth(split: Split) -> xr.Dataset:
        return split.data.rename(true_parameters="parameters", true_initial_state="initial_state")

    fitted = LeastSquares(truth).fitted(task, task.test)
    assert (fitted["iterations"] <= 3).all()
    np.testing.assert_allclose(
        fitted["parameters"].values, held_parameters(task, task.test), rtol=1e-9
    )


@pytest.mark.parametrize("name", ["msd", "sine", "lv", "lv_repeat_copy"])
def test_physics_of_the_truth_is_the_target(name: str) -> None:
    task = task_of(name)
    parameters = held_parameters(task, task.test)
    initial = task.test.data["true_initial_state"].values.copy()
    initial[0] = np.nan
    outputs = physics_outputs(task, task.test, parameters, initial)
    np.testing.assert_allclose(outputs[1:], task.test.target[1:], rtol=1e-6, atol=1e-9)
    assert np.isnan(outputs[0, : task.test.context[0] - 1]).all()


def test_bound_is_the_covariance_of_a_fit() -> None:
    task = task_of("msd_zero", noise=1e-3)
    fitted = LeastSquares(noise="known").fitted(task, task.test)
    bound = cramer_rao(task, task.test)
    mass = float(fitted["parameters"].sel(parameter="m")[0])
    for name, of in (("k_over_m", "k"), ("c_over_m", "c")):
        errors = fitted["standard_errors"].sel(parameter=of).values / mass
        np.testing.assert_allclose(errors, bound[name], rtol=0.02)


def test_bound_needs_noise_and_a_vibration() -> None:
    with pytest.raises(ValueError, match="without noise"):
        cramer_rao(task_of("msd"), task_of("msd").test)
    with pytest.raises(ValueError, match="expected a free vibration"):
        cramer_rao(task_of("sine"), task_of("sine").test)


def test_no_estimate_is_far_from_the_bound() -> None:
    task = task_of("msd_zero", noise=0.05)
    truth = true_combinations(task, task.validation)
    lost = {name: np.where(np.arange(20) < 2, np.nan, values) for name, values in truth.items()}
    ratios, far = over_bound(task, task.validation, lost)
    assert set(ratios.values()) == {0.0}
    inside = within_ranges(task, task.validation)
    assert far == pytest.approx(inside[:2].sum() / inside.sum())
    assert far > 0.0


def test_records_in_range() -> None:
    task = task_of("msd")
    inside = within_ranges(task, task.test)
    assert 0 < inside.sum() < len(task.test)
    known = task.train.data["true_parameters"]
    values = task.test.data["true_parameters"][inside]
    assert (values <= known.max("trajectory")).all()
    assert within_ranges(task, task.train).all()


def test_noise_is_a_share_of_the_deviation() -> None:
    task = task_of("msd_zero", noise=0.05)
    errors = task.test.sequence - task.test.target
    level = errors.std(axis=1) / task.test.target.std(axis=1)
    np.testing.assert_allclose(level, 0.05, rtol=0.25)
    assert level.mean() == pytest.approx(0.05, rel=0.02)
    assert not np.array_equal(errors, task.validation.sequence - task.validation.target)


def test_coarse_grid() -> None:
    fine, task = task_of("msd"), make_task("msd", SIZES, alter=coarse(2))
    np.testing.assert_array_equal(task.test.sequence, fine.test.sequence[:, ::2])
    np.testing.assert_array_equal(task.test.context, 50)
    assert task.scale == fine.scale


def test_drag_takes_energy() -> None:
    fine = task_of("msd")
    data = fine.test.data
    without = quadratic_drag(0.0)("test", data)
    np.testing.assert_allclose(without["observed"], data["observed"], rtol=1e-6, atol=1e-6)
    with_drag = quadratic_drag(0.002)("test", data)
    assert (with_drag["observed"].std("time") < data["observed"].std("time")).all()
    truth = torch.tensor(data["true_parameters"].values[0])
    x, v = torch.tensor(with_drag["observed"].values[0]).T
    step = float(data["time"][1])
    acceleration = (v[2:] - v[:-2]) / (2.0 * step)
    force = truth[1] * x + truth[2] * v + 0.002 * v.abs() * v
    expected = -force[1:-1] / truth[0]
    assert float((acceleration - expected).norm() / expected.norm()) < 0.01
