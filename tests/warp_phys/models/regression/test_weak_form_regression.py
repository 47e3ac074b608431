"""The regression head: least squares on the weak form, nothing to train."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from tests.warp_phys.user_systems import DrivenOscillator
from warp_phys.data_gen import simulate
from warp_phys.models.regression.weak_form_regression import WeakFormRegression
from warp_phys.records.records import read_records
from warp_phys.systems import (
    SIR,
    DampedOscillator,
    LotkaVolterra,
    MassSpringDamper,
    Parameter,
    Pendulum,
    SchemaError,
    State,
    System,
    UsageError,
    VanDerPol,
    integrate,
)

TIGHT = {"rtol": 1e-12, "atol": 1e-12, "method": "dop853"}


def estimate(system: System, data: xr.Dataset, **settings: Any) -> xr.Dataset:
    return wp.estimate(wp.WarpPhys(system, head="regression", **settings), data)


def true_coordinates(system: System, data: xr.Dataset) -> np.ndarray:
    parameters = torch.as_tensor(data.true_parameters.values).T
    return system.coordinates_from_parameters(parameters).T.numpy()


def relative_error(system: System, data: xr.Dataset) -> float:
    """Return the root mean square of the coordinates' relative errors at the last sample."""
    found = estimate(system, data).coordinates.values[:, -1]
    return float(np.sqrt(np.mean((found / true_coordinates(system, data) - 1.0) ** 2)))


@pytest.fixture(scope="module")
def springs() -> xr.Dataset:
    return simulate("mass_spring_damper", n=3, times=np.linspace(0.0, 1.0, 513), seed=0)


@pytest.fixture(scope="module")
def noisy() -> xr.Dataset:
    times = np.linspace(1900.0, 1920.0, 41)
    return simulate("lotka_volterra", n=7, times=times, noise=0.1, missing=0.1, seed=3)


class TestAccuracy:
    # Initial states and records' lengths that leave no coordinate all but undetermined.
    @pytest.mark.parametrize(
        ("system", "length", "initial"),
        [
            (MassSpringDamper(), 0.4, None),
            (LotkaVolterra(), 10.0, None),
            (SIR(), 7.0, {"susceptible": 700.0, "infected": (20.0, 60.0)}),
        ],
        ids=lambda value: value.name if isinstance(value, System) else "",
    )
    def test_error_falls_with_the_fourth_power_of_the_step(
        self, system: System, length: float, initial: Any
    ) -> None:
        times = np.linspace(0.0, length, 1025)
        finest = simulate(
            system, n=8, times=times, initial_states=initial, seed=0, method="dop853", rtol=1e-13
        )
        strides = np.array([16, 8, 4, 2, 1])
        errors = [relative_error(system, finest.isel(time=slice(None, None, k))) for k in strides]
        order = np.polyfit(np.log(strides), np.log(errors), 1)[0]
        assert order == pytest.approx(4.0, abs=0.3)
        assert errors[-1] < 1e-6

    @pytest.mark.parametrize("system", [VanDerPol(), Pendulum(), DampedOscillator()])
    def test_other_affine_systems(self, system: System) -> None:
        times = np.linspace(0.0, 0.5 * float(np.max(system.default_times)), 401)
        data = simulate(system, n=2, times=times, seed=0, **TIGHT)
        found = estimate(system, data).parameters[:, -1]
        known = [p.name for p in system.free_parameters]
        error = found.sel(parameter=known) / data.true_parameters.sel(parameter=known) - 1.0
        assert abs(error).max() < 1e-3

    def test_own_uneven_grids_and_missing_samples(self) -> None:
        random = np.random.Generator(np.random.Philox(key=0))
        times = 1900.0 + np.cumsum(random.uniform(0.005, 0.035, (6, 500)), axis=1)
        times[2:4, 400:] = np.nan
        data = simulate("lotka_volterra", n=6, times=times, missing=0.1, seed=0, **TIGHT)
        found = estimate(LotkaVolterra(), data)
        last = np.isfinite(times).sum(axis=1) - 1
        final = found.parameters.values[np.arange(6), last]
        np.testing.assert_allclose(final, data.true_parameters, rtol=1e-3)
        assert np.isnan(found.parameters.values[2, 400:]).all()

    def test_known_inputs(self) -> None:
        times = np.linspace(0.0, 5.0, 101)
        force = {"force": np.sin(times)}
        data = simulate(DrivenOscillator(), n=4, times=times, inputs=force, seed=0)
        found = estimate(DrivenOscillator(), data).parameters[:, -1]
        # The input is straight between samples, with a kink at each: second order.
        np.testing.assert_allclose(found, data.true_parameters, rtol=1e-3)

    def test_noise_on_a_rate_that_is_zero(self) -> None:
        """B = 0 exactly: the data say that the rate is zero, not that they say nothing."""

        class Decay(System):
            """x' = -rate x."""

            states = (State("x", "1"),)
            parameters = (Parameter("rate", "1", "real", (-1.0, 1.0)),)

            def rhs(self, t, y, p):
                return (-p.rate * y[0],)

        data = simulate(Decay(), n=2, times=np.arange(6.0), parameters={"rate": 0.0})
        found = estimate(Decay(), data).parameters.values
        np.testing.assert_array_equal(found[:, 1:], np.zeros((2, 5, 1)))


