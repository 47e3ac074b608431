"""Constraints: they hold, at the price that chance asks, and say what is wrong with them."""

import pickle

import numpy as np
import pytest
from scipy import stats

from warp_phys.data_gen import log_normal, normal
from warp_phys.data_gen.drawing.sampling import sample
from warp_phys.systems import Parameter, State, System, UnknownNameError, UsageError


class Box(System):
    """Two numbers in the unit square, a start between 0 and 1, another that follows."""

    states = (State("x", "1"), State("total", "1"))
    parameters = (
        Parameter("a", "1", range=(0.0, 1.0)),
        Parameter("b", "1", range=(0.0, 1.0)),
        Parameter("c", "1", fixed=2.0),
    )

    def rhs(self, t, y, p):
        return -p.a * y[0], 0.0 * y[1]

    def initial_state(self, p):
        return 0.5 * p.a, p.a + p.b


def draws(constraints, n=4000, seed=0, **options):
    return sample(Box(), n, constraints=constraints, seed=seed, **options)


def in_disc(values):
    return values["a"] ** 2 + values["b"] ** 2 < 1.0


class TestDraws:
    @pytest.mark.parametrize("sampling", ["random", "sobol", "latin_hypercube"])
    @pytest.mark.parametrize(
        ("constraints", "holds", "probability"),
        [
            ("a > b", lambda a, b: a > b, 0.5),
            (["a > b", "a + b < 1"], lambda a, b: (a > b) & (a + b < 1), 0.25),
            ("a > b and a + b < 1", lambda a, b: (a > b) & (a + b < 1), 0.25),
            (
                "0.25 < a < 0.5 or not b > 0.1",
                lambda a, b: ((a > 0.25) & (a < 0.5)) | (b <= 0.1),
                0.325,
            ),
            ("total < 1", lambda a, b: a + b < 1, 0.5),
            (in_disc, lambda a, b: a**2 + b**2 < 1, np.pi / 4),
            ("a * c**2 - b / 2 < 0.05", lambda a, b: 4 * a - b / 2 < 0.05, 0.075),
        ],
    )
    def test_they_hold_and_cost_what_chance_asks(self, constraints, holds, probability, sampling):
        drawn = draws(constraints, sampling=sampling)
        assert holds(*drawn.parameters[:, :2].T).all()
        assert np.array_equal(drawn.initial_states[:, 1], drawn.parameters[:, :2].sum(axis=1))
        accepted_first = int((drawn.rejected == 0).sum())
        assert stats.binomtest(accepted_first, 4000, probability).pvalue > 1e-3
        again = drawn.rejected[drawn.rejected > 0]
        expected = stats.geom(probability).cdf
        counts = [np.sum(again <= k) for k in (1, 2, 4, 8)]
        for k, count in zip((1, 2, 4, 8), counts, strict=True):
            assert stats.binomtest(int(count), again.size, expected(k)).pvalue > 1e-4

    def test_what_is_kept_follows_the_restricted_law(self):
        drawn = draws("a > 0.9", parameters={"a": normal(0.0, 1.0)})
        law = stats.truncnorm(0.9, np.inf)
        assert stats.kstest(drawn.parameters[:, 0], law.cdf).pvalue > 1e-3
        assert stats.kstest(drawn.parameters[:, 1], "uniform").pvalue > 1e-3

    def test_rare_ones_are_found(self):
        drawn = draws("a < 0.001", n=200)
        assert (drawn.parameters[:, 0] < 0.001).all()
        assert stats.kstest(drawn.parameters[:, 0] * 1000, "uniform").pvalue > 1e-3
        assert 700 < drawn.rejected.mean() < 1300

    def test_where_they_hold_nothing_changes(self):
        free, drawn = draws(()), draws("a > b")
        kept = drawn.rejected == 0
        assert np.array_equal(free.parameters[kept], drawn.parameters[kept])
        assert np.array_equal(free.parameters, draws("a < 2").parameters)
        assert not free.rejected.any()

    def test_given_values_stay_and_the_rest_fits_them(self):
        a = np.linspace(0.1, 0.9, 50)
        drawn = draws("b < a", n=50, parameters={"a": a})
        assert np.array_equal(drawn.parameters[:, 0], a)
        assert (drawn.parameters[:, 1] < a).all()

    def test_a_constraint_may_keep_values_on_their_support(self):
        class Positive(Box):
            parameters = (
                Parameter("a", "1", support="positive", range=(0.5, 1.0)),
                *Box.parameters[1:],
            )

        drawn = sample(
            Positive(), 100, parameters={"a": normal(0.0, 1.0)}, constraints="a > 0", seed=0
        )
        assert (drawn.parameters[:, 0] > 0).all()

    def test_another_process_draws_the_same(self):
        options = {
            "constraints": ["a > b", in_disc],
            "parameters": {"a": log_normal(0.5, 1.0)},
            "sampling": "sobol",
        }
        sent = pickle.loads(pickle.dumps(options))
        part = draws(n=40, first=10, count=5, **sent)
        assert np.array_equal(part.parameters, draws(n=40, **options).parameters[10:15])


