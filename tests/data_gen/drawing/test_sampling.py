"""Parameters and initial states: every way to give them, and complaints that name the place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warp_phys.data_gen import log_normal, log_uniform, normal, truncated_normal
from warp_phys.data_gen.drawing.quantity import draw, rows_of
from warp_phys.data_gen.drawing.random_streams import Streams
from warp_phys.data_gen.drawing.sampling import sample
from warp_phys.systems import Parameter, State, System, UnknownNameError, UsageError, get_system

LOTKA_VOLTERRA = get_system("lotka_volterra")


class Decay(System):
    """Decay from an initial amount that is a parameter: y' = -rate y, y(0) = amount."""

    states = (State("mass", "kg", support="positive"), State("age", "s"))
    parameters = (
        Parameter("rate", "1/s", support="positive", range=(0.1, 2.0)),
        Parameter("amount", "kg", support="positive", range=(1.0, 2.0)),
        Parameter("factor", "1", fixed=3.0),
    )

    def rhs(self, t, y, p):
        return -p.rate * y[0], 1.0 + 0.0 * y[1]

    def initial_state(self, p):
        return p.factor * p.amount, 0.0 * p.amount


RECIPES = {
    "alpha": truncated_normal(1.0, 0.5),
    "beta": log_normal(0.05, 1.0),
    "gamma": log_uniform(0.1, 10.0),
}


def parameters(given=None, n=100, system=LOTKA_VOLTERRA, seed=0):
    return sample(system, n, parameters=given, seed=seed).parameters


def states(given=None, n=100, system=LOTKA_VOLTERRA, seed=0):
    return sample(system, n, initial_states=given, seed=seed).initial_states


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class TestParameters:
    def test_none_takes_the_systems_ranges(self):
        values = parameters()
        for column, parameter in enumerate(LOTKA_VOLTERRA.parameters):
            low, high = parameter.range
            assert low < values[:, column].min() < values[:, column].max() < high

    def test_fixed_ones_have_their_value(self):
        assert (parameters(system=Decay())[:, 2] == 3.0).all()
        assert (parameters(system=Decay(rate=0.5))[:, 0] == 0.5).all()
        assert parameters({"factor": (1.0, 2.0)}, system=Decay())[:, 2].std() > 0

    def test_every_kind_of_recipe(self):
        own = np.linspace(0.1, 1.0, 100)
        values = parameters({"alpha": 0.5, "beta": (0.01, 0.02), "gamma": own})
        assert (values[:, 0] == 0.5).all()
        assert (np.abs(values[:, 1] - 0.015) < 0.005).all()
        assert (values[:, 2] == own).all()
        assert (values[:, 3] == parameters()[:, 3]).all()
        assert (parameters(values)[:, :] == values).all()

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**63 - 1), st.integers(1, 40), st.integers(1, 40))
    def test_the_first_ones_are_the_same_whatever_n(self, seed, n, more):
        few = parameters(RECIPES, n, seed=seed)
        assert np.array_equal(few, parameters(RECIPES, n + more, seed=seed)[:n])

    def test_the_numbers_stay_what_they_are(self):
        """Each is the quantile of the number of its own stream."""
        values = sample(LOTKA_VOLTERRA, 20, parameters=RECIPES, seed=3)
        streams = Streams(3)
        beta = RECIPES["beta"].ppf(streams.uniform("parameter beta", 20)[:, 0])
        assert np.array_equal(values.parameters[:, 1], beta)
        low, high = LOTKA_VOLTERRA.parameters[3].range
        delta = low + (high - low) * streams.uniform("parameter delta", 20)[:, 0]
        assert np.array_equal(values.parameters[:, 3], delta)
        prey = draw(Streams(3), "initial state prey", (1.0, 2.0), 20)
        given = sample(LOTKA_VOLTERRA, 20, initial_states={"prey": (1.0, 2.0)}, seed=3)
        assert np.array_equal(given.initial_states[:, 0], prey)

    def test_giving_one_leaves_the_others_as_they_were(self):
        assert np.array_equal(parameters({"alpha": 1.0})[:, 1:], parameters()[:, 1:])

    @pytest.mark.parametrize(
        ("given", "text"),
        [
            ({"alhpa": 1.0}, "unknown parameter of LotkaVolterra 'alhpa'; did you mean 'alpha'"),
            ({"alpha": np.ones(3)}, r"parameter alpha with one value for each of 100 .* \(3,\)"),
            ({"alpha": (2.0, 1.0)}, r"range of parameter alpha as \(low, high\), got \(2.0, 1.0\)"),
            ({"alpha": (1.0, 2.0, 3.0)}, r"range of parameter alpha as \(low, high\)"),
            ({"alpha": "a lot"}, "parameter alpha as a number, a tuple .* got 'a lot'"),
            (np.ones((4, 100)), r"shape \(100, 4\), .* got shape \(4, 100\); transpose it"),
            (np.ones((100, 3)), r"\(alpha, beta, gamma, delta\), got shape \(100, 3\)$"),
            ("alpha", "expected numbers for each parameter of LotkaVolterra"),
        ],
    )
    def test_what_does_not_fit_says_why(self, given, text):
        with pytest.raises(UsageError, match=text):
            parameters(given)

    def test_a_value_outside_its_support_is_named(self):
        values = np.ones(100)
        values[7] = -0.25
        unit = LOTKA_VOLTERRA.parameters[0].unit
        with pytest.raises(UsageError) as error:
            parameters({"alpha": values})
        assert f"parameter 'alpha' of trajectory 7 is -0.25 {unit}, outside its support" in str(
            error.value
        )
        with pytest.raises(UsageError, match="parameter 'alpha' of trajectory"):
            parameters({"alpha": normal(0.0, 1.0)})
        with pytest.raises(UsageError, match="is nan"):
            parameters({"alpha": np.nan})


