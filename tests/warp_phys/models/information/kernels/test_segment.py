"""The compiled recurrence gives what PyTorch gives, from segment to segment and at marks."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from warp_phys.data_gen import log_uniform, simulate, uniform
from warp_phys.likelihood.problem import FitProblem
from warp_phys.likelihood.stating.state_problem import state_problem
from warp_phys.models.information.kernels.segment import SegmentKernel, library_for, owned
from warp_phys.models.information.marks.linearizer import Linearizer
from warp_phys.models.information.marks.marker import STALE, Marker, in_doubt
from warp_phys.models.information.marks.objective import Objective, across
from warp_phys.models.information.prior.prior import build_prior
from warp_phys.models.information.records_estimate import Track
from warp_phys.models.information.running import Recurrence
from warp_phys.models.information.state import Running
from warp_phys.records.records import read_records
from warp_phys.systems import get_system
from warp_phys.systems.compiling.compiler import compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")

RECORDS, SAMPLES = 13, 40
LOTKA = "lotka_volterra"
# System, parameters, observed outputs, and arguments of `state_problem` and "priors".
CASES: dict[str, tuple[str, dict[str, Any], list[str] | None, dict[str, Any]]] = {
    "each level": (LOTKA, {"alpha": log_uniform(0.8, 1.2)}, None, {}),
    "levels far from a narrow prior": (
        LOTKA,
        {"alpha": log_uniform(0.8, 1.2)},
        None,
        {"priors": {"noise_sd": (0.010, 0.011)}},
    ),
    "one level": (LOTKA, {"alpha": log_uniform(0.8, 1.2)}, None, {"noise_sd": "common"}),
    "known levels": (LOTKA, {"alpha": log_uniform(0.8, 1.2)}, None, {"noise_sd": 0.4}),
    "log-normal": (LOTKA, {"beta": log_uniform(0.03, 0.05)}, None, {"distribution": "lognormal"}),
    "one output": ("pendulum", {"length": log_uniform(0.8, 1.2)}, ["angle"], {}),
    "one unknown": (
        "van_der_pol",
        {"mu": uniform(0.9, 1.1)},
        None,
        {"initial_state": {"position": 1.0, "velocity": 0.0}},
    ),
}


class Setting:
    """Records of a case with gaps and uneven ends, one of which changes half way."""

    def __init__(self, case: str) -> None:
        name, parameters, observe, known = CASES[case]
        known = dict(known)
        priors = known.pop("priors", {})
        self.system = get_system(name)
        data = simulate(
            self.system,
            n=RECORDS,
            times=np.linspace(0.0, 8.0, SAMPLES),
            parameters=parameters,
            noise=0.02,
            observe=observe,
            seed=3,
        )
        observed = data.observed.values
        observed[:, SAMPLES // 2 :][0] *= 1.5
        observed[np.random.default_rng(0).random(observed.shape) < 0.2] = np.nan
        observed[2, 25:] = np.nan
        records = read_records(data, self.system, empty=True, forcing=True)
        self.problem = _problem(self.system, records, known)
        prior = build_prior(
            self.problem.unknowns.entries,
            records.outputs,
            priors,
            None,
            relative=self.problem.distribution.relative,
        )
        self.recurrence = Recurrence(prior, self.problem.distribution, self.problem.noise)
        self.linearizer = Linearizer(self.problem)
        self.every = torch.arange(RECORDS)
        outputs = len(records.outputs)
        self.track = Track.empty(RECORDS, SAMPLES, outputs, len(self.problem.unknowns))
        library = library_for(self.recurrence, outputs)
        assert library is not None
        self.kernel = SegmentKernel(
            library,
            self.recurrence,
            {**vars(self.track), "moved": self.track.predicted},
            (self.linearizer.residual, self.linearizer.jacobian),
            self.problem.distribution.magnitude(records.observed),
            STALE,
        )

    def begin(self) -> Running:
        """Return the state before the first sample, with all samples linearized at the truth."""
        unknowns = self.problem.unknowns
        point = unknowns.middles.expand(RECORDS, -1).contiguous()
        self.linearizer.evaluate(point, self.every, SAMPLES)
        return self.recurrence.start(point, len(self.problem.records.outputs))


def _problem(system: Any, records: Any, known: dict[str, Any]) -> FitProblem:
    usual = {
        "distribution": "normal",
        "loss": "linear",
        "noise_sd": "each",
        "initial_state": "auto",
        "initial_time": None,
        "fixed": None,
        "bounds": None,
        "shared": None,
        "group": None,
        "rtol": 1e-7,
    }
    return state_problem(system, records, **{**usual, **known})


@pytest.fixture(params=CASES)
def setting(request: pytest.FixtureRequest) -> Setting:
    return Setting(request.param)


def test_a_walk_is_many_advances(setting: Setting) -> None:
    state, wanted = owned(setting.begin()), setting.begin()
    stop = setting.kernel.walk(state, setting.every, (0, SAMPLES), marked=False)
    reached = torch.full((RECORDS,), SAMPLES)
    expected = owned(wanted)
    for sample in range(SAMPLES):
        wanted = setting.recurrence.advance(wanted, setting.linearizer.sample(sample))
        going = (reached == SAMPLES).nonzero()[:, 0]
        _check_written(setting, wanted, sample, going)
        expected = expected.replaced(going, wanted.select(going))
        reached[going[in_doubt(wanted)[going]]] = sample
    torch.testing.assert_close(stop, reached)
    _check_equal(state, expected)


def test_the_test_is_left_to_a_mark_that_follows(setting: Setting) -> None:
    first = setting.begin()
    stop = setting.kernel.walk(owned(first), setting.every, (0, SAMPLES), marked=False)
    doubted = stop[stop < SAMPLES]
    if not doubted.numel():
        return
    sample, state = int(doubted[0]), owned(first)
    rows = (stop == sample).nonzero()[:, 0]
    found = setting.kernel.walk(state, rows, (0, sample + 1), marked=True)
    assert (found == sample + 1).all()
    assert not state.innovations.suspect.any()


def test_a_new_linearization_has_the_same_sums(setting: Setting) -> None:
    state = setting.begin()
    for sample in range(20):
        state = setting.recurrence.advance(state, setting.linearizer.sample(sample))
    rows = torch.tensor([0, 2, 5])
    plain = Marker(setting.linearizer, setting.recurrence)
    compiled = Marker(setting.linearizer, setting.recurrence, kernel=setting.kernel)
    for _ in range(3):  # until the plan of integration steps stays the same
        plain.confirmed(state, rows, 20, SAMPLES)
    wanted = plain.confirmed(state, rows, 20, SAMPLES)
    _check_equal(compiled.confirmed(state, rows, 20, SAMPLES), wanted)


def test_steps_across_a_direction(setting: Setting) -> None:
    state = setting.begin()
    levels = torch.zeros(RECORDS, len(setting.problem.records.outputs), dtype=torch.float64)
    objective = Objective(setting.problem, setting.recurrence.prior, levels, SAMPLES, lanes=2)
    z = torch.stack([state.point, state.point + 0.01])
    v = torch.linspace(0.5, 1.5, state.point.numel(), dtype=torch.float64).view_as(state.point)
    _, *found = objective.across(z, v)
    for mine, theirs in zip(found, across(*objective.equations(z), v), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9, equal_nan=True)


def _check_written(setting: Setting, state: Running, sample: int, rows: Tensor) -> None:
    track, belief = setting.track, state.belief
    delta, covariance = state.correction.applied(belief.delta, belief.covariance)
    wanted = {
        "mean": state.point + delta,
        "covariance": covariance,
        "freedom": setting.recurrence.freedom(state),
        "log_level": belief.log_level,
        "level_freedom": belief.freedom,
        "described": ~state.innovations.alarm,
    }
    for name, value in wanted.items():
        _close(getattr(track, name)[rows, sample], value[rows], name)


def _check_equal(found: Any, wanted: Any, path: str = "") -> None:
    for field in fields(wanted):
        mine, theirs = getattr(found, field.name), getattr(wanted, field.name)
        name = f"{path}.{field.name}"
        if isinstance(theirs, Tensor):
            _close(mine, theirs, name)
        else:
            _check_equal(mine, theirs, name)


def _close(found: Tensor, wanted: Tensor, name: str) -> None:
    # Off the diagonal, numbers can cancel: the tolerance is relative to the largest one.
    scale = float(wanted.double().abs().nan_to_num(0.0, 0.0, 0.0).amax()) if wanted.numel() else 0.0
    torch.testing.assert_close(
        found, wanted, rtol=1e-9, atol=1e-11 * (1.0 + scale), msg=lambda text: f"{name}: {text}"
    )
