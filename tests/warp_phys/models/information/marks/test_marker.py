"""What a mark says of a record: another optimum, and an estimate that has jumped or was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

import warp_phys as wp
from tests.warp_phys.models.information.decay import decays, stated
from warp_phys.data_gen import simulate
from warp_phys.models.information.marks.marker import _judged
from warp_phys.models.information.prior.moments import InCoordinates
from warp_phys.models.information.running import Recurrence
from warp_phys.systems import Parameter, State, System

ROOT, LEVEL = 1.5, 0.3


class Square(System):
    """A constant, the square of an unknown that may have either sign."""

    time_unit = "s"
    states = (State("x", "1"),)
    parameters = (Parameter("root", "1", "real", (-2.0, 2.0)),)

    def rhs(self, t: Any, y: Any, p: Any) -> Any:
        return (0.0 * y[0],)

    def initial_state(self, p: Any) -> Any:
        return (p.root**2,)

    def solution(self, t: Any, y0: Any, p: Any) -> Any:
        return (y0[0] + 0.0 * t,)


def test_a_second_optimum_sets_a_bit_and_widens_the_spread() -> None:
    data = simulate(
        Square(), 12, np.arange(6.0), parameters={"root": ROOT}, noise={"x": LEVEL}, seed=0
    )
    for mean in (0.1, 3.0):
        prior = {"root": InCoordinates(mean, 1.0)}
        model = wp.WarpPhys(Square(), priors=prior, noise_sd={"x": LEVEL})
        found = wp.estimate(model, data, progress=False).isel(time=-1)
        value, variance = found["unknowns"][:, 0], found["unknowns_covariance"][:, 0, 0]
        # The likelihood of both signs is the same: that of the prior tells their weights.
        gap = 2.0 * mean * abs(value)
        apart = 4.0 * value**2 / (1.0 + np.exp(gap))
        assert ((found["estimate_status"] & 2 == 2) == (mean < 1.0)).all()
        if mean < 1.0:
            np.testing.assert_allclose(variance, apart, rtol=0.05)
        else:
            assert (variance < 0.02).all()


def test_bits_of_lost_records_and_of_estimates_that_jumped() -> None:
    problem, prior = stated(decays(4, 5, seed=0))
    recurrence = Recurrence(prior, problem.distribution, problem.noise)  # type: ignore[arg-type]
    before = recurrence.start(prior.mean.expand(4, -1), 1)
    # In standard deviations of both unknowns, which are 1.
    steps = torch.tensor([0.0, 3.9, 4.1, 0.0]).double().unsqueeze(1)
    found = replace(before, point=before.point + steps, status=torch.tensor([1 | 4 | 8, 0, 0, 2]))
    found = replace(found, belief=replace(found.belief, delta=torch.zeros(4, 2).double()))
    lost = torch.tensor([False, False, False, True])
    assert _judged(found, before, lost=lost).status.tolist() == [8, 0, 4, 2 | 1]
