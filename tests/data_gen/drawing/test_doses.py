"""Doses of a data set: drawn like all else, given to the integrator, and kept."""

import numpy as np
import pytest

from warp_phys.data_gen import log_normal, simulate
from warp_phys.systems import Dose, Parameter, State, System, UnknownNameError, UsageError
from warp_phys.systems.schema.labels import check_dataset

TIMES = np.arange(6.0)


class Gut(System):
    """Absorption and elimination: gut' = -k gut, blood' = k gut - c blood."""

    time_unit = "h"
    states = (State("gut", "mg"), State("blood", "mg"))
    parameters = (
        Parameter("k", "1/h", support="positive", range=(0.5, 2.0)),
        Parameter("c", "1/h", support="positive", range=(0.1, 0.4)),
    )
    default_initial_state = {"gut": 0.0, "blood": 0.0}

    def rhs(self, t, y, p):
        return -p.k * y[0], p.k * y[0] - p.c * y[1]


DOSES = [Dose("gut", log_normal(100.0, 0.3), 0.0), Dose("gut", 50.0, (1.0, 4.0))]


def test_each_dose_is_drawn_and_does_what_it_says():
    data = simulate(Gut(), 20, TIMES, doses=DOSES, seed=1)
    check_dataset(data, needs=list(data.data_vars), system=Gut())
    assert data.dose_amount.dims == ("trajectory", "dose")
    assert data.dose_state.values.tolist() == ["gut", "gut"]
    assert data.dose_unit.values.tolist() == ["mg", "mg"]
    assert data.dose_time.attrs["units"] == "h"
    amount, time = data.dose_amount.values, data.dose_time.values
    assert np.unique(amount[:, 0]).size == 20
    assert ((time[:, 1] > 1) & (time[:, 1] < 4)).all()
    k = data.true_parameters.sel(parameter="k").values
    since = TIMES[None, None, :] - time[:, :, None]
    left = np.where(since >= 0, amount[:, :, None] * np.exp(-k[:, None, None] * since), 0.0)
    found = data.noiseless.sel(output="gut").values
    np.testing.assert_allclose(found, left.sum(axis=1), rtol=1e-6, atol=1e-7)


def test_a_dose_may_be_of_some_trajectories_alone():
    when = np.array([np.nan, 2.0])
    data = simulate(Gut(), 2, TIMES, doses=[Dose("blood", [1.0, 10.0], when)], seed=1)
    assert (data.noiseless.sel(output="blood").values[0] == 0).all()
    assert data.noiseless.sel(output="blood").values[1, 2] == 10.0


def test_shards_and_more_trajectories_have_the_same(tmp_path):
    options = {"doses": [*DOSES, Dose("blood", np.arange(9.0), 1.0)], "seed": 1}
    memory = simulate(Gut(), 9, TIMES, **options)
    data = simulate(Gut(), 9, TIMES, **options, output=tmp_path / "set", shard_size=4)
    for name in memory.data_vars:
        np.testing.assert_allclose(data[name], memory[name], rtol=1e-10)


@pytest.mark.parametrize(
    ("dose", "error", "text"),
    [
        (Dose("stomach", 1.0, 0.0), UnknownNameError, "unknown state of Gut 'stomach'"),
        (Dose("gut", np.inf, 0.0), UsageError, "finite amounts of dose 0, got inf for trajectory"),
        (Dose("gut", 1.0, -1.0), UsageError, "dose 0 not before the first sample, got -1"),
        (Dose("gut", [1.0], 0.0), UsageError, "dose 0 amount with one value for each of 2"),
        (("gut", 1.0, 0.0), UsageError, r"as a list of Dose\(state, amount, time\), got \('gut'"),
    ],
)
def test_mistakes(dose, error, text):
    with pytest.raises(error, match=text):
        simulate(Gut(), 2, TIMES, doses=[dose], seed=0)
