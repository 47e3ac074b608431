from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.models.calibration import FEWEST_RECORDS
from warp_phys.systems import LotkaVolterra
from warp_phys.systems.errors import SchemaError, UnknownNameError, UsageError

TIMES = np.linspace(0.0, 8.0, 9)


def records(n: int = 480, **options: Any) -> xr.Dataset:
    return simulate(LotkaVolterra(), n=n, times=TIMES, noise=0.05, seed=3, **options)


def small_model(**settings: Any) -> wp.WarpPhys:
    return wp.WarpPhys(LotkaVolterra(), head="direct", window=4, width=16, **settings)


def short(model: wp.WarpPhys, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.train(model, data, **{"steps": 40, "batch_size": 32, "progress": False} | options)


def weights(model: wp.WarpPhys) -> dict[str, torch.Tensor]:
    return model.built()[0].state_dict()


def assert_same_weights(first: wp.WarpPhys, second: wp.WarpPhys) -> None:
    for name, value in weights(first).items():
        assert torch.equal(value, weights(second)[name]), name


def test_training_lowers_the_validation_loss() -> None:
    history = short(small_model(), records(), steps=200, learning_rate=1e-2)
    assert history["validation_loss"][-1] < 0.8 * history["validation_loss"][0]
    assert (history["step"].diff("step") > 0).all()
    assert history.attrs["seed"] == 0


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    data = records()
    models = [small_model() for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        short(model, data, seed=seed)
    assert_same_weights(models[0], models[1])
    assert not torch.equal(
        weights(models[0])["recurrence.input_matrix"], weights(models[2])["recurrence.input_matrix"]
    )


def test_training_draws_from_no_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    short(small_model(), records(), steps=3)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    data = records()
    whole, resumed = small_model(), small_model()
    short(whole, data)
    path = tmp_path / "run.safetensors"

    class KilledError(RuntimeError):
        pass

    def kill_at(step: int) -> Any:
        from warp_phys.training import optimize as _train

        original = _train._one_step

        def one_step(task: Any, optimizer: Any, schedule: Any, state: Any) -> float | None:
            if state.step == step:
                raise KilledError
            return original(task, optimizer, schedule, state)

        return one_step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warp_phys.training.optimize._one_step", kill_at(23))
        with pytest.raises(KilledError):
            short(resumed, data, checkpoint=path)
    assert not resumed.trained
    history = short(resumed, data, checkpoint=path)
    assert_same_weights(whole, resumed)
    assert history["step"].values[-1] == 40
    # A finished run is recognized, and nothing is trained again.
    again = small_model()
    short(again, data, checkpoint=path)
    assert_same_weights(whole, again)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    short(small_model(), records(), checkpoint=path)
    with pytest.raises(SchemaError, match=r"run.safetensors belongs to another training run.*seed"):
        short(small_model(), records(), checkpoint=path, seed=1)


def test_a_time_budget_ends_training_early() -> None:
    history = short(small_model(), records(), steps=1_000_000, time_budget=0.5)
    assert history["step"].values[-1] < 1_000_000
    assert history["seconds"].values[-1] < 10.0


def test_patience_ends_training_that_no_longer_improves() -> None:
    history = short(small_model(), records(), steps=200, learning_rate=1e-12, patience=2)
    assert history["step"].values[-1] < 200


def test_the_best_weights_are_kept() -> None:
    model = small_model()
    history = short(model, records(), steps=100, learning_rate=0.5, patience=None)
    best = int(history["validation_loss"].argmin("step"))
    settings = json.loads(history.attrs["settings"])
    assert settings["best_step"] == int(history["step"][best])


def test_failed_simulations_are_left_out() -> None:
    data = records()
    data["status"][:50] = 1
    data["observed"][:50] = np.nan
    model = small_model()
    history = short(model, data, validation=records(200))
    assert model.facts is not None
    assert model.facts.trajectories == 430
    assert json.loads(history.attrs["settings"])["failed_records_left_out"] == 50


@pytest.mark.parametrize("loss", ["reconstruction", "both"])
@pytest.mark.parametrize("root", ["step", "rollout"])
def test_reconstruction_trains_through_the_flow(loss: str, root: str) -> None:
    data = records(420)
    history = short(small_model(root=root), data, loss=loss, steps=60, learning_rate=1e-2)
    assert np.isfinite(history["validation_loss"]).all()
    assert history["validation_loss"].min() < history["validation_loss"][0]


def test_reconstruction_needs_no_truth_and_finds_identifiable_parameters() -> None:
    # The paper's SINE task: the phase is in the samples, and nobody told the model about it.
    data = simulate("sine", n=480, times=np.linspace(0.0, 1.0, 16), seed=1)
    truth = data["true_parameters"]
    model = wp.WarpPhys("sine", head="direct", window=4, width=16)
    measured = data.drop_vars(["true_parameters", "true_initial_state", "true_noise_sd"])
    short(model, measured, steps=300, learning_rate=2e-2)
    found = wp.estimate(model, measured)
    error = abs(found["parameters"][:, -1] - truth).sel(parameter="phase")
    assert float(error.median()) < 0.02
    assert np.isnan(found["parameters_lower"].sel(parameter="phase")).all()
    # Nobody trained its scales, so a forecast has no bands either.
    forecast = wp.forecast(found.isel(trajectory=[0]), [1.5])
    assert set(forecast.data_vars) == {"predicted"}


def test_a_supervised_loss_needs_the_truth() -> None:
    with pytest.raises(UsageError, match="needs 'true_parameters'"):
        short(small_model(), records().drop_vars("true_parameters"), loss="supervised")


def test_an_unknown_loss_is_named() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'supervised'"):
        short(small_model(), records(), loss="superwised")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"seed": -1}, "seed"),
        ({"time_budget": 0}, "time_budget"),
    ],
)
def test_bad_schedules_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        short(small_model(), records(), **options)