class TestLogarithms:
    """The log-difference drive."""

    def test_spikes_between_samples_cost_it_less(self) -> None:
        """Lotka-Volterra's logarithms turn less sharply than its states."""
        times = np.linspace(0.0, 1.0, 128)
        system = LotkaVolterra()
        ranges = {"alpha": (20, 50), "beta": (80, 120), "gamma": (80, 120), "delta": (20, 50)}
        start = {"prey": (2.0, 4.0), "predator": (0.01, 0.05)}
        data = simulate(
            system, n=40, times=times, parameters=ranges, initial_states=start, seed=0, **TIGHT
        )

        def worst(drive: str) -> float:
            found = estimate(system, data, drive=drive).parameters[:, -1]
            return float(abs(found / data.true_parameters - 1.0).max())

        assert worst("log_difference") < 0.3 * worst("difference")

    def test_states_that_may_be_negative_keep_their_differences(self) -> None:
        system = PositiveAndReal()
        data = simulate(system, n=3, times=np.linspace(0.0, 2.0, 101), seed=0, **TIGHT)
        assert (data.noiseless.sel(output="x") < 0.0).any()
        found = estimate(system, data, drive="log_difference").parameters[:, -1]
        np.testing.assert_allclose(found, data.true_parameters, rtol=1e-5)

    def test_a_sample_without_logarithm_is_a_gap(self, noisy: xr.Dataset) -> None:
        holed, negative = noisy.copy(deep=True), noisy.copy(deep=True)
        for row, place, value in ((1, 0, 0.0), (4, 17, -2.0), (4, 18, -1.0)):
            holed.observed[row, place] = np.nan
            negative.observed[row, place, 1] = value
        expected, found = (
            estimate(LotkaVolterra(), data, drive="log_difference") for data in (holed, negative)
        )
        for name in ("parameters", "coordinates", "initial_state", "initial_time", "predicted"):
            np.testing.assert_array_equal(found[name], expected[name])
        streamed = stream(LotkaVolterra(), negative, drive="log_difference")
        np.testing.assert_allclose(streamed[:, 20:], found.parameters[:, 20:], rtol=1e-9)

    def test_a_record_without_a_positive_sample(self, noisy: xr.Dataset) -> None:
        negative = noisy.copy(deep=True)
        negative.observed[2] = -1.0
        found = coordinates(negative, logarithms=True)
        assert np.isnan(found[2]).all()
        others = np.arange(7) != 2
        np.testing.assert_array_equal(found[others], coordinates(noisy, logarithms=True)[others])

    @pytest.mark.parametrize(("distribution", "better"), [("lognormal", True), ("normal", False)])
    def test_noise_in_proportion_suits_it(self, distribution: Any, better: bool) -> None:
        times = np.linspace(1900.0, 1920.0, 401)
        noise = 0.02 if distribution == "lognormal" else 0.05
        data = simulate(
            "lotka_volterra", n=200, times=times, noise=noise, distribution=distribution, seed=1
        )

        def median(drive: str) -> float:
            found = estimate(LotkaVolterra(), data, drive=drive).parameters[:, -1]
            return float(np.nanmedian(abs(found / data.true_parameters - 1.0)))

        assert (median("log_difference") < median("difference")) is better

    def test_needs_a_positive_state(self) -> None:
        with pytest.raises(UsageError, match="none of pendulum is declared so"):
            wp.WarpPhys("pendulum", head="regression", drive="log_difference")


class PositiveAndReal(System):
    """x' = y - p x, y' = -q y with y positive."""

    states = (State("x", "1"), State("y", "1", support="positive"))
    parameters = (
        Parameter("p", "1", "positive", (0.5, 1.0)),
        Parameter("q", "1", "positive", (0.5, 1.0)),
    )
    default_initial_state = {"x": (-2.0, -1.0), "y": (1.0, 2.0)}

    def rhs(self, t, y, p):
        return y[1] - p.p * y[0], -p.q * y[1]


