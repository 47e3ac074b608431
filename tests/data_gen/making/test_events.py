"""Data sets of systems with events: those of `integrate`, in memory and in shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.systems.dosing_systems import Late
from tests.systems.event_systems import Neuron
from warp_phys.data_gen import simulate
from warp_phys.systems import Dose, integrate

TIMES = np.linspace(0.0, 40.0, 21)


def test_states_are_those_of_integrate() -> None:
    data = simulate(Neuron(), 12, TIMES, seed=0, progress=False)
    assert not data.status.any()
    assert float(data.error_estimate.max()) < 1e-7
    parameters = data.true_parameters.values
    again = integrate(Neuron(), TIMES, np.zeros((12, 2)), parameters)
    np.testing.assert_allclose(data.noiseless, again.states, rtol=1e-12)
    fired = data.noiseless.sel(output="adaptation").max("time") > 0.0
    assert int(fired.sum()) > 6


def test_shards(tmp_path: Path) -> None:
    whole = simulate(Neuron(), 12, TIMES, seed=0, noise=0.05, progress=False)
    folder = tmp_path / "neurons"
    parts = simulate(
        Neuron(), 12, TIMES, seed=0, noise=0.05, output=folder, shard_size=5, progress=False
    )
    np.testing.assert_allclose(parts.observed, whole.observed, rtol=1e-12)


def test_doses_with_a_drawn_time_and_a_lag() -> None:
    doses = [Dose("amount", (50.0, 100.0), (0.0, 2.0))]
    data = simulate(Late(), 8, np.linspace(0.0, 12.0, 13), doses=doses, seed=1, progress=False)
    assert not data.status.any()
    amounts = data.noiseless.values[..., 0]
    assert (amounts[:, 0] == 0.0).all()
    assert (amounts[:, 5] > 5.0).all()