def test_the_regression_head_has_nothing_to_train() -> None:
    with pytest.raises(UsageError, match="nothing to train"):
        short(wp.WarpPhys(LotkaVolterra(), head="regression"), records())


def test_initial_states_that_contradict_the_parameters_are_refused() -> None:
    data = simulate("sine", n=100, times=TIMES, initial_states={"angle": 1.0}, seed=0)
    with pytest.raises(UsageError, match="initial state of sine follows from its parameters"):
        short(wp.WarpPhys("sine", head="direct", window=2, width=8), data)


def test_a_supervised_training_needs_the_initial_states_too() -> None:
    with pytest.raises(SchemaError, match="expected 'true_initial_state'"):
        short(small_model(), records().drop_vars("true_initial_state"))


def test_a_simulated_number_is_a_constant_of_the_model() -> None:
    """The model and `fit` know the same initial states."""
    data = records(FEWEST_RECORDS, initial_states={"prey": 3.0, "predator": (1.0, 3.0)})
    model = small_model()
    short(model, data, steps=2, validation=data)
    found = wp.estimate(model, data)
    known = data["known_initial_state"]
    at_last = found["initial_state"].isel(time=-1)
    np.testing.assert_allclose(at_last.sel(state="prey"), known.sel(state="prey"), rtol=1e-6)
    initial = found["unknown"].values[found["unknown_kind"] == "initial_state"]
    fitted = wp.fit(LotkaVolterra(), data.isel(trajectory=[0]), progress=False)
    unknown = fitted["estimated"].values[fitted["estimated_kind"] == "initial_state"]
    assert [str(name).partition("(")[0] for name in initial] == ["predator"]
    assert unknown.tolist() == ["predator(0)"]


def test_a_loss_is_not_for_warp() -> None:
    with pytest.raises(UsageError, match="expected no loss with Warp, which learns outputs alone"):
        short(wp.Warp(), records(), loss="supervised")


def test_data_without_variation_are_refused() -> None:
    data = simulate(
        LotkaVolterra(),
        n=40,
        times=TIMES,
        parameters=dict.fromkeys(LotkaVolterra().parameter_names, 0.5),
        initial_states={"prey": 3.0, "predator": 2.0},
        seed=0,
    )
    with pytest.raises(UsageError, match="no parameter of lotka_volterra varies"):
        short(small_model(), data)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "no parameter of lotka_volterra varies over the data set"),
        (12, "expected at least 30 records for the covariance of 6 unknowns, got 12"),
    ],
)
def test_the_information_head_needs_records_that_differ(count: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wp.train(wp.WarpPhys(LotkaVolterra()), records(count))


def test_few_validation_records_leave_the_bands_open_and_say_so() -> None:
    model = small_model()
    with pytest.warns(UserWarning, match=f"at least {FEWEST_RECORDS} validation records, got 40"):
        short(model, records(), validation=records(40))
    assert np.isnan(wp.estimate(model, records(3))["parameters_lower"]).all()