class TestIdentifiability:
    def test_free_vibration_tells_the_ratios_alone(self, springs: xr.Dataset) -> None:
        found = estimate(MassSpringDamper(), springs)
        assert found.parameters.isnull().all()
        assert "predicted" not in found
        assert found.coordinate.values.tolist() == ["k_over_m", "c_over_m"]
        assert found.coordinate_unit.values.tolist() == ["1/s2", "1/s"]
        m, k, c = springs.true_parameters.values.T
        ratios = np.stack([k / m, c / m], axis=1)
        np.testing.assert_allclose(found.coordinates[:, -1], ratios, rtol=1e-5)

    @pytest.mark.parametrize("name", ["m", "k", "c"])
    def test_one_known_parameter_tells_the_others(self, springs: xr.Dataset, name: str) -> None:
        for row in range(3):
            truth = springs.true_parameters[row]
            system = MassSpringDamper(**{name: float(truth.sel(parameter=name))})
            found = estimate(system, springs.isel(trajectory=row)).parameters[0, -1]
            np.testing.assert_allclose(found, truth, rtol=1e-5)

    def test_too_few_samples_determine_nothing(self) -> None:
        data = simulate("lotka_volterra", n=3, times=np.linspace(0, 8, 41), seed=0)
        found = estimate(LotkaVolterra(), data).parameters.values
        # Four unknowns, two states: two differences at least.
        assert np.isnan(found[:, :2]).all()
        assert np.isfinite(found[:, 3:]).all()

    def test_rest_tells_nothing(self) -> None:
        rest = {"position": 0.0, "velocity": 0.0}
        data = simulate("damped_oscillator", n=2, times=np.arange(9.0), initial_states=rest)
        assert estimate(DampedOscillator(), data).parameters.isnull().all()

    def test_a_state_that_is_not_there_tells_nothing_of_its_rates(self) -> None:
        """Prey without predators grow with alpha; the rest stays unknown."""
        system = LotkaVolterra()
        parameters = torch.tensor([[0.5, 0.03, 0.8, 0.02]]).double()
        times = np.linspace(0.0, 4.0, 81)
        run = integrate(system, times, torch.tensor([[10.0, 0.0]]).double(), parameters)
        data = xr.Dataset(
            {"observed": (("trajectory", "time", "output"), run.states.numpy())},
            coords={"time": times, "output": ["prey", "predator"]},
        )
        found = estimate(system, data).parameters.values[0, -1]
        assert found[0] == pytest.approx(0.5, rel=1e-6)
        assert np.isnan(found[1:]).all()


class TestForgetting:
    def test_a_parameter_that_changes_midway_is_followed(self) -> None:
        system = LotkaVolterra()
        times = np.linspace(0.0, 40.0, 801)
        before, after = np.array([[0.55, 0.028, 0.8, 0.024]]), np.array([[0.65, 0.028, 0.7, 0.02]])
        first = integrate(system, times[:401], np.array([[30.0, 5.0]]), before, **TIGHT).states
        second = integrate(system, times[400:], first[:, -1], torch.as_tensor(after), **TIGHT)
        states = torch.cat([first, second.states[:, 1:]], dim=1).numpy()
        data = xr.Dataset(
            {"observed": (("trajectory", "time", "output"), states)},
            coords={"time": times, "output": ["prey", "predator"]},
        )
        found = estimate(system, data, forgetting=0.9).parameters.values[0]
        np.testing.assert_allclose(found[400], before[0], rtol=1e-5)
        np.testing.assert_allclose(found[-1], after[0], rtol=1e-5)
        kept = estimate(system, data).parameters.values[0]
        np.testing.assert_allclose(kept[400], before[0], rtol=1e-5)
        assert abs(kept[-1] / after[0] - 1.0).max() > 0.1


def stream(system: System, data: xr.Dataset, **settings: Any) -> np.ndarray:
    """Return parameters (N, T, P) of a streaming pass over records of the same length."""
    model = wp.WarpPhys(system, head="regression", **settings)
    records = data.observed.values
    times = np.broadcast_to(data.time.values, records.shape[:2])
    inputs = data.inputs.values if "inputs" in data else None
    state = model.init_state(len(records))
    found = []
    for place in range(records.shape[1]):
        known = None if inputs is None else inputs[:, place]
        state, now = model.step(state, times[:, place], records[:, place], known)
        found.append(now.parameters.numpy())
    return np.stack(found, axis=1)


