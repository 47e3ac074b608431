"""What every engine of a fit keeps to; a test class for each kind of system inherits it.

The engines are compared with each other, and with the sums that their case expects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.warp_phys.likelihood.engines.engine_case import (
    LANES,
    SAMPLES,
    EngineCase,
    differentiated,
    untraceable,
)
from warp_phys.likelihood.engines.choose import build_engine, engine_name
from warp_phys.likelihood.engines.engine import Sums
from warp_phys.likelihood.problem import FitProblem
from warp_phys.systems.compiling.compiler import compiler

needs_compiler = pytest.mark.skipif(compiler() is None, reason="no C++ compiler here")


class EngineContract(EngineCase):
    """A subclass says which system, how it is observed, and what is known."""

    @pytest.fixture(scope="class")
    @classmethod
    def reached(cls) -> tuple[Sums, Tensor]:
        """What the fastest engine gives."""
        contract = cls()
        return contract.evaluated(contract.problem())

    def close(self, found: Any, expected: Any, rtol: float) -> None:
        (sums, predicted), (others, values) = found, expected
        assert torch.equal(sums.status, others.status)
        for name in ("hessian", "gradient", "squares", "counted"):
            one, other = getattr(sums, name), getattr(others, name)
            # Products of residuals of either sign cancel: their size is that of the batch's.
            size = other.abs().amax(dim=0, keepdim=True)
            assert ((one - other).abs() <= rtol * size).all(), name
        torch.testing.assert_close(
            predicted,
            values,
            rtol=rtol,
            atol=rtol * float(values.nan_to_num().abs().max()),
            equal_nan=True,
        )

    @needs_compiler
    def test_is_compiled(self) -> None:
        assert engine_name(self.problem()) == "compiled"

    def test_is_the_sum_of_products(self, reached: tuple[Sums, Tensor]) -> None:
        self.close(reached, self.expected(self.problem()), rtol=1e-6)
        assert (reached[0].squares > 0.0).all()

    def test_numpy_gives_the_same(
        self, reached: tuple[Sums, Tensor], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        problem = self.problem()
        assert engine_name(problem) == "numpy"
        self.close(self.evaluated(problem), reached, rtol=1e-10)

    def test_torch_gives_the_same(self) -> None:
        problem = self.problem(untraceable(self.system), rtol=1e-5)
        assert engine_name(problem) == "torch"
        fastest = self.evaluated(self.problem(rtol=1e-5))
        self.close(self.evaluated(problem), fastest, rtol=1e-10)

    def test_without_sensitivities_the_squares_are_the_same(
        self, reached: tuple[Sums, Tensor]
    ) -> None:
        sums, predicted = self.evaluated(self.problem(), sensitivities=False)
        torch.testing.assert_close(sums.squares, reached[0].squares, rtol=1e-12, atol=0.0)
        torch.testing.assert_close(predicted, reached[1], rtol=1e-12, atol=1e-12, equal_nan=True)

    def test_a_lane_alone_has_the_same_bits(self, reached: tuple[Sums, Tensor]) -> None:
        for lane in (0, 8, LANES - 1):
            sums, predicted = self.evaluated(self.problem(), chosen=torch.tensor([lane]))
            for name, value in vars(sums).items():
                assert torch.equal(value[lane], getattr(reached[0], name)[lane]), name
            assert torch.equal(predicted[lane].nan_to_num(), reached[1][lane].nan_to_num())

    def linearized(self, problem: FitProblem, **options: Any) -> tuple[Tensor, Tensor]:
        """Return what the fastest engine writes to `jacobian` and `ending`, NaN where nothing."""
        outputs, unknowns = len(problem.records.outputs), len(problem.unknowns)
        shape = (LANES, max(SAMPLES), outputs, unknowns)
        jacobian = torch.full(shape, torch.nan, dtype=torch.float64)
        states = len(problem.system.states)
        ending = torch.full((LANES, 1 + unknowns, states), torch.nan, dtype=torch.float64)
        self.evaluated(problem, jacobian=jacobian, ending=ending, **options)
        return jacobian, ending

    def same(self, found: Tensor, expected: Tensor, rtol: float) -> None:
        size = float(expected.nan_to_num().abs().max())
        torch.testing.assert_close(found, expected, rtol=rtol, atol=rtol * size, equal_nan=True)

    def test_the_jacobian_is_that_of_the_predictions(self) -> None:
        """At samples without a value, too, and nowhere after the last sample of a lane."""
        _, slopes = differentiated(type(self))[0]
        _, limit, _, _ = self.lanes()
        reached = torch.arange(max(SAMPLES)) < limit[:, None]
        expected = torch.where(reached[:, :, None, None], slopes.movedim(0, 3), torch.nan)
        self.same(self.linearized(self.problem())[0], expected, rtol=1e-6)

    def test_the_ending_is_the_state_at_the_last_sample(self) -> None:
        value, slopes = differentiated(type(self))[1]
        expected = torch.cat([value.unsqueeze(1), slopes.movedim(0, 1)], dim=1)
        self.same(self.linearized(self.problem())[1], expected, rtol=1e-6)

    def test_engines_linearize_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        problem = self.problem(rtol=1e-4)
        fastest = self.linearized(problem)
        slow = self.linearized(self.problem(untraceable(self.system), rtol=1e-4))
        monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        for found in (slow, self.linearized(problem)):
            for one, other in zip(found, fastest, strict=True):
                self.same(one, other, rtol=1e-9)

    @pytest.mark.parametrize("engine", ["fastest", "numpy"])
    def test_a_limit_ends_a_record_early(
        self, engine: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A limit of an evaluation has the bits of an engine that was built for it."""
        if engine == "numpy":
            monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        problem = self.problem(rtol=1e-4)
        rows, limit, _, _ = self.lanes()
        shorter = (limit - 2).clamp_min(1)
        built = self.evaluated(problem, build_engine(problem, rows, shorter))
        found = self.evaluated(problem, build_engine(problem, rows, limit), limit=shorter)
        self.close(found, built, rtol=1e-14)
        for one, other in zip(
            self.linearized(problem, engine=build_engine(problem, rows, shorter)),
            self.linearized(problem, limit=shorter),
            strict=True,
        ):
            self.same(one, other, rtol=1e-14)

    def test_again_from_its_own_plan_of_steps(self, reached: tuple[Sums, Tensor]) -> None:
        problem = self.problem()
        rows, limit, _, _ = self.lanes()
        engine = build_engine(problem, rows, limit)
        self.evaluated(problem, engine)
        self.close(self.evaluated(problem, engine), reached, rtol=1e-6)

    @pytest.mark.parametrize("engine", ["fastest", "numpy"])
    def test_a_lane_without_numbers(self, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
        if engine == "numpy":
            monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        self.leaves_its_neighbors_alone(self.problem(rtol=1e-6))

    def leaves_its_neighbors_alone(self, problem: FitProblem) -> None:
        """A lane that is not finite is flagged; the others have the same bits as without it."""
        problem = replace(problem, max_steps=200)
        good, _ = self.evaluated(problem)
        sums, _ = self.evaluated(problem, changed={10: torch.nan})
        others = torch.arange(LANES) != 10
        assert sums.status.tolist() == (~others).int().tolist()
        assert (sums.squares[10] == torch.inf).all()
        for name, value in vars(sums).items():
            assert torch.equal(value[others], getattr(good, name)[others]), name
