"""Records that are difficult for the information head, and what its flags say of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import warp_phys as wp
from tests.warp_phys.estimation.information_records import (
    COUNT,
    STATES,
    TIMES,
    USUAL,
    estimate,
    records,
    same,
)
from warp_phys.data_gen import log_normal
from warp_phys.systems import Parameter, State, System


class Explosion(System):
    """x' = a x^2, which is infinite at 1 / (a x(0))."""

    time_unit = "s"
    states = (State("x", "m"),)
    parameters = (Parameter("a", "1", "positive", (0.5, 2.0)),)

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (p.a * y[0] ** 2,)


def test_a_record_that_cannot_be_integrated_is_flagged_alone() -> None:
    times = np.linspace(0.0, 1.0, 21)
    states = np.full(COUNT, 0.3)
    data = records(Explosion(), times=times, initial_states={"x": 0.3}, noise=0.01)
    expected = estimate(Explosion(), data, initial_state={"x": states})
    for state in (1e3, np.nan):
        states[4] = state
        found = estimate(Explosion(), data, initial_state={"x": states})
        others = [0, 1, 2, 3, 5]
        same(found.isel(trajectory=others), expected.isel(trajectory=others))
        assert (found["estimate_status"][4, 1:] & 1 == 1).all()
        assert found["out_of_range"].values.tolist() == [0, 0, 0, 0, 64, 0]


def test_one_sample() -> None:
    data = records().isel(time=[0])
    found = estimate("lotka_volterra", data)
    # Both states were measured, and nothing else is known.
    np.testing.assert_allclose(found["initial_state"][:, 0], data["observed"][:, 0], rtol=0.1)
    assert (found["parameters"] == found["parameters"][0]).all()
    assert (found["out_of_range"] == 0).all()


@pytest.mark.parametrize("value", [0.0, 1.0, 1e30])
def test_constant_outputs_give_numbers(value: float) -> None:
    data = records(n=2)
    data["observed"][:] = value
    found = estimate("lotka_volterra", data)
    for name in ("parameters", "parameters_lower", "parameters_upper", "noise_sd"):
        assert np.isfinite(found[name]).all(), name
    assert (found["noise_sd"] > 0.0).all()


def test_without_noise_a_record_is_described() -> None:
    data = records(noise=0.0)
    found = estimate("lotka_volterra", data)
    np.testing.assert_allclose(found["parameters"][:, -1], data["true_parameters"], rtol=1e-5)
    assert (found["described"] == 1).all()
    assert (found["out_of_range"] == 0).all()


def test_a_stiff_system_ends_with_a_status() -> None:
    times = np.array([0.0, *np.logspace(-4.0, 1.0, 9)])
    data = records("robertson", n=2, times=times, noise=0.01)
    found = estimate("robertson", data)
    assert np.isfinite(found["parameters"]).all()
    assert np.isfinite(found["out_of_range"]).all()


class TestOutOfRange:
    def test_gaps_and_uneven_times_set_no_bit(self) -> None:
        random = np.random.default_rng(0)
        times = np.linspace(0.0, 10.0, 41) + random.uniform(-0.07, 0.07, (60, 41))
        data = records(n=60, times=times, missing=0.3, noise=0.02)
        found = estimate("lotka_volterra", data)
        assert float((found["out_of_range"] != 0).mean()) <= 0.02

    @pytest.mark.parametrize(
        ("name", "duration"),
        [("seir", 60.0), ("coupled_oscillators", 5.0), ("michaelis_menten", 10.0)],
    )
    def test_many_outputs_set_no_bit(self, name: str, duration: float) -> None:
        """Levels of four and more outputs have few degrees of freedom at first."""
        times = np.linspace(0.0, duration, 31)
        found = estimate(name, records(name, n=150, times=times, noise=0.02))
        assert float((found["out_of_range"] != 0).mean()) <= 0.02

    def test_far_from_the_prior(self) -> None:
        data = records(parameters=USUAL, initial_states=STATES, noise=0.02)
        far = estimate("lotka_volterra", data, priors={"alpha": log_normal(1.4, 0.1)})
        assert (far["out_of_range"] == 16).all()
        near = estimate("lotka_volterra", data, priors={"alpha": log_normal(0.9, 0.1)})
        assert (near["out_of_range"] == 0).all()
        impossible = estimate("lotka_volterra", data, priors={"alpha": log_normal(20.0, 0.1)})
        assert (impossible["out_of_range"] & (16 | 32) != 0).all()

    def test_a_model_that_is_wrong_from_the_first_sample_on(self) -> None:
        """An unknown noise level grows with the residuals, which are alike all the same."""
        times = np.linspace(0.0, 20.0, 101)
        data = records("damped_oscillator", times=times, noise=0.02)
        found = estimate("damped_oscillator", data)
        assert (found["out_of_range"] == 0).all()
        data["observed"] += 0.3 * np.cos(5.0 * data["time"])
        found = estimate("damped_oscillator", data)
        assert (found["described"] == 1).all()
        assert (found["estimate_status"][:, -1] == 8).all()
        assert (found["out_of_range"] == 32).all()
        # The bit of the status says it better, and so it is said once.
        warnings = wp.summary(found, 0).partition("[[Warnings]]")[2].strip()
        assert warnings == "successive residuals are alike"

    def test_a_jump_is_noticed_where_it_is(self) -> None:
        times = np.linspace(0.0, 10.0, 101)
        ranges = {name: (0.8 * value, 1.2 * value) for name, value in USUAL.items()}
        data = records(n=60, times=times, parameters=ranges, initial_states=STATES, noise=0.02)
        truth = data["true_parameters"].values.copy()
        truth[:, 0] *= 1.5
        state = data["noiseless"].values[:, 50]
        after = records(n=60, times=times[:51], parameters=truth, initial_states=state, noise=0.0)
        error = (data["observed"] - data["noiseless"]).values
        data["observed"][:, 50:] = after["noiseless"].values + error[:, 50:]
        found = estimate("lotka_volterra", data)
        changed = found["changed_at"].values
        assert np.mean(np.isfinite(changed)) > 0.95
        assert abs(np.nanmedian(changed) - 5.0) < 1.0
        misfit = found["out_of_range"] & 32 == 32
        np.testing.assert_array_equal(misfit, np.isfinite(changed))
        np.testing.assert_array_equal(found["described"][:, -1] == 0, misfit)
        # What is said of a sample says when: from a sample shortly after the change on.
        first = (found["described"].values == 0).argmax(axis=1)[misfit]
        assert (times[first] >= changed[misfit]).all()

    def test_what_follows_a_record_says_nothing_of_it(self) -> None:
        """A record that has ended is linearized anew with others, and stays as it was."""
        times = np.broadcast_to(TIMES, (30, 41)).copy()
        times[1::2, 20:] = np.nan
        data = records(n=30, times=times)
        data["observed"][:, 15:] *= 1.3
        found = estimate("lotka_volterra", data)
        last = np.isfinite(times).sum(axis=1) - 1
        described = found["described"].values[np.arange(30), last] == 1
        np.testing.assert_array_equal(np.isnan(found["changed_at"]), described)
        np.testing.assert_array_equal(found["out_of_range"].values & 32 == 0, described)
        assert not described.all()
