"""Simulated data sets: right numbers, right labels, and the same ones for the same seed."""

import json

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import solve_ivp

from warp_phys.data_gen import log_normal, simulate, truncated_normal
from warp_phys.data_gen.making.blocks import run_system
from warp_phys.systems import Input, LotkaVolterra, Output, Parameter, State, System, get_system
from warp_phys.systems.errors import UnknownNameError, UsageError
from warp_phys.systems.schema.files import load, save
from warp_phys.systems.schema.labels import check_dataset

TIMES = np.arange(6.0)


class Driven(System):
    """A driven, slowly damped mass of which the velocity is seen twice: x' = v, v' = u - c v."""

    time_unit = "s"
    states = (State("x", "m"), State("v", "m/s"))
    outputs = (Output("velocity", "m/s"), Output("double", "m/s"))
    inputs = (Input("u", "m/s2"),)
    parameters = (Parameter("c", "1/s", support="positive", range=(0.1, 0.5)),)
    default_initial_state = {"x": 0.0, "v": (-1.0, 1.0)}
    reference = "A made-up one."

    def rhs(self, t, y, p):
        return y[1], p.u - p.c * y[1]

    def observe(self, t, y, p):
        return y[1], 2.0 * y[1]


class Exploding(System):
    """y' = growth y^2 reaches infinity at t = 1 / (growth y0)."""

    states = (State("y", "1"),)
    parameters = (Parameter("growth", "1", range=(0.0, 0.1)),)

    def rhs(self, t, y, p):
        return (p.growth * y[0] ** 2,)


def prefix_equal(few: xr.Dataset, many: xr.Dataset, *, exact: bool) -> bool:
    part = many.isel(trajectory=slice(few.sizes["trajectory"]))
    drawn = ["true_parameters", "true_initial_state"]
    same = all(np.array_equal(few[name], part[name]) for name in drawn)
    close = np.allclose(few.observed, part.observed, rtol=1e-12, atol=0, equal_nan=True)
    return same and (np.array_equal(few.observed, part.observed, True) if exact else close)