class TestInitialStates:
    def test_none_takes_the_systems_defaults(self):
        values = states()
        for column, name in enumerate(LOTKA_VOLTERRA.state_names):
            default = LOTKA_VOLTERRA.default_initial_state[name]
            low, high = (default, default) if np.ndim(default) == 0 else default
            assert (low <= values[:, column]).all()
            assert (values[:, column] <= high).all()

    def test_they_follow_from_the_parameters_where_the_system_says_so(self):
        values = parameters(system=Decay())
        mass = 3.0 * values[:, 1]
        assert np.array_equal(states(system=Decay()), np.c_[mass, np.zeros(100)])
        given = states({"age": 2.0}, system=Decay())
        assert np.array_equal(given, np.c_[mass, np.full(100, 2.0)])
        of_their_own = sample(Decay(), 100, parameters=values[::-1], seed=1).initial_states
        assert np.array_equal(of_their_own[:, 0], mass[::-1])

    def test_they_may_be_given(self):
        values = states({"prey": log_normal(10.0, 1.0), "predator": 4.0})
        assert (values[:, 1] == 4.0).all()
        assert np.array_equal(states(values), values)

    def test_what_does_not_fit_says_why(self):
        with pytest.raises(UnknownNameError, match="state of LotkaVolterra 'pray'; did you mean"):
            states({"pray": 1.0})
        with pytest.raises(UsageError, match="initial state 'mass' of trajectory 0 is -1 kg"):
            states({"mass": -1.0}, system=Decay())


class TestBlocks:
    @settings(max_examples=30)
    @given(
        st.integers(0, 2**63 - 1),
        st.integers(1, 60),
        st.floats(0, 1, exclude_max=True),
        st.floats(0, 1),
        st.sampled_from(["random", "sobol", "latin_hypercube"]),
    )
    def test_a_block_is_that_part_of_the_whole(self, seed, n, start, share, sampling):
        first = int(start * n)
        count = 1 + int(share * (n - first - 1))
        options = {
            "parameters": RECIPES | {"delta": np.linspace(0.1, 0.2, n)},
            "initial_states": {"prey": (1.0, 30.0)},
            "constraints": ["beta < 0.1", "alpha > 0.5 or prey > 10"],
            "sampling": sampling,
            "seed": seed,
        }
        whole = sample(LOTKA_VOLTERRA, n, **options)
        part = sample(LOTKA_VOLTERRA, n, first=first, count=count, **options)
        rows = slice(first, first + count)
        assert equal(part, [values[rows] for values in whole])

    def test_tables_and_what_follows_from_them_are_cut(self):
        values = parameters(system=Decay())
        part = sample(Decay(), 100, first=40, count=7, parameters=values, seed=0)
        assert np.array_equal(part.parameters, values[40:47])
        assert np.array_equal(part.initial_states[:, 0], 3.0 * values[40:47, 1])
        assert part.rejected.tolist() == [0] * 7

    def test_none_for_the_count_takes_the_rest(self):
        assert len(sample(LOTKA_VOLTERRA, 10, first=7, seed=0).parameters) == 3

    def test_arrays_are_measured_against_the_whole(self):
        with pytest.raises(UsageError, match="alpha with one value for each of 100 trajectories"):
            sample(LOTKA_VOLTERRA, 100, count=10, parameters={"alpha": np.ones(10)}, seed=0)
        with pytest.raises(UsageError, match=r"of shape \(100, 4\)"):
            sample(LOTKA_VOLTERRA, 100, count=10, parameters=np.ones((10, 4)), seed=0)

    def test_complaints_count_from_the_start_of_the_whole(self):
        alpha = np.ones(100)
        alpha[57] = -1.0
        with pytest.raises(UsageError, match="'alpha' of trajectory 57 is -1"):
            sample(LOTKA_VOLTERRA, 100, first=50, parameters={"alpha": alpha}, seed=0)

    @pytest.mark.parametrize(("first", "count"), [(-1, 5), (5, 6), (10, None), (3, 0)])
    def test_there_is_nothing_outside_the_whole(self, first, count):
        with pytest.raises(UsageError, match="expected trajectories from 0 to 10, at least one"):
            sample(LOTKA_VOLTERRA, 10, first=first, count=count, seed=0)

    def test_a_single_quantity_can_be_drawn_in_blocks(self):
        own = list(range(10))
        for recipe in (0.5, (0.0, 1.0), normal(0.0, 1.0), own, np.array(own)):
            whole = draw(Streams(0), "noise level x", recipe, 10)
            part = rows_of("noise level x", recipe, 10, 3, 4)
            assert np.array_equal(draw(Streams(0, 3), "noise level x", part, 4), whole[3:7])
        with pytest.raises(UsageError, match=r"noise level x with one value .* 12 tra.*\(10,\)"):
            rows_of("noise level x", own, 12, 3, 4)
