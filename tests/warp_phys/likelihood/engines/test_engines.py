"""Engines of a fit, for each kind of system: the contract, and what a kind has besides."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tests.systems.compiling.traced_systems import Forced
from tests.systems.noise.student_t import StudentT
from tests.warp_phys.likelihood.engines.engine_case import LANES, untraceable
from tests.warp_phys.likelihood.engines.engine_contract import EngineContract
from tests.warp_phys.user_systems import DrivenOscillator, Switched
from warp_phys.systems import (
    DampedOscillator,
    Dose,
    LotkaVolterra,
    Pendulum,
    Sine,
)


class TestLotkaVolterra(EngineContract):
    system = LotkaVolterra()
    end = 1.0

    def test_a_lane_without_numbers_in_torch(self) -> None:
        self.leaves_its_neighbors_alone(self.problem(untraceable(self.system), rtol=1e-4))

    def test_a_lane_that_diverges(self) -> None:
        """Predators that nothing stops leave the numbers before the first sample."""
        sums, predicted = self.evaluated(self.problem(), changed={3: 1e9})
        assert sums.status[3] == 1
        assert (sums.squares[3] == torch.inf).all()
        assert predicted[3].isnan().all()
        assert (sums.status[torch.arange(LANES) != 3] == 0).all()


class TestLogNormalLotkaVolterra(EngineContract):
    system = LotkaVolterra()
    end = 1.0
    distribution = "lognormal"


class TestSquaredLoss(EngineContract):
    system = LotkaVolterra()
    end = 1.0
    loss = "linear"

    def half_loss(self, scaled: Tensor) -> Tensor:
        return 0.5 * scaled.square()


class TestUsersNoise(EngineContract):
    system = LotkaVolterra()
    end = 1.0
    distribution = StudentT(4.0)
    loss = "linear"

    def half_loss(self, scaled: Tensor) -> Tensor:
        return -torch.distributions.StudentT(torch.tensor(4.0).double()).log_prob(scaled) + float(
            torch.distributions.StudentT(torch.tensor(4.0).double()).log_prob(torch.zeros(()))
        )


class TestPendulumAngle(EngineContract):
    system = Pendulum(g=9.81)
    observe = ("angle",)
    end = 1.0


class TestDampedOscillator(EngineContract):
    system = DampedOscillator()
    end = 1.0


class TestSine(EngineContract):
    system = Sine(frequency=None)
    end = 2.0


class TestDrivenOscillator(EngineContract):
    system = DrivenOscillator()
    initial_state = {"velocity": 0.0}
    end = 1.5


class TestForced(EngineContract):
    """Outputs of inputs, states and parameters, in another order than declared."""

    system = Forced()
    observe = ("x", "power")
    end = 1.0


class TestSwitched(EngineContract):
    """Inputs held from sample to sample."""

    system = Switched()
    end = 1.0


class TestSwitchedBetweenSamples(EngineContract):
    """A held and a linear input with times of their own, and kicks before and at samples."""

    system = Switched()
    end = 1.0
    knots = 5
    doses = (Dose("v", (0.5, 1.0), (0.4, 0.6)), Dose("x", -0.3, 0.7))


class TestKickedOscillator(EngineContract):
    """Doses in a closed form, two of them at once."""

    system = DampedOscillator()
    end = 1.0
    doses = (
        Dose("velocity", (1.0, 2.0), (0.4, 0.6)),
        Dose("position", 0.5, [0.5, 0.5, np.nan, 0.6, 0.7]),
        Dose("velocity", -1.0, 0.5),
    )
