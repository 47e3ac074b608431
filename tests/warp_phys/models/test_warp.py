"""Warp, the data-driven variant over the same core."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from tests.warp_phys.models.drives.own_drives import Rate
from tests.warp_phys.recurrence.transitions.own_structure import ScaledSwap
from warp_phys.data_gen import simulate
from warp_phys.records.records import read_records
from warp_phys.systems import OutputExistsError, SchemaError, UsageError
from warp_phys.training.warp_task import WarpTask

TIMES = np.linspace(0.0, 1.0, 16)
CASES: list[dict[str, Any]] = [
    {},
    {"drive": "features", "initial": "learned"},
    {"drive": "raw", "structure": "dense", "dtype": "float64"},
    {"structure": "identity", "frequencies": 0},
]


def sines(count: int, seed: int, **options: Any) -> xr.Dataset:
    return simulate("sine", n=count, times=TIMES, seed=seed, **options)


def trained(**settings: Any) -> wp.Warp:
    model = wp.Warp(**{"root_width": 8, "width": 16} | settings)
    data = sines(120, 0, noise=0.05, missing=0.1)
    wp.train(model, data, sines(40, 1), steps=10, progress=False)
    return model


@pytest.fixture(
    scope="module", params=CASES, ids=lambda case: "-".join(map(str, case.values())) or "usual"
)
def model(request: pytest.FixtureRequest) -> wp.Warp:
    return trained(**request.param)


def batch_states(model: wp.Warp, data: xr.Dataset) -> torch.Tensor:
    """Return theta at every sample, (N, T, D)."""
    network = model.built()
    return network.states(network.signals(read_records(data, None, model.outputs)))


def test_it_learns_the_sine() -> None:
    model = wp.Warp(root_width=16)
    data, validation = sines(300, 0), sines(100, 1)
    history = wp.train(model, data, validation, steps=200, batch_size=32, progress=False)
    losses = history.validation_loss
    assert losses[-1] < 0.1 * losses[0]
    # A state frozen half-way predicts the rest of the record, in units of the data.
    theta = batch_states(model, validation)
    network = model.built()
    elapsed = torch.as_tensor(TIMES).expand(100, -1)
    predicted = network.physical(network.frozen(theta[:, 8], elapsed.to(network.dtype)))
    error = predicted[:, 8:].numpy() - validation.observed.values[:, 8:]
    assert np.sqrt(np.mean(error**2)) < 0.3 * float(validation.observed.std())


def test_trained_for_a_context_it_forecasts_better_from_there() -> None:
    data, validation = sines(300, 0), sines(100, 1)

    def error(model: wp.Warp, **options: Any) -> float:
        wp.train(model, data, validation, steps=150, batch_size=32, progress=False, **options)
        known = validation.isel(time=slice(4))
        ahead = wp.forecast(model, TIMES[4:], data=known).predicted.values
        return float(np.sqrt(np.mean((ahead - validation.observed.values[:, 4:]) ** 2)))

    assert error(wp.Warp(root_width=8), context=4) < error(wp.Warp(root_width=8))
    named, number = wp.Warp(root_width=8), wp.Warp(root_width=8)
    contexts = np.full(300, 4)
    data = data.assign(shown=("trajectory", contexts))
    validation = validation.assign(shown=("trajectory", contexts[:100]))
    assert error(named, context="shown") == error(number, context=4)


def test_samples_within_each_context_are_not_predicted() -> None:
    data = sines(60, 0)
    contexts = np.random.Generator(np.random.Philox(key=0)).integers(2, 10, 60)
    within = np.arange(16) < contexts[:, None]
    data = data.assign(shown=("trajectory", contexts))
    task = WarpTask(wp.Warp(root_width=4, dtype="float64"), data, data, 0, "shown")
    index = torch.arange(60)
    network = task.network
    signals, elapsed = task.training.signals, task.training.elapsed
    squares = []
    for row, shown in enumerate(contexts):
        theta = network.states(signals[[row], :shown])[:, -1]
        error = network.frozen(theta, elapsed[[row]]) - task.training.target[[row]]
        squares.append(error[0].square()[torch.as_tensor(~within[row])])
    assert torch.allclose(task.loss(index, 0), torch.cat(squares).mean(), rtol=1e-12)


class TestEveryWarp:
    def test_stream_equals_batch(self, model: wp.Warp) -> None:
        random = np.random.Generator(np.random.Philox(key=0))
        times = 50.0 + np.cumsum(random.uniform(0.01, 0.2, (5, 16)), axis=1)
        data = simulate("sine", n=5, times=times, noise=0.1, missing=0.3, seed=3)
        data.observed[0, :2] = np.nan
        batch = batch_states(model, data)
        state = model.init_state(5)
        for place in range(16):
            state, theta = model.step(state, times[:, place], data.observed.values[:, place])
            torch.testing.assert_close(theta, batch[:, place], rtol=1e-11, atol=1e-11)

    def test_a_stream_in_single_precision_is_close(self, model: wp.Warp) -> None:
        data = sines(3, 2, noise=0.05)
        expected = batch_states(model, data)
        state = model.init_state(3, dtype=torch.float32)
        for place, time in enumerate(TIMES):
            state, theta = model.step(state, time, data.observed.values[:, place])
            assert theta.dtype == torch.float32
            torch.testing.assert_close(theta.double(), expected[:, place], rtol=1e-4, atol=1e-5)

    def test_alone_equals_in_the_batch(self, model: wp.Warp) -> None:
        data = sines(6, 4, missing=0.2)
        together = batch_states(model, data)
        for row in range(6):
            alone = batch_states(model, data.isel(trajectory=[row]))[0]
            torch.testing.assert_close(alone, together[row], rtol=1e-12, atol=1e-12)

    def test_a_file_gives_the_same_states(self, model: wp.Warp, tmp_path: Path) -> None:
        path = tmp_path / "warp.safetensors"
        model.save(path)
        again = wp.Warp.load(path)
        assert repr(again) == repr(model)
        assert again.outputs == ("value",)
        data = sines(6, 4, missing=0.2)
        assert torch.equal(batch_states(again, data), batch_states(model, data))
        with pytest.raises(OutputExistsError, match=r"warp\.safetensors exists already"):
            model.save(path)


def test_a_physics_model_is_not_a_warp(tmp_path: Path) -> None:
    trained().save(tmp_path / "warp.safetensors")
    with pytest.raises(UsageError, match="holds a Warp, expected a WarpPhys"):
        wp.WarpPhys.load(tmp_path / "warp.safetensors")


def test_failed_simulations_are_left_out() -> None:
    data = sines(50, 0)
    data.observed[3, 4:] = np.nan
    data.observed[7] = np.nan
    data.status[3], data.status[7] = 1, 1
    data.observed[3, :4] = 1e30
    model = wp.Warp(root_width=4, width=8)
    history = wp.train(model, data, data, steps=3, progress=False)
    assert history.validation_loss.max() < 10.0
    assert model.built().scaling.center.abs() < 1.0


def test_several_outputs_of_no_known_system() -> None:
    random = np.random.Generator(np.random.Philox(key=0))
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), random.normal(size=(20, 9, 3)))},
        coords={"time": np.arange(9.0), "output": ["a", "b", "c"]},
    )
    model = wp.Warp(root_width=4, width=8)
    wp.train(model, data, steps=2, progress=False)
    assert repr(model).endswith("trained on a, b, c)")


class TestMessages:
    @pytest.mark.parametrize(
        ("context", "message"),
        [
            (0, "context: expected 1 to 15 of 16 samples, got 0 for trajectory 0"),
            (16, "expected 1 to 15 of 16 samples, got 16"),
            ("shown", "context: expected a number or the name of a variable"),
            (2.5, "context: expected a whole number or the name of a variable, got 2.5"),
        ],
    )
    def test_contexts_that_cannot_be(self, context: int | str, message: str) -> None:
        with pytest.raises(UsageError, match=message):
            wp.train(wp.Warp(), sines(20, 0), context=context, progress=False)

    def test_context_is_of_warp(self) -> None:
        with pytest.raises(UsageError, match="context is of Warp"):
            wp.train(wp.WarpPhys("sine", head="direct"), sines(20, 0), context=4, progress=False)

    def test_frequencies_are_counted(self) -> None:
        with pytest.raises(UsageError, match=r"expected frequencies to be 0, 1, 2, \.\.\., got -1"):
            wp.Warp(frequencies=-1)

    def test_not_trained_yet(self) -> None:
        for action in (wp.Warp().init_state, lambda: wp.Warp().save("warp.safetensors")):
            with pytest.raises(UsageError, match="the Warp model is not trained yet"):
                action()

    def test_one_sample_has_no_next(self) -> None:
        data = sines(20, 0).isel(time=[0])
        with pytest.raises(UsageError, match="expected at least two a record"):
            wp.train(wp.Warp(), data, progress=False)

    @pytest.mark.parametrize(
        ("times", "observed", "message"),
        [
            (0.0, [[1.0]] * 2, "expected times to increase, got 0 for sensor 0 after 0"),
            (1.0, [[1.0, 2.0]] * 2, r"expected observed of shape \(2, 1\)"),
            (np.nan, [[1.0]] * 2, "expected finite times, got nan for sensor 0"),
        ],
    )
    def test_mistakes_in_a_stream(self, times: Any, observed: Any, message: str) -> None:
        model = trained()
        state, _ = model.step(model.init_state(2), 0.0, [[0.5], [0.1]])
        with pytest.raises(UsageError, match=message):
            model.step(state, times, observed)


def test_a_drive_and_a_structure_of_the_users_own(tmp_path: Path) -> None:
    model = trained(drive=Rate(), structure=ScaledSwap)
    assert repr(model).startswith("Warp(drive=my_rate, structure=my_scaled_swap, trained on")
    path = tmp_path / "own.safetensors"
    model.save(path)
    with pytest.raises(SchemaError, match=r"pass drive=YourDrive\(\.\.\.\)"):
        wp.Warp.load(path, structure=ScaledSwap)
    again = wp.Warp.load(path, drive=Rate(), structure=ScaledSwap)
    data = sines(3, 5)
    assert torch.equal(batch_states(model, data), batch_states(again, data))