class TestNumbers:
    def test_it_agrees_with_scipy(self):
        data = simulate("lotka_volterra", 3, TIMES, seed=1)
        for row in range(3):
            alpha, beta, gamma, delta = data.true_parameters.values[row]

            def rhs(t, y, a=alpha, b=beta, g=gamma, d=delta):
                return [(a - b * y[1]) * y[0], (d * y[0] - g) * y[1]]

            start = data.true_initial_state.values[row]
            reference = solve_ivp(rhs, (0, 5), start, "DOP853", TIMES, rtol=1e-12, atol=1e-12).y.T
            np.testing.assert_allclose(data.noiseless[row], reference, rtol=1e-6)
        assert (data.status == 0).all()
        assert (data.error_estimate < 1e-6).all()
        assert np.array_equal(data.observed, data.noiseless)

    def test_inputs_drive_and_outputs_are_observed(self):
        push = np.linspace(0.0, 1.0, 6)
        data = simulate(Driven(), 4, TIMES, inputs={"u": push}, seed=0)
        for row in range(4):
            c, start = data.true_parameters.values[row, 0], data.true_initial_state.values[row]
            reference = solve_ivp(
                lambda t, y, c=c: [y[1], np.interp(t, TIMES, push) - c * y[1]],
                (0, 5),
                start,
                "DOP853",
                TIMES,
                rtol=1e-12,
                atol=1e-12,
            ).y[1]
            np.testing.assert_allclose(data.noiseless.values[row, :, 0], reference, atol=1e-7)
            np.testing.assert_allclose(data.noiseless.values[row, :, 1], 2 * reference, atol=1e-7)
        assert data.inputs.dims == ("trajectory", "time", "input")
        assert np.array_equal(data.inputs.values[2, :, 0], push)

    def test_numbers_are_known_initial_states(self):
        data = simulate(
            "lotka_volterra", 3, TIMES, initial_states={"prey": 20.0, "predator": (1.0, 5.0)}
        )
        known = data.known_initial_state
        assert known.dims == ("trajectory", "state")
        assert (known.sel(state="prey") == 20.0).all()
        assert known.sel(state="predator").isnull().all()
        assert data.initial_time.values.tolist() == [TIMES[0]] * 3
        assert data.initial_time.attrs["units"] == data.time.attrs["units"]
        both = {"prey": 20, "predator": np.float32(3.0)}
        whole = simulate("lotka_volterra", 3, TIMES, initial_states=both)
        assert np.array_equal(whole.known_initial_state, whole.true_initial_state)

    @pytest.mark.parametrize(
        "given",
        [
            None,
            {},
            {"prey": (20.0, 20.0)},
            {"prey": truncated_normal(20.0, 1.0)},
            {"prey": [20.0, 20.0, 20.0]},
            {"prey": np.full(3, 20.0)},
            np.full((3, 2), 20.0),
        ],
        ids=["none", "nothing", "range", "distribution", "list", "array", "table"],
    )
    def test_what_may_vary_and_defaults_are_not_known(self, given):
        data = simulate("lotka_volterra", 3, TIMES, initial_states=given)
        assert not {"known_initial_state", "initial_time"} & set(data.variables)

    def test_initial_states_that_follow_from_parameters_are_not_known(self):
        data = simulate("sine", 3, TIMES, initial_states={"angle": 1.0})
        assert "known_initial_state" not in data

    def test_own_grids_agree_with_shared_ones(self):
        shared = simulate("lotka_volterra", 3, TIMES, seed=2)
        grids = np.array([TIMES, TIMES, np.r_[TIMES[:3], [np.nan] * 3]])
        own = simulate("lotka_volterra", 3, grids, seed=2)
        assert own.observed.dims == ("trajectory", "sample", "output")
        np.testing.assert_array_equal(own.time, grids)
        np.testing.assert_allclose(own.observed[:2], shared.observed[:2], rtol=1e-12)
        np.testing.assert_allclose(own.observed[2, :3], shared.observed[2, :3], rtol=1e-7)
        assert np.isnan(own.observed[2, 3:]).all()
        assert (own.status == 0).all()

    def test_a_trajectory_that_fails_is_kept_and_says_so(self):
        data = simulate(
            Exploding(),
            3,
            TIMES,
            parameters={"growth": np.array([0.01, 0.4, 0.02])},
            initial_states={"y": 1.0},
            noise=0.1,
            seed=0,
        )
        flags = dict(
            zip(data.status.flag_meanings.split(), data.status.flag_values.tolist(), strict=True)
        )
        assert data.status.values.tolist() == [flags["converged"], flags["diverged"], 0]
        assert np.isfinite(data.observed.values[1, :3]).all()
        assert np.isnan(data.observed.values[1, 3:]).all()
        assert np.isnan(data.noiseless.values[1, 3:]).all()
        assert np.isfinite(data.observed.values[[0, 2]]).all()
        exact = 1.0 / (1.0 - 0.4 * TIMES[:3])
        np.testing.assert_allclose(data.noiseless.values[1, :3, 0], exact, rtol=1e-6)

    def test_a_positive_state_that_is_lost_is_a_failure(self):
        wild = {"alpha": 3.0, "beta": (0.1, 1.0), "gamma": 3.0, "delta": (0.1, 1.0)}
        options = {"parameters": wild, "initial_states": {"prey": 50.0, "predator": 50.0}}
        loose = simulate(
            "lotka_volterra",
            50,
            TIMES,
            noise=0.1,
            distribution="lognormal",
            rtol=1e-4,
            atol=1e-2,
            seed=0,
            **options,
        )
        lost = loose.status.values == 4
        assert loose.status.flag_meanings.split()[4] == "not_positive"
        assert 0 < lost.sum() < 50
        values = loose.noiseless.values
        assert np.isnan(values[lost, -1]).all()
        assert np.isfinite(values[~lost]).all()
        assert not (values <= 0).any()
        tight = simulate("lotka_volterra", 50, TIMES, atol=1e-40, seed=0, **options)
        assert (tight.status == 0).all()
        assert (tight.noiseless > 0).all()