class TestStream:
    @pytest.mark.parametrize("forgetting", [1.0, 0.95])
    @pytest.mark.parametrize("drive", ["difference", "log_difference"])
    def test_equals_the_batch(self, forgetting: float, drive: str) -> None:
        random = np.random.Generator(np.random.Philox(key=1))
        times = np.cumsum(random.uniform(0.05, 0.3, (5, 40)), axis=1)
        data = simulate("lotka_volterra", n=5, times=times, noise=0.02, missing=0.1, seed=2)
        data.observed[3, :4] = np.nan
        batch = coordinates(data, forgetting, logarithms=drive == "log_difference")
        found = stream(LotkaVolterra(), data, forgetting=forgetting, drive=drive)
        # Up to the conditioning of so few samples.
        np.testing.assert_allclose(found, batch, rtol=1e-8)
        np.testing.assert_allclose(found[:, 20:], batch[:, 20:], rtol=1e-11)

    def test_equals_the_batch_with_inputs(self) -> None:
        times = np.linspace(0.0, 5.0, 41)
        data = simulate(
            DrivenOscillator(),
            n=3,
            times=times,
            inputs={"force": np.cos(times)},
            noise=0.01,
            seed=0,
        )
        batch = estimate(DrivenOscillator(), data).parameters.values
        np.testing.assert_allclose(stream(DrivenOscillator(), data), batch, rtol=1e-8)

    def test_memory_does_not_grow(self) -> None:
        model = wp.WarpPhys("lotka_volterra", head="regression")
        state = model.init_state(2)
        sizes = [value.numel() for value in vars(state).values()]
        for time in range(12):
            state, _ = model.step(state, time, [[10.0 + time, 5.0]] * 2)
        assert [value.numel() for value in vars(state).values()] == sizes


def coordinates(
    data: xr.Dataset, forgetting: float = 1.0, *, logarithms: bool = False
) -> np.ndarray:
    """Return q (N, T, Q) of Lotka-Volterra records, without predictions."""
    system = LotkaVolterra()
    regression = WeakFormRegression(system, forgetting, logarithms=logarithms)
    return regression.estimate(read_records(data, system)).numpy()


class TestBatch:
    @pytest.mark.parametrize("forgetting", [1.0, 0.9])
    def test_a_trajectory_alone_equals_itself_in_the_batch(
        self, noisy: xr.Dataset, forgetting: float
    ) -> None:
        together = coordinates(noisy, forgetting)
        for row in range(7):
            alone = coordinates(noisy.isel(trajectory=[row]), forgetting)
            np.testing.assert_allclose(alone[0], together[row], rtol=1e-12, atol=1e-12)

    def test_so_does_its_prediction(self) -> None:
        times = np.linspace(1900.0, 1920.0, 81)
        data = simulate("lotka_volterra", n=7, times=times, missing=0.1, seed=3)
        together = estimate(LotkaVolterra(), data)
        for row in range(7):
            alone = estimate(LotkaVolterra(), data.isel(trajectory=row))
            for name in ("parameters", "coordinates", "initial_state", "predicted"):
                np.testing.assert_allclose(
                    alone[name][0], together[name][row], rtol=1e-12, atol=1e-12, err_msg=name
                )

    def test_a_hole_changes_nothing_before_it_or_beside_it(self, noisy: xr.Dataset) -> None:
        whole = coordinates(noisy)
        holed = noisy.copy(deep=True)
        holed.observed[4, 17, 1] = np.nan
        found = coordinates(holed)
        others = np.arange(7) != 4
        np.testing.assert_array_equal(found[others], whole[others])
        np.testing.assert_array_equal(found[4, :17], whole[4, :17])
        np.testing.assert_array_equal(found[4, 17], found[4, 16])
        assert np.isfinite(found[4, 17:]).all()

    def test_a_record_of_which_no_sample_is_complete(self, noisy: xr.Dataset) -> None:
        holed = noisy.copy(deep=True)
        holed.observed[2, ::2, 0] = np.nan
        holed.observed[2, 1::2, 1] = np.nan
        found = coordinates(holed)
        assert np.isnan(found[2]).all()
        np.testing.assert_array_equal(found[:2], coordinates(noisy)[:2])


class TestMessages:
    def test_partly_observed_records(self) -> None:
        data = simulate("lotka_volterra", n=2, times=np.arange(9.0), observe=["prey"], seed=0)
        message = "the model reads the outputs prey, predator, the data set has prey"
        with pytest.raises(SchemaError, match=message):
            estimate(LotkaVolterra(), data)

    def test_nothing_to_train(self) -> None:
        data = simulate("lotka_volterra", n=9, times=np.arange(9.0), seed=0)
        model = wp.WarpPhys("lotka_volterra", head="regression")
        with pytest.raises(UsageError, match="nothing to train; call estimate directly"):
            wp.train(model, data, progress=False)
