"""The data-driven rivals: they learn, repeat themselves, and read nothing behind the context."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from benchmarks.paper._models import Budget, Model
from benchmarks.paper._neural_ode import NeuralOde
from benchmarks.paper._parameter_gru import ParameterGru
from benchmarks.paper._recurrent_models import Gru, GruAutoregressive, Lstm, StateSpace
from benchmarks.paper._sequence import Contexts, Scale, SequenceModel, SequenceTask
from benchmarks.paper._tasks import (
    Sizes,
    Split,
    Task,
    combinations,
    make_task,
    true_combinations,
    with_context,
)
from benchmarks.paper._transformer import Transformer

SIZES = Sizes(64, 16, 16)
SPLITS = ("train", "validation", "test")
BUDGET = Budget(steps=3, batch_size=16, learning_rate=3e-3, seed=1)
FORECASTERS: list[type[SequenceModel]] = [
    Gru,
    Lstm,
    StateSpace,
    GruAutoregressive,
    Transformer,
    NeuralOde,
]
MODELS: list[type[Model]] = [*FORECASTERS, ParameterGru]

each_model = pytest.mark.parametrize("model", MODELS)
each_forecaster = pytest.mark.parametrize("model", FORECASTERS)
each_task = pytest.mark.parametrize("name", ["msd_zero", "sine", "lv_repeat_copy"])


@cache
def task_of(name: str) -> Task:
    """The task, cut short: 20 samples of context where they are 100, a few behind."""
    task = make_task(name, SIZES)
    if name == "msd_zero":
        task = with_context(task, 20)
    length = {"msd_zero": 40, "sine": 16, "lv_repeat_copy": 72}[name]
    splits = {split: shortened(getattr(task, split), length) for split in SPLITS}
    return replace(task, **splits)


def shortened(split: Split, length: int) -> Split:
    return Split(
        split.data.isel(time=slice(length)),
        split.sequence[:, :length],
        split.target[:, :length],
        split.context,
    )


@cache
def trained(model: type[Model], name: str) -> tuple[Model, float]:
    row = model()
    return row, row.fit(task_of(name), BUDGET)


def behind(split: Split) -> np.ndarray:
    return np.arange(split.sequence.shape[1]) >= split.context[:, None]


def spoiled(split: Split) -> Split:
    """The records with NaN behind the context, wherever a model could find them."""
    hidden = behind(split)[:, :, None]
    data = split.data.copy()
    for name in ("observed", "noiseless", "target_sequence"):
        if name in data:
            data[name] = data[name].where(~hidden)
    sequence = np.where(hidden, np.nan, split.sequence)
    return Split(data, sequence, np.full_like(split.target, np.nan), split.context)


@each_task
@each_model
def test_a_forecast_is_finite_and_reads_nothing_behind_the_context(
    model: type[Model], name: str
) -> None:
    task = task_of(name)
    row, best = trained(model, name)
    forecast = row.forecast(task, task.test)
    assert np.isfinite(best)
    assert row.count() > 1000
    assert forecast.outputs.shape == task.test.target.shape
    assert forecast.outputs.dtype == np.float64
    assert forecast.failed == 0
    assert np.isfinite(forecast.outputs).all()
    blind = row.forecast(task, spoiled(task.test))
    ahead = behind(task.test)
    np.testing.assert_array_equal(blind.outputs[ahead], forecast.outputs[ahead])


@each_model
def test_the_same_seed_gives_the_same_bits_and_another_does_not(model: type[Model]) -> None:
    task = task_of("sine")
    row, best = trained(model, "sine")
    again, other = model(), model()
    assert again.fit(task, BUDGET) == best
    assert other.fit(task, replace(BUDGET, seed=2)) != best
    np.testing.assert_array_equal(
        again.forecast(task, task.test).outputs, row.forecast(task, task.test).outputs
    )


@each_forecaster
def test_training_lowers_the_loss(model: type[SequenceModel]) -> None:
    task = task_of("sine")
    few = model().fit(task, replace(BUDGET, steps=1, learning_rate=1e-9))
    assert model().fit(task, replace(BUDGET, steps=30, learning_rate=3e-2)) < 0.7 * few


@each_forecaster
def test_a_record_is_forecast_alike_alone_and_among_longer_contexts(
    model: type[SequenceModel],
) -> None:
    task = task_of("lv_repeat_copy")
    row, _ = trained(model, "lv_repeat_copy")
    together = row.forecast(task, task.test).outputs
    assert len(set(task.test.context.tolist())) > 3
    for index in (0, 1):
        one = Split(
            task.test.data.isel(trajectory=[index]),
            *(values[[index]] for values in (task.test.sequence, task.test.target)),
            task.test.context[[index]],
        )
        np.testing.assert_allclose(row.forecast(task, one).outputs[0], together[index], atol=1e-5)


def test_the_loss_is_the_mean_square_behind_ragged_contexts() -> None:
    task = task_of("lv_repeat_copy")
    scale = Scale.of(task.train.sequence)

    class Zeros(torch.nn.Module):
        def forward(self, contexts: Contexts) -> torch.Tensor:
            return torch.zeros_like(contexts.samples[:, contexts.first :])

    learned = SequenceTask(Zeros(), scale, task.train, task.validation)
    standard = (task.validation.sequence - scale.center) / scale.spread
    expected = np.mean(np.square(standard[behind(task.validation)]))
    assert learned.validation_loss() == pytest.approx(expected, rel=1e-5)
    index = torch.arange(5)
    first = task.train.first(5)
    standard = (first.sequence - scale.center) / scale.spread
    expected = np.mean(np.square(standard[behind(first)]))
    assert float(learned.loss(index, 0)) == pytest.approx(expected, rel=1e-5)


@each_forecaster
def test_samples_within_the_context_are_repeated(model: type[SequenceModel]) -> None:
    task = task_of("lv_repeat_copy")
    outputs = trained(model, "lv_repeat_copy")[0].forecast(task, task.test).outputs
    within = ~behind(task.test)
    np.testing.assert_array_equal(outputs[within], task.test.sequence[within])


def test_a_row_says_that_it_is_not_trained() -> None:
    for model in (Gru, ParameterGru):
        with pytest.raises(RuntimeError, match="call fit first"):
            model().count()


def test_the_gru_of_parameters_learns_the_phase_and_runs_the_physics_on() -> None:
    task = task_of("sine")
    row = ParameterGru()
    row.fit(task, Budget(steps=80, batch_size=16, learning_rate=2e-2, seed=0))
    forecast = row.forecast(task, task.test)
    phase = forecast.parameters["phase"]
    truth = true_combinations(task, task.test)["phase"]
    assert np.corrcoef(phase, truth)[0, 1] > 0.95
    expected = np.sin(2.0 * np.pi * task.test.times + phase[:, None])
    np.testing.assert_allclose(forecast.outputs[:, :, 0], expected, atol=1e-9)


def test_the_gru_of_parameters_names_what_free_vibration_tells() -> None:
    task = task_of("msd_zero")
    forecast = trained(ParameterGru, "msd_zero")[0].forecast(task, task.test)
    assert set(forecast.parameters) == set(
        combinations(task, {name: np.ones(1) for name in ("m", "k", "c")})
    )
    assert all(values.shape == (16,) for values in forecast.parameters.values())
    # From the first sample on, whose state it estimates as well.
    assert np.abs(forecast.outputs[:, 0] - task.test.target[:, 0]).max() > 0.0
