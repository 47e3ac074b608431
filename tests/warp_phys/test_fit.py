"""What `fit` finds, against SciPy's least squares, the truth, and itself in another batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares, minimize

import warp_phys as wp
from warp_phys.data_gen import log_uniform, simulate
from warp_phys.systems import (
    SIR,
    DampedOscillator,
    LotkaVolterra,
    MassSpringDamper,
    Parameter,
    Pendulum,
    Sine,
    State,
    System,
    VanDerPol,
    integrate,
)

Floats = NDArray[np.float64]
CONVERGED, DIVERGED, TOO_FEW_VALUES, INVALID_DATA, OUT_OF_TIME = 0, 3, 4, 5, 6
OSCILLATOR = DampedOscillator()
TIMES = np.linspace(0.0, 1.0, 31)


def fit(system: System, data: xr.Dataset, **options: Any) -> xr.Dataset:
    return wp.fit(system, data, progress=False, **options)


def oscillations(n: int = 3, noise: float = 0.05, **options: Any) -> xr.Dataset:
    return simulate(
        OSCILLATOR,
        n,
        TIMES,
        parameters={"natural_frequency": (12.0, 20.0), "damping_rate": (1.0, 3.0)},
        noise=noise,
        seed=3,
        **options,
    )


def oscillation(t: Floats, unknowns: Any) -> Any:
    """Return position and velocity (T, 2) in closed form; unknowns may be complex."""
    frequency, rate, position, velocity = unknowns
    shifted = np.sqrt(frequency**2 - rate**2)
    cosine, sine = np.cos(shifted * t), np.sin(shifted * t) / shifted
    x = position * cosine + (velocity + rate * position) * sine
    v = velocity * cosine - (frequency**2 * position + rate * velocity) * sine
    return np.exp(-rate * t)[:, None] * np.stack([x, v], axis=1)


def residuals(record: xr.Dataset, sd: Any = 1.0) -> Callable[[Any], Any]:
    """Return the weighted residuals of one record's seen values as a function of unknowns."""
    observed = record["observed"].values
    seen = np.isfinite(observed)
    t = record["time"].values
    return lambda unknowns: ((oscillation(t, unknowns) - observed) / sd)[seen]


def truth_of(record: xr.Dataset) -> Floats:
    return np.concatenate([record["true_parameters"].values, record["true_initial_state"].values])


def by_scipy(residual: Callable[[Any], Any], start: Any, **options: Any) -> Any:
    exact = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "x_scale": "jac", "jac": "cs"}
    return least_squares(residual, start, **{**exact, **options})


def found(fitted: xr.Dataset, row: int = 0) -> Floats:
    one = fitted.isel(trajectory=row)
    return np.concatenate([one["parameters"].values, one["initial_state"].values])


def same_bits(one: xr.Dataset, other: xr.Dataset) -> None:
    for name in ("parameters", "standard_errors", "predicted", "initial_state", "status"):
        np.testing.assert_array_equal(one[name].values, other[name].values, err_msg=name)