class TestLabels:
    def test_everything_is_labeled_with_its_unit(self):
        data = simulate(Driven(), 2, TIMES, inputs={"u": 0.0}, noise=0.1, seed=5)
        check_dataset(data, needs=list(data.data_vars), system=Driven())
        assert data.output_unit.values.tolist() == ["m/s", "m/s"]
        assert data.observed.attrs["units"] == "m/s"
        assert "units" not in data.true_initial_state.attrs
        assert data.time.attrs["units"] == "s"
        assert data.attrs["references"] == "A made-up one."
        assert (data.attrs["system"], data.attrs["seed"]) == ("driven", 5)
        assert all("long_name" in variable.attrs for variable in data.variables.values())

    def test_it_survives_a_file(self, tmp_path):
        data = simulate(
            "lotka_volterra",
            3,
            TIMES,
            parameters={"alpha": truncated_normal(1.0, 0.5)},
            noise={"prey": log_normal(0.3, 1.0)},
            distribution="lognormal",
            missing={"predator": 0.2},
            seed=0,
        )
        save(data, tmp_path / "data.nc")
        xr.testing.assert_identical(load(tmp_path / "data.nc"), data)
        assert data.true_noise_sd.attrs["units"] == "1"
        called = json.loads(data.attrs["settings"])
        assert called["parameters"]["alpha"]["distribution"] == "truncnorm"
        assert called["missing"] == {"predator": 0.2}

    def test_noise_and_gaps_are_where_they_should_be(self):
        data = simulate("lotka_volterra", 400, TIMES, noise=0.2, missing=0.1, seed=0)
        z = ((data.observed - data.noiseless) / data.true_noise_sd).values
        there = np.isfinite(z)
        assert stats.kstest(z[there], "norm").pvalue > 1e-3
        assert stats.binomtest(int((~there).sum()), there.size, 0.1).pvalue > 1e-3
        assert np.isfinite(data.noiseless).all()
        spread = data.noiseless.std("time")
        np.testing.assert_allclose(data.true_noise_sd, 0.2 * spread.values, rtol=1e-9)


class TestRandomness:
    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**63 - 1), st.integers(1, 6), st.integers(1, 6))
    def test_the_first_trajectories_are_the_same_whatever_n(self, seed, n, more):
        options = {"noise": 0.1, "missing": 0.2, "seed": seed}
        few = simulate("damped_oscillator", n, TIMES, **options)
        many = simulate("damped_oscillator", n + more, TIMES, **options)
        assert prefix_equal(few, many, exact=False)

    def test_so_they_are_with_integration_and_levels_of_their_own(self):
        options = {
            "noise": {"prey": log_normal(0.3, 1.0), "predator": (0.1, 0.2)},
            "distribution": "lognormal",
            "seed": 7,
        }
        few = simulate("lotka_volterra", 5, TIMES, **options)
        many = simulate("lotka_volterra", 37, TIMES, **options)
        assert prefix_equal(few, many, exact=False)
        assert np.array_equal(few.true_noise_sd, many.true_noise_sd[:5])

    def test_the_same_seed_gives_the_same_bits(self):
        options = {"noise": 0.1, "missing": 0.2, "seed": 3}
        first = simulate("lotka_volterra", 20, TIMES, **options)
        again = simulate("lotka_volterra", 20, TIMES, **options)
        assert prefix_equal(first, again, exact=True)

    def test_the_size_of_the_blocks_does_not_matter(self):
        system = LotkaVolterra()
        data = simulate(system, 20, TIMES, seed=1)
        starts, values = data.true_initial_state.values, data.true_parameters.values
        options = {"rtol": 1e-8, "atol": None, "relative": False, "method": "auto"}
        whole = run_system(system, TIMES, starts, values, None, **options)
        parts = run_system(system, TIMES, starts, values, None, **options, block=3)
        np.testing.assert_allclose(parts.outputs, whole.outputs, rtol=1e-12)
        assert np.array_equal(parts.status, whole.status)

    def test_a_fresh_seed_is_written_down(self):
        first = simulate("sine", 3, TIMES, noise=0.1)
        again = simulate("sine", 3, TIMES, noise=0.1, seed=first.attrs["seed"])
        assert prefix_equal(first, again, exact=True)
        assert simulate("sine", 3, TIMES).attrs["seed"] != first.attrs["seed"]

    def test_observing_fewer_outputs_leaves_the_rest_unchanged(self):
        options = {"noise": {"prey": 0.1, "predator": 0.2}, "missing": 0.2, "seed": 3}
        whole = simulate("lotka_volterra", 20, TIMES, **options)
        part = simulate("lotka_volterra", 20, TIMES, observe=["predator"], **options)
        assert part.output.values.tolist() == ["predator"]
        xr.testing.assert_equal(part, whole.sel(output=["predator"]))

    def test_noise_and_gaps_leave_the_trajectories_unchanged(self):
        clean = simulate("lotka_volterra", 20, TIMES, seed=3)
        noisy = simulate("lotka_volterra", 20, TIMES, noise=0.5, missing=0.5, seed=3)
        xr.testing.assert_equal(
            clean.drop_vars(["observed", "true_noise_sd"]),
            noisy.drop_vars(["observed", "true_noise_sd"]),
        )


