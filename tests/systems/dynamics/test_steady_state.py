"""Steady states and their derivatives, against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.systems.dynamics.resting_systems import Birth, Receptor, Switch
from warp_phys.systems import LotkaVolterra, System
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.steady_state import SteadyProblem, steady_slopes, steady_states


def numbers(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def problem(
    system: System, parameters: Tensor, initial: Tensor, inputs: Tensor | None = None
) -> SteadyProblem:
    return SteadyProblem(system, parameters, initial, inputs, torch.zeros(len(parameters)).double())


def receptor(q: Tensor, u: float, total: float = 2.0) -> Tensor:
    bound = total * q[0] * u / (q[0] * u + q[1])
    return torch.stack([total - bound, bound, q[2] * (1.0 + bound) / q[3]])


RATES = numbers([1.0, 2.0, 3.0, 4.0], [1e-6, 2e-3, 30.0, 0.04], [0.3, 1e3, 1e-4, 2.0])
LEVELS = numbers([1.5], [2.0], [0.0])
START = numbers([2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [2.0, 0.0, 0.0])


class TestConservedTotals:
    def test_is_the_closed_form(self) -> None:
        found = steady_states(problem(Receptor(), RATES, START, LEVELS))
        for row in range(3):
            expected = receptor(RATES[row], float(LEVELS[row]))
            torch.testing.assert_close(found[row], expected, rtol=1e-10, atol=1e-14)

    def test_slopes(self) -> None:
        given = problem(Receptor(), RATES, START, LEVELS)
        by_parameter, by_initial = steady_slopes(given, steady_states(given))
        for row in range(3):
            level = float(LEVELS[row])
            expected = torch.func.jacfwd(lambda q, u=level: receptor(q, u))(RATES[row])
            torch.testing.assert_close(by_parameter[row], expected, rtol=1e-8, atol=1e-12)
            by_total = torch.func.jacfwd(lambda a, r=row, u=level: receptor(RATES[r], u, a))(
                torch.tensor(2.0, dtype=torch.float64)
            )
            # The total is r + c, whatever the product is.
            torch.testing.assert_close(by_initial[row][:, 0], by_total, rtol=1e-8, atol=1e-12)
            torch.testing.assert_close(by_initial[row][:, 1], by_total, rtol=1e-8, atol=1e-12)
            torch.testing.assert_close(
                by_initial[row][:, 2], torch.zeros(3).double(), atol=1e-12, rtol=0
            )

    def test_alone_and_in_a_batch(self) -> None:
        together = steady_states(problem(Receptor(), RATES, START, LEVELS))
        alone = steady_states(problem(Receptor(), RATES[1:2], START[1:2], LEVELS[1:2]))
        torch.testing.assert_close(alone[0], together[1], rtol=1e-12, atol=0.0)

    def test_from_a_guess(self) -> None:
        given = problem(Receptor(), RATES, START, LEVELS)
        found = steady_states(given)
        torch.testing.assert_close(steady_states(given, 1.3 * found), found, rtol=1e-10, atol=1e-14)


class TestSeveralStates:
    def test_is_not_traced(self) -> None:
        assert translated(Switch()) is None

    @pytest.mark.parametrize(("start", "high"), [(0.05, False), (3.0, True)])
    def test_the_one_that_the_start_leads_to(self, start: float, high: bool) -> None:
        """The switch rests at a low and at a high level, with an unstable one between them."""
        found = steady_states(problem(Switch(), numbers([0.05, 2.0]), numbers([start])))
        assert bool(found[0, 0] > 1.0) is high
        y = found[0, 0]
        torch.testing.assert_close(0.05 + 2.0 * y**2 / (1.0 + y**2), y, rtol=1e-12, atol=0.0)

    def test_slopes(self) -> None:
        given = problem(Switch(), numbers([0.05, 2.0]), numbers([3.0]))
        slopes, _ = steady_slopes(given, steady_states(given))
        step = 1e-5
        moved = [
            steady_states(problem(Switch(), numbers([0.05, 2.0 + h]), numbers([3.0])))[0, 0]
            for h in (step, -step)
        ]
        torch.testing.assert_close(
            slopes[0, 0, 1], (moved[0] - moved[1]) / (2 * step), rtol=1e-7, atol=0.0
        )


class TestNone:
    def test_growth_without_end(self) -> None:
        found = steady_states(
            problem(Birth(), numbers([1.0, 0.0], [1.0, 0.5]), numbers([1.0], [1.0]))
        )
        assert found[0].isnan().all()
        torch.testing.assert_close(found[1], numbers(2.0), rtol=1e-12, atol=0.0)

    def test_an_oscillation(self) -> None:
        found = steady_states(
            problem(LotkaVolterra(), numbers([0.5, 0.02, 0.8, 0.02]), numbers([30.0, 4.0]))
        )
        assert found.isnan().all()

    def test_parameters_that_are_no_numbers(self) -> None:
        found = steady_states(problem(Birth(), numbers([torch.nan, 1.0]), numbers([1.0])))
        assert found.isnan().all()
