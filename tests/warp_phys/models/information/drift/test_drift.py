"""Parameters that take a random walk: against an exact filter, static estimates, and changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray

import warp_phys as wp
from warp_phys.data_gen import log_uniform, simulate, uniform
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.models.information.drift.track import drifting_track
from warp_phys.models.information.prior.prior import build_prior
from warp_phys.models.information.records_estimate import track
from warp_phys.models.information.running import Recurrence
from warp_phys.records.records import read_records
from warp_phys.systems import LotkaVolterra, Parameter, State, System

Floats = NDArray[np.float64]

PRIORS = {
    "alpha": log_uniform(0.5, 1.5),
    "beta": log_uniform(0.02, 0.06),
    "gamma": log_uniform(0.5, 1.5),
    "delta": log_uniform(0.015, 0.045),
}
INITIAL = {"prey": uniform(10, 40), "predator": uniform(5, 20)}


class Ramp(System):
    """A position with an unknown velocity: linear in all unknowns."""

    states = (State("position", "1"), State("load", "1"))
    parameters = (
        Parameter("velocity", "1", "real", (-1.0, 1.0)),
        Parameter("rate", "1", "real", (-1.0, 1.0)),
    )
    default_initial_state = {"position": (-1.0, 1.0), "load": (-1.0, 1.0)}

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        """Return the velocities."""
        return p.velocity, p.rate + 0.0 * y[1]


def stated(
    system: System, data: xr.Dataset, priors: dict[str, Any], noise_sd: Any = "each"
) -> tuple[FitProblem, Recurrence]:
    records = read_records(data, system, empty=True, forcing=True)
    problem = state_problem(
        system,
        records,
        distribution="normal",
        loss="linear",
        noise_sd=noise_sd,
        initial_state="auto",
        initial_time=None,
        fixed=None,
        bounds=None,
        shared=None,
        group=None,
        rtol=1e-8,
    )
    prior = build_prior(problem.unknowns.entries, records.outputs, priors, None, relative=False)
    return problem, Recurrence(prior, problem.distribution, problem.noise)


def predators(times: Floats, n: int = 8, **options: Any) -> xr.Dataset:
    return simulate(
        LotkaVolterra(),
        n=n,
        times=times,
        parameters=PRIORS,
        initial_states=INITIAL,
        noise=0.02,
        seed=2,
        progress=False,
        **options,
    )


def state_priors() -> dict[str, Any]:
    return {**PRIORS, **{f"{name}(0)": value for name, value in INITIAL.items()}}


def exact_filter(
    observed: Floats, times: Floats, sd: float, walk: float, prior: Floats
) -> list[Any]:
    """Filter velocity, rate, position and load of `Ramp`, from a prior covariance (4, 4)."""
    mean, covariance, found = np.zeros(4), prior, []
    h = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
    last = times[0]
    for time, value in zip(times, observed, strict=True):
        f = np.eye(4)
        f[2, 0] = f[3, 1] = time - last
        mean, covariance = f @ mean, f @ covariance @ f.T
        covariance[0, 0] += walk**2 * (time - last)
        last = time
        seen = np.isfinite(value)
        rows = h[seen]
        gain = (
            covariance
            @ rows.T
            @ np.linalg.inv(rows @ covariance @ rows.T + sd**2 * np.eye(seen.sum()))
        )
        mean = mean + gain @ (value[seen] - rows @ mean)
        covariance = covariance - gain @ rows @ covariance
        found.append((mean, covariance))
    return found


@pytest.mark.parametrize("window", [8, 128])
def test_linear_system_agrees_with_an_exact_filter(window: int) -> None:
    times = np.cumsum(np.random.default_rng(0).uniform(0.1, 1.0, 30))
    data = simulate(
        Ramp(),
        n=3,
        times=times,
        noise={"position": 0.1, "load": 0.1},
        missing=0.3,
        seed=1,
        progress=False,
    )
    problem, recurrence = stated(Ramp(), data, {}, {"position": 0.1, "load": 0.1})
    found = drifting_track(problem, recurrence, {"velocity": 0.2}, window)
    prior = recurrence.prior.covariance().numpy()
    for row, observed in enumerate(data["observed"].values):
        for sample, (mean, covariance) in enumerate(exact_filter(observed, times, 0.1, 0.2, prior)):
            np.testing.assert_allclose(found.mean[row, sample], mean, rtol=0, atol=1e-8)
            np.testing.assert_allclose(found.covariance[row, sample], covariance, rtol=0, atol=1e-8)


def test_without_drift_it_is_the_static_estimate() -> None:
    data = predators(np.linspace(0.0, 10.0, 60))
    problem, recurrence = stated(LotkaVolterra(), data, state_priors())
    changing, constant = drifting_track(problem, recurrence, {}), track(problem, recurrence)
    sd = constant.covariance[:, -1].diagonal(dim1=1, dim2=2).sqrt()[:, :4]
    apart = (changing.mean[:, -1, :4] - constant.mean[:, -1, :4]) / sd
    assert float(apart.abs().max()) < 0.3
    assert float(apart.abs().median()) < 0.05
    ratio = changing.covariance[:, -1].diagonal(dim1=1, dim2=2).sqrt()[:, :4] / sd
    assert float((ratio - 1.0).abs().max()) < 0.1


def jumped(times: Floats) -> tuple[xr.Dataset, Floats]:
    """Return records of which alpha jumps by 1.5 at half, and its logarithm at the end."""
    first = predators(times[: len(times) // 2 + 1])
    ends = first["noiseless"].values[:, -1]
    values = first["true_parameters"].values.copy()
    values[:, 0] *= 1.5
    second = simulate(
        LotkaVolterra(),
        n=len(ends),
        times=times[len(times) // 2 :],
        parameters=values,
        initial_states=ends,
        seed=3,
        progress=False,
    )
    clean = np.concatenate([first["noiseless"].values, second["noiseless"].values[:, 1:]], axis=1)
    noise = first["true_noise_sd"].values[:, None] * np.random.default_rng(4).normal(
        size=clean.shape
    )
    data = xr.Dataset(
        {"observed": (("trajectory", "time", "output"), clean + noise)},
        {"time": times, "output": ["prey", "predator"]},
    )
    return data, np.log(values[:, 0])


def test_jump_is_followed() -> None:
    data, alpha = jumped(np.linspace(0.0, 10.0, 81))
    problem, recurrence = stated(LotkaVolterra(), data, state_priors())
    found = drifting_track(problem, recurrence, {"alpha": 0.13})
    error = (found.mean[:, -1, 0] - torch.tensor(alpha)).abs()
    sd = found.covariance[:, -1, 0, 0].sqrt()
    still = (track(problem, recurrence).mean[:, -1, 0] - torch.tensor(alpha)).abs()
    assert float(error.median()) < 0.1 < float(still.median())
    assert bool((error < 3.0 * sd).all())


def test_gaps_and_the_end_of_a_record_leave_the_others_alone() -> None:
    data = predators(np.linspace(0.0, 6.0, 40), n=3, missing=0.3)
    observed = data["observed"].values.copy()
    times = np.repeat(data["time"].values[None], 3, axis=0)
    observed[1, 25:], times[1, 25:] = np.nan, np.nan
    own = xr.Dataset(
        {"observed": (("trajectory", "sample", "output"), observed)},
        {"time": (("trajectory", "sample"), times), "output": ["prey", "predator"]},
    )
    problem, recurrence = stated(LotkaVolterra(), own, state_priors())
    together = drifting_track(problem, recurrence, {"alpha": 0.05})
    for row in range(3):
        alone = drifting_track(problem.select(torch.tensor([row])), recurrence, {"alpha": 0.05})
        length = 25 if row == 1 else 40
        one, other = alone.mean[0, :length], together.mean[row, :length]
        assert float((one / other - 1.0).abs().max()) < 1e-12
        assert bool(one.isfinite().all())
    assert bool(together.mean[1, 25:].isnan().all())


class TestDriftOfSensors:
    """Streams whose parameters change."""

    def test_a_stream_equals_the_records_and_goes_on_from_a_file(self, tmp_path: Path) -> None:
        times = np.linspace(0.0, 8.0, 30)
        data = simulate("lotka_volterra", n=4, times=times, noise=0.02, missing=0.1, seed=3)
        model = wp.WarpPhys("lotka_volterra", drift={"alpha": 0.05})
        whole = wp.estimate(model, data, progress=False)
        state = model.init_state(4)
        for number, time in enumerate(times):
            state, now = model.step(state, time, data["observed"].values[:, number])
            if number == 17:
                state.save(tmp_path / "sensors.safetensors")
                state = model.init_state(4).restored(tmp_path / "sensors.safetensors")
        last = whole.isel(time=-1)
        np.testing.assert_allclose(now.parameters, last["parameters"], rtol=1e-9)
        np.testing.assert_allclose(now.upper, last["parameters_upper"], rtol=1e-9)
        # States are those at the sample, not those at the start.
        np.testing.assert_allclose(now.initial_state, last["initial_state"], rtol=1e-9)
        error = abs(last["initial_state"].values - data["noiseless"].values[:, -1])
        assert (error < 6.0 * data["true_noise_sd"].values).all()
