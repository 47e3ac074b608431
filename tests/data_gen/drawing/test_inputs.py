"""Inputs of a data set: tables at knots of their own, read off at the sample times."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from warp_phys.data_gen import simulate
from warp_phys.data_gen.drawing.inputs import read_inputs
from warp_phys.systems import Input, Parameter, State, System, UsageError
from warp_phys.systems.schema.labels import check_dataset

TIMES = np.arange(6.0)
KNOTS = np.array([0.5, 1.0, 2.5, 4.0])
VALUES = np.array([1.0, -1.0, 2.0, 0.5])


class Pushed(System):
    """v' = held + ramp - drag v."""

    time_unit = "s"
    states = (State("v", "m/s"),)
    inputs = (Input("ramp", "m/s2"), Input("held", "m/s2", between="held"))
    parameters = (Parameter("drag", "1/s", support="positive", range=(0.1, 0.5)),)
    default_initial_state = {"v": 0.0}

    def rhs(self, t, y, p):
        return (p.held + p.ramp - p.drag * y[0],)


def read_off(grid, knots, ramp, held, n=1):
    table = read_inputs(Pushed(), n, grid, {"ramp": ramp, "held": held}, knots)
    return table.driven(n, grid).at_samples


def held_by_hand(times, knots, values):
    return [values[max(0, int((knots <= t).sum()) - 1)] for t in times]


class TestReadOff:
    def test_linear_and_held(self):
        grid = np.array([0.0, 0.5, 0.75, 1.0, 2.0, 2.5, 3.9, 4.0, 9.0])
        found = read_off(grid, KNOTS, VALUES, VALUES)
        np.testing.assert_allclose(found[0, :, 0], np.interp(grid, KNOTS, VALUES))
        assert found[0, :, 1].tolist() == [1, 1, 1, -1, -1, 2, 2, 0.5, 0.5]

    @given(st.integers(1, 5), st.integers(0, 2**32 - 1))
    def test_own_knots_and_own_times(self, count, seed):
        random = np.random.default_rng(seed)
        knots = np.sort(random.uniform(0, 9, (3, count)), axis=1)
        values = random.normal(size=(3, count))
        grid = np.sort(random.uniform(-1, 10, (3, 7)), axis=1)
        grid[0, 3] = knots[0, 0]
        grid.sort(axis=1)
        if count > 2:
            knots[1, -1] = np.nan
        found = read_off(grid, knots, values, values, 3)
        for row in range(3):
            there = np.isfinite(knots[row])
            one, level = knots[row, there], values[row, there]
            np.testing.assert_allclose(found[row, :, 0], np.interp(grid[row], one, level))
            assert found[row, :, 1].tolist() == held_by_hand(grid[row], one, level)

    def test_padded_samples_stay_padded(self):
        grid = np.array([[0.0, 1.0, np.nan]])
        found = read_off(grid, KNOTS, VALUES, 1.0)
        assert np.isnan(found[0, 2]).all()
        assert np.isfinite(found[0, :2]).all()

    def test_without_knots_they_are_at_the_samples(self):
        table = read_inputs(Pushed(), 2, TIMES, {"ramp": TIMES, "held": 1.0}, None)
        driven = table.driven(2, TIMES)
        assert driven.knots is None
        assert np.array_equal(driven.at_samples[1], np.stack([TIMES, np.ones(6)], axis=1))


class TestSimulated:
    def test_a_table_drives_and_is_kept(self):
        given = {"ramp": VALUES, "held": np.vstack([VALUES, 2 * VALUES])}
        data = simulate(Pushed(), 2, TIMES, inputs=given, input_times=KNOTS, seed=0)
        check_dataset(data, needs=list(data.data_vars), system=Pushed())
        assert data.input_table.dims == ("trajectory", "knot", "input")
        np.testing.assert_array_equal(data.input_table[1, :, 1], 2 * VALUES)
        np.testing.assert_array_equal(data.input_time, [KNOTS, KNOTS])
        assert data.input_time.attrs["units"] == "s"
        for row in range(2):

            def rhs(t, v, row=row):
                held = held_by_hand([t], KNOTS, given["held"][row])[0]
                push = held + np.interp(t, KNOTS, VALUES)
                return push - data.true_parameters.values[row, 0] * v

            # Piece by piece, so that no step crosses a knot.
            v, at = 0.0, 0.0
            for stop in np.unique(np.r_[TIMES[1:], KNOTS]):
                v = solve_ivp(rhs, (at, stop - 1e-12), [v], "DOP853", rtol=1e-12, atol=1e-12).y[
                    0, -1
                ]
                at = stop
                if stop in TIMES:
                    found = data.noiseless.sel(time=stop).values[row, 0]
                    np.testing.assert_allclose(found, v, rtol=1e-7)

    def test_shards_are_the_same(self, tmp_path):
        random = np.random.default_rng(0)
        options = {
            "inputs": {"ramp": random.normal(size=(9, 4)), "held": VALUES},
            "input_times": np.sort(random.uniform(0, 5, (9, 4)), axis=1),
            "seed": 0,
        }
        memory = simulate(Pushed(), 9, TIMES, **options)
        data = simulate(Pushed(), 9, TIMES, **options, output=tmp_path / "set", shard_size=4)
        for name in memory.data_vars:
            np.testing.assert_allclose(data[name], memory[name], rtol=1e-12)


@pytest.mark.parametrize(
    ("inputs", "times", "text"),
    [
        ({"ramp": 1.0}, None, r"needs its inputs at the sample times \(or at input_times\); give"),
        ({"held": 1.0, "ramp": [1.0]}, None, r"sample time, of shape \(6,\) or \(2, 6\), got"),
        ({"held": 1.0, "ramp": [1.0]}, KNOTS, r"time of input_times, of shape \(4,\) or \(2, 4\)"),
        ({"held": 1.0, "ramp": [1.0, 2, 3, np.inf]}, KNOTS, "to be finite, got inf at sample 3"),
        ({"held": 1.0, "ramp": 1.0}, KNOTS[::-1], "expected input_times to increase, got 4 then"),
        ({"held": 1.0, "ramp": 1.0}, [KNOTS] * 3, r"input_times of shape \(K,\) or \(2, K\)"),
    ],
)
def test_mistakes(inputs, times, text):
    with pytest.raises(UsageError, match=text):
        simulate(Pushed(), 2, TIMES, inputs=inputs, input_times=times, seed=0)


def test_a_system_without_inputs_takes_no_times():
    with pytest.raises(UsageError, match="Sine has no inputs; leave out input_times"):
        simulate("sine", 2, TIMES, input_times=KNOTS)
