"""Streams: one sample of many sensors at a time, in constant memory."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch

import warp_phys as wp
from warp_phys.systems import UsageError


class TestStreamOfSensors:
    def test_memory_does_not_grow(self, trained: wp.WarpPhys) -> None:
        state = trained.init_state(2)
        sizes = []
        for time in range(30):
            state, _ = trained.step(state, time, [[10.0 + time, 5.0]] * 2)
            tensors = (value for value in vars(state).values() if isinstance(value, torch.Tensor))
            sizes.append(sum(value.numel() for value in tensors))
        assert len(set(sizes)) == 1

    def test_a_state_can_be_used_again(self, trained: wp.WarpPhys) -> None:
        """Steps return a new memory and leave the old one as it is."""
        state, _ = trained.step(trained.init_state(), 0.0, [[10.0, 5.0]])
        one = trained.step(state, 1.0, [[12.0, 5.0]])[1]
        trained.step(state, 1.0, [[90.0, 1.0]])
        again = trained.step(state, 1.0, [[12.0, 5.0]])[1]
        assert torch.equal(one.parameters, again.parameters)

    def test_numbers_serve_for_one_sensor(self, trained: wp.WarpPhys) -> None:
        plain = trained.step(trained.init_state(), 0, [10, 5])[1]
        full = trained.step(trained.init_state(1), [0.0], [[10.0, 5.0]])[1]
        assert torch.equal(plain.parameters, full.parameters)

    def test_infinite_is_missing(self, trained: wp.WarpPhys) -> None:
        one = trained.step(trained.init_state(), 0.0, [[np.inf, 5.0]])[1]
        other = trained.step(trained.init_state(), 0.0, [[np.nan, 5.0]])[1]
        assert torch.equal(one.parameters, other.parameters)

    @pytest.mark.parametrize("head", ["direct", "regression"])
    @pytest.mark.parametrize(
        ("times", "observed", "message"),
        [
            (0.5, [[1.0, 2.0], [1.0, 2.0]], r"times to increase, got 0\.5 for sensor 0 after 1"),
            ([2.0, 1.0], [[1.0, 2.0]] * 2, "times to increase, got 1 for sensor 1 after 1"),
            ([2.0, np.nan], [[1.0, 2.0]] * 2, "finite times, got nan for sensor 1"),
            (2.0, [[1.0, 2.0]], r"observed of shape \(2, 2\) \(one row a sensor\), got \(1, 2\)"),
            ([[2.0, 2.0]], [[1.0, 2.0]] * 2, r"times of shape \(2,\)"),
            (2.0, [["a", "b"]] * 2, "observed as numbers of shape"),
        ],
    )
    def test_mistakes_are_named(
        self, trained: wp.WarpPhys, head: str, times: Any, observed: Any, message: str
    ) -> None:
        model = trained if head == "direct" else wp.WarpPhys("lotka_volterra", head="regression")
        state, _ = model.step(model.init_state(2), 1.0, [[1.0, 2.0]] * 2)
        with pytest.raises(UsageError, match=message):
            model.step(state, times, observed)

    def test_there_is_at_least_one_sensor(self, trained: wp.WarpPhys) -> None:
        with pytest.raises(UsageError, match="at least one sensor, got 0"):
            trained.init_state(0)

    def test_single_precision_takes_half_the_space(self, trained: wp.WarpPhys) -> None:
        for dtype in (torch.float32, torch.float64):
            state, _ = trained.step(trained.init_state(2, dtype=dtype), 0.0, [[10.0, 5.0]] * 2)
            assert state.signals.dtype == state.theta.dtype == dtype
            # Time keeps its digits.
            assert state.start.dtype == state.elapsed.dtype == torch.float64

    def test_a_new_stream_reads_the_weights_as_they_are(self, trained: wp.WarpPhys) -> None:
        model = copy.deepcopy(trained)

        def first() -> torch.Tensor:
            state = model.init_state(dtype=torch.float32)
            return model.step(state, 0.0, [[10.0, 5.0]])[1].parameters

        before = first()
        model.built()[0].initial.base.add_(0.1)
        assert (first() != before).all()

    def test_a_stream_goes_on_in_another_process(self, trained: wp.WarpPhys) -> None:
        state, _ = trained.step(trained.init_state(dtype=torch.float32), 0.0, [[10.0, 5.0]])
        model, again = pickle.loads(pickle.dumps((trained, state)))
        one, other = (
            m.step(s, 1.0, [[11.0, 5.0]])[1] for m, s in ((trained, state), (model, again))
        )
        assert torch.equal(one.parameters, other.parameters)

    def test_other_precisions_are_refused(self, trained: wp.WarpPhys) -> None:
        with pytest.raises(UsageError, match=r"torch.float32 or torch.float64, got torch.float16"):
            trained.init_state(dtype=torch.float16)
        regression = wp.WarpPhys("lotka_volterra", head="regression")
        with pytest.raises(UsageError, match=r"dtype=torch.float64 for the regression head"):
            regression.init_state(dtype=torch.float32)