class TestComplaints:
    @pytest.mark.parametrize(
        ("system", "n", "times", "text"),
        [
            ("lotka_voltera", 2, TIMES, "unknown system 'lotka_voltera'; did you mean 'lotka_vo"),
            (LotkaVolterra, 2, TIMES, r"got <class .*>; write LotkaVolterra\(\) for an instance"),
            (None, 2, TIMES, "expected a System or the name of one, got None$"),
            ("sine", 0, TIMES, "expected n, the number of trajectories, .* got 0"),
            ("sine", 2.0, TIMES, "got 2.0"),
            ("sine", 2, TIMES[::-1], "expected times to increase, got 5 then 4 at samples 0 and 1"),
            ("sine", 2, [], r"not empty, got shape \(0,\)"),
            ("sine", 2, ["now"], "expected times as numbers"),
            ("sine", 2, np.zeros((6, 2)), r"\(2, T\), got \(6, 2\): time is on the wrong axis, tr"),
            ("sine", 2, np.zeros((3, 6)), r"\(2, T\), got \(3, 6\)$"),
            ("sine", 2, [[0.0, 1.0], [0.0]], "pad shorter rows with NaN at the end"),
            ("sine", 2, [[0.0, 1.0], [1.0, 0.0]], "times of trajectory 1 to increase"),
        ],
    )
    def test_system_number_and_times(self, system, n, times, text):
        with pytest.raises(UsageError, match=text):
            simulate(system, n, times)

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"observe": ["velocty"]}, UnknownNameError, "did you mean 'velocity'"),
            ({"observe": "velocity"}, UsageError, r"as a list of outputs, .* \['velocity'\]"),
            ({"observe": []}, UsageError, "at least one output"),
            ({"observe": ["double", "double"]}, UsageError, "each once"),
            ({"inputs": None}, UsageError, r"needs its inputs .* inputs={'u': ...}"),
            ({"inputs": {"w": 1.0}}, UnknownNameError, "unknown input of Driven 'w'"),
            (
                {"inputs": {"u": [1.0]}},
                UsageError,
                r"of shape \(6,\) or \(2, 6\), got shape \(1,\)",
            ),
            ({"inputs": {"u": np.nan}}, UsageError, "got nan at sample 0 of trajectory 0"),
            ({"parameters": {"d": 1.0}}, UnknownNameError, "unknown parameter of Driven 'd'"),
            ({"parameters": {"c": -1.0}}, UsageError, "'c' of trajectory 0 is -1 1/s, outside its"),
            ({"seed": -1}, UsageError, "expected seed from 0"),
            ({"noise": 0.1, "distribution": "lognormal"}, UsageError, "needs positive outputs"),
        ],
    )
    def test_everything_else(self, options, error, text):
        with pytest.raises(error, match=text):
            simulate(Driven(), 2, TIMES, **({"inputs": {"u": -1.0}, "seed": 0} | options))


class TestImport:
    def test_an_unknown_name_is_an_attribute_error(self):
        import warp_phys.data_gen

        with pytest.raises(AttributeError, match="simulat"):
            _ = warp_phys.data_gen.simulat


def test_a_users_own_system_is_as_good_as_a_shipped_one():
    assert isinstance(get_system("sine"), System)
    data = simulate(Exploding(), 2, TIMES, initial_states={"y": 0.1}, seed=0)
    assert (data.status == 0).all()


def test_the_texts_in_files_of_normal_noise_stay_what_they_were() -> None:
    """Shards of an unfinished set that an earlier version began must not differ from the rest."""
    for distribution in ("normal", "lognormal"):
        data = simulate("lotka_volterra", 1, [0.0, 1.0], noise=0.1, distribution=distribution)
        words = data["true_noise_sd"].attrs["long_name"]
        assert words == "standard deviation of the noise added"