class TestComplaints:
    @pytest.mark.parametrize(
        ("constraint", "text"),
        [
            ("a > bb", "unknown parameter or state of Box 'bb'; did you mean 'b'"),
            ("inf > a", "unknown parameter or state of Box 'inf'"),
            ("a + b", r"'a \+ b' to be true or false for each trajectory, got float64 of shape"),
            ("a >", "a comparison of names and numbers, .*; got 'a >'"),
            ("a = b", "got 'a = b'"),
            ("", "got ''"),
            ("@a > b", "got '@a > b'"),
            ("a @ b > 1", "got 'a @ b > 1'"),
            ("sin(a) > b", r"got 'sin\(a\) > b'"),
            ("a.__class__ > b", "got 'a.__class__ > b'"),
            ("a > __import__", "unknown parameter or state of Box '__import__'"),
            ("a > 'b'", "got \"a > 'b'\""),
            ("a[0] > b", "got 'a"),
            ("a > True", "got 'a > True'"),
            ("1 < 2", "expected constraint '1 < 2' to name a parameter or state of Box"),
            (["a > b", 3], 'as a text such as "beta > gamma" or a function, got 3'),
            (lambda values: values["a"], "true or false for each trajectory, got float64 of shape"),
            (lambda values: True, r"got bool of shape \(\) for 4000 trajectories"),
        ],
    )
    def test_what_is_no_constraint_says_why(self, constraint, text):
        with pytest.raises(UsageError, match=text):
            draws(constraint)

    def test_unknown_names_are_errors_of_their_own(self):
        with pytest.raises(UnknownNameError):
            draws("alpha > 1")

    def test_given_values_cannot_be_drawn_again(self):
        b = np.full(100, 0.1)
        b[42] = 0.9
        given = {"a": 0.5, "b": b}
        with pytest.raises(UsageError, match="trajectory 42 breaks constraint 'a > b', and its v"):
            draws("a > b", n=100, first=20, parameters=given)
        with pytest.raises(UsageError, match="trajectory 42 breaks constraint 'total < 1'"):
            draws("total < 1", n=100, parameters=given)
        assert draws("a > b", n=100, first=50, parameters=given).parameters.shape == (50, 3)

    def test_what_hardly_ever_holds_is_given_up_on(self):
        with pytest.raises(UsageError) as error:
            draws(["a > 0", "a + b > 3", "b > 0.5"], n=10**6, first=70, count=10**5)
        assert str(error.value) == (
            "trajectory 70 broke a constraint in each of 32768 draws; of 3 constraints "
            "'a + b > 3' holds least often, in 0.00% of them; draw from ranges in which the "
            "constraints hold together"
        )

    def test_contradictions_are_given_up_on(self):
        with pytest.raises(UsageError, match=r"of 2 constraints '[ab] > [ab]' holds .* in 49\."):
            draws(["a > b", "b > a"])