class TestTruth:
    CASES = {
        "sine": (Sine(), Sine().default_times, {}),
        "damped_oscillator": (OSCILLATOR, TIMES, {"initial_state": "estimate"}),
        "mass_spring_damper": (MassSpringDamper(m=0.03), TIMES, {}),
        "pendulum": (Pendulum(), np.linspace(0.0, 5.0, 41), {}),
        "lotka_volterra": (
            LotkaVolterra(
                alpha=(0.5, 1.0), beta=(0.02, 0.04), gamma=(0.5, 1.0), delta=(0.02, 0.04)
            ),
            np.arange(21.0),
            {},
        ),
        "van_der_pol": (VanDerPol(), np.linspace(0.0, 10.0, 61), {}),
        "sir": (SIR(transmission=(1.0, 3.0)), np.arange(15.0), {}),
    }

    def data(self, name: str, noise: float, **options: Any) -> xr.Dataset:
        system, times, _ = self.CASES[name]
        return simulate(system, 4, times, noise=noise, seed=2, **options)

    @pytest.mark.parametrize("name", CASES)
    def test_is_found_within_its_standard_errors(self, name: str) -> None:
        system, _, options = self.CASES[name]
        data = self.data(name, 0.02)
        fitted = fit(system, data, **options)
        assert (fitted["status"] == CONVERGED).all()
        free = {"parameter": list(system.free_names)}
        error = (fitted["parameters"] - data["true_parameters"]).sel(free)
        assert (abs(error) < 5.0 * fitted["standard_errors"].sel(free)).all()
        if not system.has_initial_state:
            error = fitted["initial_state"] - data["true_initial_state"]
            assert (abs(error) < 5.0 * fitted["initial_state_standard_errors"]).all()

    @pytest.mark.parametrize("name", CASES)
    def test_is_found_exactly_without_noise(self, name: str) -> None:
        system, _, options = self.CASES[name]
        data = self.data(name, 0.0, rtol=1e-12, atol=1e-30)
        fitted = fit(system, data, rtol=1e-12, **options)
        assert (fitted["status"] == CONVERGED).all()
        np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-8)

    @pytest.mark.parametrize("factor", [0.7, 1.3])
    def test_a_frequency_that_is_off(self, factor: float) -> None:
        """Over 10 s, in which a start 30 % off falls out of step ten times."""
        data = simulate(
            OSCILLATOR,
            3,
            np.linspace(0.0, 10.0, 601),
            parameters={"natural_frequency": [15.0, 18.0, 20.0], "damping_rate": 0.3},
            noise=0.05,
            seed=0,
        )
        true = data["true_parameters"]
        start = true.copy()
        start.loc[{"parameter": "natural_frequency"}] *= factor
        fitted = fit(OSCILLATOR, data, initial=start)
        assert (fitted["status"] == CONVERGED).all()
        assert (abs(fitted["parameters"] - true) < 5.0 * fitted["standard_errors"]).all()

    @pytest.mark.parametrize("factor", [0.7, 1.3])
    def test_a_period_that_is_off(self, factor: float) -> None:
        system = LotkaVolterra()
        values = {"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024}
        data = simulate(
            system,
            2,
            np.linspace(0.0, 40.0, 121),
            parameters=values,
            initial_states={"prey": 30.0, "predator": (4.0, 8.0)},
            noise=0.05,
            seed=0,
        )
        start = {name: factor * value for name, value in values.items()}
        fitted = fit(system, data, initial=start)
        assert (fitted["status"] == CONVERGED).all()
        error = fitted["parameters"] - data["true_parameters"]
        assert (abs(error) < 5.0 * fitted["standard_errors"]).all()

    def test_small_parameters_beside_long_times(self) -> None:
        data = simulate(Slow(), 3, np.linspace(0.0, 3e5, 20), noise=0.01, seed=0)
        fitted = fit(Slow(), data)
        assert (fitted["status"] == CONVERGED).all()
        error = fitted["parameters"] - data["true_parameters"]
        assert (abs(error) < 5.0 * fitted["standard_errors"]).all()
        assert (fitted["standard_errors"] < 0.05 * data["true_parameters"]).all()

    @pytest.mark.parametrize(("seed", "row"), [(0, 843), (2, 609)])
    def test_records_that_once_ended_elsewhere(self, seed: int, row: int) -> None:
        """Of the accuracy benchmark, seeds 0 and 2."""
        system, data = LotkaVolterra(**STUDY), benchmark_record(seed, row)
        fitted = fit(system, data[["observed"]], initial_state="estimate")
        assert fitted["status"] == CONVERGED
        error = (fitted["parameters"] - data["true_parameters"]).values[0]
        assert (abs(error) < 10.0 * cramer_rao(system, data)[:4]).all()


STUDY = {"alpha": (0.5, 1.5), "beta": (0.3, 1.0), "gamma": (0.5, 1.5), "delta": (0.3, 1.0)}


class Still(LotkaVolterra):
    """What `simulate` draws for LotkaVolterra, without the time it takes to integrate it."""

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return 0.0 * y

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return y0 + 0.0 * t


def benchmark_record(seed: int, row: int) -> xr.Dataset:
    """Return a record of `benchmarks/fit_accuracy.py`."""
    times = np.linspace(0.0, 10.0, 101)
    drawn = simulate(
        Still(**STUDY),
        row + 1,
        times,
        parameters={name: log_uniform(*pair) for name, pair in STUDY.items()},
        initial_states={name: log_uniform(0.5, 2.0) for name in ("prey", "predator")},
        noise={"prey": 1.0, "predator": 1.0},
        seed=seed,
        progress=False,
    ).isel(trajectory=[row])
    data = simulate(
        LotkaVolterra(**STUDY),
        1,
        times,
        parameters=drawn["true_parameters"].values,
        initial_states=drawn["true_initial_state"].values,
    )
    level = 0.02 * data["noiseless"].std("time").values
    noise = (drawn["observed"] - drawn["noiseless"]).values
    data["observed"] = data["noiseless"] + level * noise
    data["true_noise_sd"][:] = level
    return data


def cramer_rao(system: System, data: xr.Dataset) -> Floats:
    """Return the least standard deviations of parameters and initial states of one record."""
    truth, count = truth_of(data.isel(trajectory=0)), len(system.parameters)
    steps = 1e-4 * np.diag(truth)
    moved = np.concatenate([truth + steps, truth - steps])
    options = {"rtol": 1e-10, "atol": 1e-12}
    found = integrate(
        system, data["time"].values, moved[:, count:], moved[:, :count], **options
    ).states.numpy()
    slopes = (found[: len(truth)] - found[len(truth) :]) / (2e-4 * truth[:, None, None])
    rows = (slopes / data["true_noise_sd"].values).reshape(len(truth), -1)
    return np.sqrt(np.linalg.inv(rows @ rows.T).diagonal())


class Slow(System):
    """Decay within days, in seconds."""

    time_unit = "s"
    states = (State("mass", "kg", "positive"),)
    parameters = (Parameter("rate", "1/s", "positive", (3e-6, 3e-5)),)
    default_initial_state = {"mass": (0.5, 2.0)}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (-p.rate * y[0],)


class TestBatches:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> xr.Dataset:
        return oscillations(9, missing=0.2)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data: xr.Dataset) -> xr.Dataset:
        return fit(OSCILLATOR, data)

    def test_alone(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        for row in (0, 4, 8):
            same_bits(fit(OSCILLATOR, data.isel(trajectory=[row])), fitted.isel(trajectory=[row]))

    def test_in_another_order(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        order = [3, 8, 0, 1, 7, 6, 2, 5, 4]
        same_bits(fit(OSCILLATOR, data.isel(trajectory=order)), fitted.isel(trajectory=order))

    def test_integrated_ones(self) -> None:
        system = LotkaVolterra()
        data = simulate(system, 9, np.arange(21.0), noise=0.1, seed=1)
        together = fit(system, data, starts=1)
        order = [8, 2, 5]
        same_bits(
            fit(system, data.isel(trajectory=order), starts=1), together.isel(trajectory=order)
        )
        same_bits(fit(system, data.isel(trajectory=[7]), starts=1), together.isel(trajectory=[7]))

    def test_bad_ones(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        broken = data.copy(deep=True)
        broken["observed"][1] = np.nan
        broken["observed"][4, 3:] = np.nan
        broken["observed"][4, :, 0] = np.nan
        broken["observed"][6] = 1e200  # whose squares are infinite
        again = fit(OSCILLATOR, broken)
        status = again["status"].values
        assert status[[1, 4, 6]].tolist() == [INVALID_DATA, TOO_FEW_VALUES, DIVERGED]
        assert np.isnan(again["parameters"][[1, 4, 6]]).all()
        good = [0, 2, 3, 5, 7, 8]
        same_bits(again.isel(trajectory=good), fitted.isel(trajectory=good))

    @pytest.mark.xfail(reason="rounds over noise levels end when the whole batch has settled")
    def test_huber_alone(self) -> None:
        data = oscillations(5)
        data["observed"][:, 4::9] += 30.0 * SD
        together = fit(OSCILLATOR, data, loss="huber")
        alone = fit(OSCILLATOR, data.isel(trajectory=[2]), loss="huber")
        same_bits(alone, together.isel(trajectory=[2]))

    @pytest.mark.xfail(reason="the regression head starts from the batch's mean of known values")
    def test_known_values_alone(self) -> None:
        system, known = LotkaVolterra(), np.array([0.5, 0.7, 0.9])
        data = simulate(system, 3, np.arange(21.0), parameters={"alpha": known}, noise=0.1, seed=1)
        together = fit(system, data, fixed={"alpha": known})
        alone = fit(system, data.isel(trajectory=[0]), fixed={"alpha": known[0]})
        same_bits(alone, together.isel(trajectory=[0]))

    def test_a_zero_under_log_normal_noise(self) -> None:
        system = LotkaVolterra()
        data = simulate(system, 3, np.arange(21.0), noise=0.1, distribution="lognormal", seed=1)
        options: dict[str, Any] = {"distribution": "lognormal", "starts": 1}
        before = fit(system, data, **options)
        data["observed"][1, 4, 0] = 0.0
        after = fit(system, data, **options)
        assert after["status"].values.tolist() == [CONVERGED, INVALID_DATA, CONVERGED]
        same_bits(after.isel(trajectory=[0, 2]), before.isel(trajectory=[0, 2]))

    def test_infinite_values_are_missing(self, data: xr.Dataset, fitted: xr.Dataset) -> None:
        infinite = data.copy(deep=True)
        infinite["observed"] = data["observed"].fillna(np.inf)
        infinite["observed"][::2] *= -1.0
        infinite["observed"][::2] = -infinite["observed"][::2]
        same_bits(fit(OSCILLATOR, infinite), fitted)

    def test_own_grids(self) -> None:
        """Padded, each gives what it gives alone on its own times."""
        times = np.sort(np.random.default_rng(0).uniform(size=(3, 25)), axis=1)
        times[1, 18:] = np.nan
        data = oscillations_on(times)
        fitted = fit(OSCILLATOR, data)
        assert fitted["predicted"].dims == ("trajectory", "sample", "output")
        alone = fit(OSCILLATOR, data.isel(trajectory=[1], sample=slice(18)))
        np.testing.assert_array_equal(fitted["parameters"][1], alone["parameters"][0])
        assert np.isnan(fitted["predicted"][1, 18:]).all()
        best = by_scipy(own_residuals(data, 1), truth_of(data.isel(trajectory=1)))
        common = fit(OSCILLATOR, data, noise_sd="common")
        np.testing.assert_allclose(found(common, 1), best.x, rtol=1e-6)


def oscillations_on(times: Floats) -> xr.Dataset:
    return simulate(OSCILLATOR, len(times), times, noise=0.05, seed=3)


def own_residuals(data: xr.Dataset, row: int) -> Callable[[Any], Any]:
    observed, t = data["observed"].values[row], data["time"].values[row]
    seen = np.isfinite(t)
    elapsed = t[seen] - t[0]
    return lambda unknowns: (oscillation(elapsed, unknowns) - observed[seen]).ravel()


class TestInitialState:
    def close(self, fitted: xr.Dataset, data: xr.Dataset) -> None:
        assert (fitted["status"] == CONVERGED).all()
        np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
        np.testing.assert_allclose(
            fitted["initial_state"], data["true_initial_state"], rtol=1e-6, atol=1e-6
        )

    def test_known_in_part(self) -> None:
        data = oscillations(3, noise=0.0)
        known = {"position": np.array([1.0, 1.0, 1.0])}
        fitted = fit(OSCILLATOR, data, initial_state=known)
        self.close(fitted, data)
        assert "velocity(0)" in fitted["estimated"].values
        assert "position(0)" not in fitted["estimated"].values
        assert (fitted["initial_state_standard_errors"].sel(state="position") == 0.0).all()

    def test_first_sample(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, initial_state="first_sample")
        np.testing.assert_array_equal(fitted["initial_state"], data["observed"][:, 0])
        first = data["observed"].values[0, 0]
        residual = residuals(data.isel(trajectory=0))
        common = fit(OSCILLATOR, data, initial_state="first_sample", noise_sd="common")
        best = by_scipy(lambda p: residual([*p, *first]), truth_of(data.isel(trajectory=0))[:2])
        np.testing.assert_allclose(common["parameters"][0], best.x, rtol=1e-6)

    def test_known_to_the_data_set(self) -> None:
        data = oscillations(3, noise=0.0)
        data["known_initial_state"] = data["true_initial_state"]
        fitted = fit(OSCILLATOR, data)
        self.close(fitted, data)
        assert fitted["estimated"].values.tolist() == ["natural_frequency", "damping_rate"]
        estimated = fit(OSCILLATOR, data, initial_state="estimate")
        assert estimated.sizes["estimated"] == 4
        data["known_initial_state"] = data["known_initial_state"].copy()
        data["known_initial_state"][1, 0] = np.nan
        again = fit(OSCILLATOR, data)
        assert again["status"].values.tolist() == [CONVERGED, INVALID_DATA, CONVERGED]
        same_bits(again.isel(trajectory=[0, 2]), fitted.isel(trajectory=[0, 2]))

    def test_before_the_first_sample(self) -> None:
        data = oscillations(3, noise=0.0)
        late = data.isel(time=slice(5, None))
        self.close(fit(OSCILLATOR, late, initial_time=0.0), data)
        self.close(fit(OSCILLATOR, late, initial_time=np.zeros(3)), data)

    def test_that_follows_from_parameters(self) -> None:
        data = simulate(Sine(frequency=None), 3, TIMES, noise=0.02, seed=0)
        fitted = fit(Sine(frequency=None), data)
        np.testing.assert_array_equal(
            fitted["initial_state"][:, 0], fitted["parameters"].sel(parameter="phase")
        )
        np.testing.assert_allclose(
            fitted["initial_state_standard_errors"][:, 0],
            fitted["standard_errors"].sel(parameter="phase"),
        )


class TestKnownParameters:
    @pytest.mark.parametrize("value", [2.0, [1.5, 2.0, 2.5]])
    def test_fixed(self, value: Any) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, fixed={"damping_rate": value}, noise_sd="common")
        np.testing.assert_array_equal(
            fitted["parameters"].sel(parameter="damping_rate"), np.broadcast_to(value, 3)
        )
        assert fitted["fixed"].values.tolist() == [0, 1]
        assert (fitted["standard_errors"].sel(parameter="damping_rate") == 0.0).all()
        residual = residuals(data.isel(trajectory=1))
        best = by_scipy(lambda q: residual([q[0], 2.0, *q[1:]]), [15.0, 1.0, 0.0])
        np.testing.assert_allclose(np.delete(found(fitted, 1), 1), best.x, rtol=1e-6)

    def test_an_active_bound(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, bounds={"damping_rate": (4.0, 8.0)}, noise_sd="common")
        assert (fitted["status"] == CONVERGED).all()
        assert fitted["on_bound"].values.tolist() == [[0, 1]] * 3
        np.testing.assert_allclose(fitted["parameters"][:, 1], 4.0, rtol=1e-4)
        residual = residuals(data.isel(trajectory=1))
        best = by_scipy(lambda q: residual([q[0], 4.0, *q[1:]]), [15.0, 1.0, 0.0])
        np.testing.assert_allclose(np.delete(found(fitted, 1), 1), best.x, rtol=1e-4)

    def test_bounds_that_do_not_matter(self) -> None:
        data = oscillations(3)
        bounds = {"damping_rate": (0.01, 50.0), "position": (None, 5.0)}
        one, other = fit(OSCILLATOR, data), fit(OSCILLATOR, data, bounds=bounds)
        np.testing.assert_allclose(one["parameters"], other["parameters"], rtol=1e-6)
        assert (other["on_bound"] == 0).all()


SD = np.array([0.02, 0.7])
BY_SAMPLE = np.linspace(0.5, 2.0, len(TIMES))[:, None] * SD
BY_TRAJECTORY = np.array([1.0, 1.5, 0.5])[:, None] * SD


class TestNoise:
    """Each form of known noise, and the optimum of least squares with those weights."""

    FORMS = {
        "common": ("common", 1.0),
        "by name": ({"position": SD[0], "velocity": SD[1]}, SD),
        "by name and trajectory": (
            dict(zip(("position", "velocity"), BY_TRAJECTORY.T, strict=True)),
            BY_TRAJECTORY[1],
        ),
        "by name and sample": (
            {"position": np.tile(BY_SAMPLE[:, 0], (3, 1)), "velocity": SD[1]},
            np.stack([BY_SAMPLE[:, 0], np.full(len(TIMES), SD[1])], axis=1),
        ),
        "outputs": (SD, SD),
        "trajectories": (BY_TRAJECTORY, BY_TRAJECTORY[1]),
        "samples": (np.tile(BY_SAMPLE, (3, 1, 1)), BY_SAMPLE),
        "labelled": (xr.DataArray(SD, dims="output"), SD),
    }

    @pytest.mark.parametrize("form", FORMS)
    def test_least_squares(self, form: str) -> None:
        given, sd = self.FORMS[form]
        data = oscillations(3, missing=0.1)
        record = data.isel(trajectory=1)
        fitted = fit(OSCILLATOR, data, noise_sd=given)
        best = by_scipy(residuals(record, sd), truth_of(record))
        np.testing.assert_allclose(found(fitted, 1), best.x, rtol=1e-6)
        if form != "common":
            free = len(best.fun) - 4
            chi_square = float(fitted["reduced_chi_square"][1])
            np.testing.assert_allclose(chi_square, 2.0 * best.cost / free, rtol=1e-8)

    def test_a_level_for_each_output(self) -> None:
        data = oscillations(3, missing=0.1)
        record = data.isel(trajectory=1)
        observed, t = record["observed"].values, record["time"].values
        seen, counts = np.isfinite(observed), np.isfinite(observed).sum(axis=0)
        scale = truth_of(record) + np.array([0.0, 0.0, 0.0, 1.0])

        def objective(scaled: Any) -> Any:
            off = np.where(seen, oscillation(t, scaled * scale) - observed, 0.0)
            return 0.5 * (counts * np.log((off**2).sum(axis=0) / counts)).sum()

        def slope(scaled: Any) -> Floats:
            steps = scaled + 1e-30j * np.eye(4)
            return np.array([objective(step).imag for step in steps]) / 1e-30

        best = minimize(objective, truth_of(record) / scale, jac=slope, options={"gtol": 1e-9})
        fitted = fit(OSCILLATOR, data)
        np.testing.assert_allclose(found(fitted, 1), best.x * scale, rtol=1e-6)
        level = (fitted["noise_sd"][1] ** 2).values * (counts.sum() - 4) / counts.sum()
        likelihood = -0.5 * (counts * (np.log(2.0 * np.pi * level) + 1.0)).sum()
        np.testing.assert_allclose(likelihood, fitted["log_likelihood"][1], rtol=1e-9)
        constant = 0.5 * counts.sum() * (np.log(2.0 * np.pi) + 1.0)
        np.testing.assert_allclose(likelihood, -best.fun - constant, rtol=1e-9)

    def test_a_system_to_be_integrated(self) -> None:
        system, data = LotkaVolterra(), hares()
        observed, t = data["observed"].values[0], data["time"].values

        def residual(unknowns: Any) -> Any:
            alpha, beta, gamma, delta = unknowns[:4]
            solution = solve_ivp(
                lambda _, y: [(alpha - beta * y[1]) * y[0], (delta * y[0] - gamma) * y[1]],
                (0.0, t[-1]),
                unknowns[4:],
                method="DOP853",
                t_eval=t,
                rtol=1e-11,
                atol=1e-11,
            )
            return (np.log(solution.y.T) - np.log(observed)).ravel()

        fitted = fit(system, data, distribution="lognormal", noise_sd="common", starts=1)
        best = by_scipy(residual, truth_of(data.isel(trajectory=0)), jac="3-point")
        np.testing.assert_allclose(found(fitted), best.x, rtol=1e-6)
        np.testing.assert_allclose(fitted["sum_of_squares"][0], 2.0 * best.cost, rtol=1e-7)

    def test_huber(self) -> None:
        data = oscillations(3)
        clean = fit(OSCILLATOR, data, noise_sd=SD)
        data["observed"][:, 4::9] += 30.0 * SD
        record = data.isel(trajectory=1)
        fitted = fit(OSCILLATOR, data, noise_sd=SD, loss="huber")
        best = by_scipy(residuals(record, SD), truth_of(record), loss="huber", f_scale=1.345)
        np.testing.assert_allclose(found(fitted, 1), best.x, rtol=1e-5)
        squares = fit(OSCILLATOR, data, noise_sd=SD)
        moved = [abs(each["parameters"] - clean["parameters"]) for each in (fitted, squares)]
        assert (moved[0].sum("parameter") < 0.5 * moved[1].sum("parameter")).all()

    def test_huber_with_unknown_levels_resists_outliers(self) -> None:
        data = oscillations(3)
        clean = fit(OSCILLATOR, data)
        data["observed"][:, 4::9] += 30.0 * SD
        fitted = fit(OSCILLATOR, data, loss="huber")
        assert (fitted["status"] == CONVERGED).all()
        error = abs(fitted["parameters"] - clean["parameters"])
        assert (error < 2.0 * clean["standard_errors"]).all()
        np.testing.assert_allclose(fitted["noise_sd"], clean["noise_sd"], rtol=0.6)


def hares() -> xr.Dataset:
    return simulate(
        LotkaVolterra(),
        1,
        np.arange(21.0),
        parameters={"alpha": 0.55, "beta": 0.028, "gamma": 0.8, "delta": 0.024},
        initial_states={"prey": 30.0, "predator": 5.0},
        noise=0.1,
        distribution="lognormal",
        seed=0,
    )


class TestShared:
    def joint(self, data: xr.Dataset, rows: list[int]) -> Any:
        """Fit one frequency and the rest for each record, by SciPy."""
        each = [residuals(data.isel(trajectory=row)) for row in rows]
        truths = [truth_of(data.isel(trajectory=row)) for row in rows]

        def residual(unknowns: Any) -> Any:
            own = unknowns[1:].reshape(len(rows), 3)
            parts = [one([unknowns[0], *q]) for one, q in zip(each, own, strict=True)]
            return np.concatenate(parts)

        start = np.concatenate([truths[0][:1], *(truth[1:] for truth in truths)])
        best = by_scipy(residual, start)
        size, number = best.jac.shape
        variance = 2.0 * best.cost / (size - number)
        errors = np.sqrt(variance * np.linalg.inv(best.jac.T @ best.jac).diagonal())
        return best, errors

    def test_two_groups(self) -> None:
        data = oscillations(5).assign_coords(rig=("trajectory", list("ababa")))
        fitted = fit(OSCILLATOR, data, shared=["natural_frequency"], group="rig", noise_sd="common")
        assert (fitted["status"] == CONVERGED).all()
        for rows in ([0, 2, 4], [1, 3]):
            best, errors = self.joint(data, rows)
            for place, row in enumerate(rows):
                mine = [0, *range(1 + 3 * place, 4 + 3 * place)]
                np.testing.assert_allclose(found(fitted, row), best.x[mine], rtol=1e-5)
                one = fitted.isel(trajectory=row)
                given = [*one["standard_errors"], *one["initial_state_standard_errors"]]
                np.testing.assert_allclose(given, errors[mine], rtol=1e-5)
            total = float(fitted["sum_of_squares"][rows].sum())
            np.testing.assert_allclose(total, 2.0 * best.cost, rtol=1e-8)

    def test_one_group_of_all(self) -> None:
        data = oscillations(3)
        fitted = fit(OSCILLATOR, data, shared=["natural_frequency"], noise_sd="common")
        best, _ = self.joint(data, [0, 1, 2])
        np.testing.assert_allclose(fitted["parameters"][:, 0], best.x[0], rtol=1e-6)


class TestStarts:
    @pytest.fixture(scope="class")
    @classmethod
    def data(cls) -> xr.Dataset:
        return oscillations(3)

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, data: xr.Dataset) -> xr.Dataset:
        return fit(OSCILLATOR, data)

    @pytest.mark.parametrize("kind", ["mapping", "table", "fit", "estimate", "one of many"])
    def test_given(self, kind: str, data: xr.Dataset, fitted: xr.Dataset) -> None:
        estimate = wp.estimate(wp.WarpPhys(OSCILLATOR, head="regression"), data)
        initial = {
            "mapping": {"natural_frequency": 15.0, "position": [1.0, 0.9, 1.1]},
            "table": (1.1 * data["true_parameters"]).transpose(),
            "fit": fitted,
            "estimate": estimate,
            "one of many": oscillations(5).pipe(lambda many: fit(OSCILLATOR, many)),
        }[kind]
        again = fit(OSCILLATOR, data, initial=initial)
        assert (again["status"] == CONVERGED).all()
        assert (again["starts"] == 1).all()
        np.testing.assert_allclose(again["parameters"], fitted["parameters"], rtol=1e-7)
        if kind == "fit":
            assert (again["iterations"] <= 3).all()

    @pytest.mark.parametrize("starts", [1, 2, 7])
    def test_as_many_as_asked_for(self, starts: int, data: xr.Dataset, fitted: xr.Dataset) -> None:
        again = fit(OSCILLATOR, data, starts=starts)
        assert (again["starts"] == starts).all()
        assert (again["starts_agreeing"] <= starts).all()
        assert (again["starts_agreeing"] >= 1).all()
        np.testing.assert_allclose(again["parameters"], fitted["parameters"], rtol=1e-7)

    def test_no_time(self, data: xr.Dataset) -> None:
        fitted = fit(OSCILLATOR, data, time_budget=1e-9)
        assert (fitted["status"] == OUT_OF_TIME).all()
        assert np.isnan(fitted["parameters"]).all()
        assert np.isnan(fitted["predicted"]).all()

    def test_no_iterations_left(self, data: xr.Dataset) -> None:
        start = {"natural_frequency": 9.0, "damping_rate": 0.2}
        fitted = fit(OSCILLATOR, data, initial=start, max_iterations=1)
        assert set(fitted["status"].values) <= {0, 1}
        assert np.isfinite(fitted["parameters"]).all()
