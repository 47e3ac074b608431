"""Fits of driven systems: inputs held between samples, and tables with times of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import warp_phys as wp
from tests.warp_phys.fitting.fit_records import fit
from tests.warp_phys.user_systems import Switched
from warp_phys.data_gen import simulate
from warp_phys.models.coordinates import Physical
from warp_phys.models.roots import predict, rollout
from warp_phys.records.records import read_records
from warp_phys.systems import Input, Parameter, SchemaError, State, System, UsageError

SYSTEM = Switched()
SECONDS = np.linspace(0.0, 10.0, 41)
KNOTS = np.linspace(-1.0, 9.0, 24)


class Ramped(Switched):
    """The same body, taking its force to be linear between samples."""

    inputs = (Input("force", "N"), Input("frame", "m"))


def driven(n: int, noise: float = 0.0, knots: Any = None, **options: Any) -> xr.Dataset:
    """Return records under a force that is switched at random."""
    shape = (n, len(SECONDS if knots is None else knots))
    generator = np.random.default_rng(5)
    inputs = {
        "force": np.sign(generator.normal(size=shape)),
        "frame": 0.3 * generator.normal(size=shape).cumsum(axis=1),
    }
    return simulate(
        SYSTEM, n, SECONDS, inputs=inputs, input_times=knots, noise=noise, seed=1, **options
    )


@pytest.mark.parametrize("knots", [None, KNOTS])
def test_without_noise_the_truth_comes_back(knots: Any) -> None:
    data = driven(4, knots=knots)
    fitted = fit(SYSTEM, data)
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)
    np.testing.assert_allclose(fitted["predicted"], data["noiseless"], rtol=0.0, atol=1e-6)
    np.testing.assert_array_equal(fitted["time"], data["time"])


def test_held_is_not_linear() -> None:
    data = driven(4)
    error = abs(fit(Ramped(), data)["parameters"] / data["true_parameters"] - 1.0)
    assert float(error.max()) > 0.02


def test_intervals_cover() -> None:
    """Between 90 and 99 % of 400 intervals of 95 %."""
    data = driven(200, 0.05, KNOTS)
    fitted = fit(SYSTEM, data, starts=2)
    truth = data["true_parameters"]
    inside = (fitted["parameters_lower"] <= truth) & (truth <= fitted["parameters_upper"])
    assert 0.90 < float(inside.mean()) < 0.99
    assert (fitted["misfit"] == 0).mean() > 0.98


def test_without_a_compiler_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = driven(1, 0.05, KNOTS).isel(time=slice(0, 13))
    compiled = fit(SYSTEM, data, starts=1)
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    other = fit(SYSTEM, data, starts=1)
    for name in ("parameters", "standard_errors", "initial_state"):
        np.testing.assert_allclose(other[name], compiled[name], rtol=1e-6, atol=1e-9)


def test_a_table_at_the_samples_is_the_inputs() -> None:
    data = driven(3, 0.05)
    table = data.drop_vars("inputs").assign(
        input_table=data["inputs"].rename(time="knot").drop_vars("knot"),
        input_time=(("trajectory", "knot"), np.broadcast_to(SECONDS, (3, len(SECONDS)))),
    )
    one, other = fit(SYSTEM, data), fit(SYSTEM, table)
    np.testing.assert_allclose(other["parameters"], one["parameters"], rtol=1e-7)
    np.testing.assert_allclose(other["predicted"], one["predicted"], rtol=0.0, atol=1e-7)


def test_an_initial_state_long_before_the_samples() -> None:
    """The table drives the flow from the initial time on."""
    data = driven(3, knots=KNOTS + 1.0)
    late = data.isel(time=slice(12, None))
    fitted = fit(SYSTEM, late, initial_time=0.0, initial_state={"v": 0.0})
    np.testing.assert_allclose(fitted["parameters"], data["true_parameters"], rtol=1e-6)


def test_roots_hold_inputs() -> None:
    """A rollout and single steps under held inputs are what was simulated."""
    data = driven(3)
    records = read_records(data, SYSTEM)
    truth = [
        torch.from_numpy(data[f"true_{name}"].values) for name in ("parameters", "initial_state")
    ]
    tight = {"rtol": 1e-10, "atol": 1e-12}
    whole = rollout(SYSTEM, records, Physical(*truth, truth[0][:, :0]), **tight)
    np.testing.assert_allclose(whole.numpy(), data["noiseless"], rtol=0.0, atol=1e-7)
    samples = [value.unsqueeze(1).expand(-1, len(SECONDS), -1) for value in truth]
    each = predict(SYSTEM, "rollout", records, Physical(*samples, samples[0][..., :0]), **tight)
    np.testing.assert_allclose(each.numpy(), data["noiseless"], rtol=0.0, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: d.drop_vars("input_time"), SchemaError, "not its times"),
        (lambda d: d.isel(input=[0]), SchemaError, "lacks frame"),
        (lambda d: d.assign(input_time=-d["input_time"]), UsageError, "input_time of trajectory 0"),
        (
            lambda d: d.assign(input_table=d["input_table"].where(d["input_time"] != KNOTS[2])),
            UsageError,
            "no value at knot 2",
        ),
    ],
)
def test_tables_that_cannot_be(change: Any, error: type[Exception], words: str) -> None:
    data = driven(2, knots=KNOTS).drop_vars("inputs")
    with pytest.raises(error, match=words):
        fit(SYSTEM, change(data))


def test_models_refuse_tables() -> None:
    with pytest.raises(UsageError, match="a table of inputs with times of its own"):
        wp.train(wp.WarpPhys(SYSTEM, head="direct"), driven(4, knots=KNOTS), progress=False)


def test_the_regression_head_refuses_held_inputs() -> None:
    class Valve(System):
        time_unit = "s"
        states = (State("level", "m"),)
        inputs = (Input("inflow", "m/s", between="held"),)
        parameters = (Parameter("drain", "1/s", "positive", (0.5, 2.0)),)
        default_initial_state = {"level": 1.0}

        def rhs(self, t, y, p):
            return (p.inflow - p.drain * y[0],)

    data = simulate(Valve(), 2, np.arange(5.0), inputs={"inflow": np.arange(5.0)}, seed=0)
    with pytest.raises(UsageError, match=r"inflow of \w+ is held"):
        wp.estimate(wp.WarpPhys(Valve(), head="regression"), data)
