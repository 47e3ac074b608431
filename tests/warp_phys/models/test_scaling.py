"""Samples: how records are held, flagged and scaled to what a network reads."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from warp_phys.models.scaling import Samples, Scaling, hold
from warp_phys.records.records import Records

HOLES = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=7),
    elements=st.one_of(st.just(np.nan), st.just(np.inf), st.floats(-9, 9)),
)


def records(observed: Any, times: Any = None, inputs: Any = None) -> Records:
    """Return records of values (N, T, O) at times (N, T), 0, 1, ... where not given."""
    values = torch.as_tensor(observed)
    count, length, outputs = values.shape
    grid = torch.arange(float(length), dtype=torch.float64).expand(count, -1).clone()
    known = torch.zeros(count, length, 0, dtype=torch.float64)
    return Records(
        observed=values,
        times=grid if times is None else torch.as_tensor(times),
        inputs=known if inputs is None else torch.as_tensor(inputs),
        outputs=tuple(f"y{place}" for place in range(outputs)),
        labels=tuple(range(count)),
        own_grids=True,
    )


def random_records(seed: int = 0, *, positive: bool = False) -> Records:
    """Return 40 ragged records of two outputs with gaps, at uneven dyadic times."""
    random = np.random.Generator(np.random.Philox(key=seed))
    values = random.normal([3.0, -40.0], [0.5, 10.0], (40, 9, 2))
    values[random.random(values.shape) < 0.2] = np.nan
    times = (1 + random.integers(1, 16, (40, 9))).cumsum(axis=1) / 8
    times[::3, 6:], values[::3, 6:] = np.nan, np.nan
    return records(np.exp(0.05 * values) if positive else values, times)


def scaled(part: Records, *, logarithmic: bool = False) -> Samples:
    """Return the samples of records, scaled by themselves."""
    scaling = Scaling(part.observed.shape[-1], part.inputs.shape[-1], logarithmic=logarithmic)
    scaling.measure(part)
    return scaling(part, torch.float64)


def assert_same(one: Samples, other: Samples, tolerance: float = 0.0) -> None:
    for name in ("signal", "missing", "step", "elapsed"):
        torch.testing.assert_close(
            getattr(one, name), getattr(other, name), rtol=tolerance, atol=tolerance
        )


def empty(observed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the memory of `hold` before anything was seen."""
    count, outputs = observed.shape[0], observed.shape[2]
    return torch.zeros(count, outputs, dtype=torch.bool), torch.zeros(count, outputs).double()


class TestHold:
    @given(HOLES)
    def test_gaps_take_the_last_value(self, values: np.ndarray) -> None:
        observed = torch.as_tensor(values)
        filled, seen, last = hold(observed, *empty(observed))
        for row in range(values.shape[0]):
            for output in range(values.shape[2]):
                value = np.nan
                for sample in range(values.shape[1]):
                    new = values[row, sample, output]
                    value = new if np.isfinite(new) else value
                    np.testing.assert_equal(filled[row, sample, output].item(), value)
                assert seen[row, output] == np.isfinite(value)
                assert last[row, output] == np.nan_to_num(value)

    @given(HOLES, st.data())
    def test_a_stream_goes_on_where_the_batch_was_cut(self, values: np.ndarray, data: Any) -> None:
        observed = torch.as_tensor(values)
        whole, *memory = hold(observed, *empty(observed))
        cut = data.draw(st.integers(0, values.shape[1]))
        before, *middle = hold(observed[:, :cut], *empty(observed))
        after, *end = hold(observed[:, cut:], *middle)
        assert torch.equal(torch.cat([before, after], dim=1).nan_to_num(7.5), whole.nan_to_num(7.5))
        for one, other in zip(end, memory, strict=True):
            assert torch.equal(one, other)


class TestScaling:
    def test_values_come_out_standard(self) -> None:
        part = random_records()
        for column in range(2):
            values = scaled(part).signal[..., column][part.seen[..., column]]
            low, middle, high = values.quantile(torch.tensor([0.25, 0.5, 0.75]).double())
            assert abs(middle) < 0.05
            assert (high - low).item() == pytest.approx(1.349)

    @pytest.mark.parametrize("logarithmic", [False, True])
    @pytest.mark.parametrize("start", [-(2.0**40), 0.125, 2.0**40])
    def test_times_may_start_anywhere(self, start: float, logarithmic: bool) -> None:
        part = random_records(positive=logarithmic)
        shifted = records(part.observed, part.times + start)
        one, other = (scaled(p, logarithmic=logarithmic) for p in (part, shifted))
        assert_same(one, other)

    @given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
    def test_units_do_not_matter(self, factor: float, clock: float) -> None:
        part = random_records()
        other = records(factor * part.observed + factor, clock * part.times)
        assert_same(scaled(part), scaled(other), 1e-9)

    @given(st.floats(1e-6, 1e6))
    def test_units_of_positive_outputs_do_not_matter(self, factor: float) -> None:
        part = random_records(positive=True)
        other = records(factor * part.observed, part.times)
        assert_same(scaled(part, logarithmic=True), scaled(other, logarithmic=True), 1e-9)

    def test_steps_count_in_typical_ones(self) -> None:
        times = np.array([[5.0, 6.0, 7.0, 9.0], [0.0, 1.0, 1.5, np.nan]])
        samples = scaled(records(np.ones((2, 4, 1)), times))
        assert samples.step.tolist() == [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, -0.5, 0.0]]
        assert samples.elapsed.tolist() == [[0.0, 0.25, 0.5, 1.0], [0.0, 0.25, 0.375, 0.375]]

    def test_gaps_are_flagged_and_silent_before_the_first_value(self) -> None:
        values = np.array([[[np.nan], [4.0], [np.nan], [2.0]]])
        samples = scaled(records(values))
        assert samples.missing[0, :, 0].tolist() == [1.0, 0.0, 1.0, 0.0]
        assert samples.signal[0, 0, 0] == 0.0
        assert samples.signal[0, 2, 0] == samples.signal[0, 1, 0]

    @pytest.mark.parametrize("logarithmic", [False, True])
    def test_a_constant_output_reads_as_zero(self, logarithmic: bool) -> None:
        samples = scaled(records(np.full((5, 4, 1), 7.0)), logarithmic=logarithmic)
        assert (samples.signal[..., 0] == 0.0).all()
        assert samples.signal.isfinite().all()

    def test_a_wild_value_is_capped(self) -> None:
        part = random_records()
        part.observed[0, 0, 0] = 1e300
        samples = scaled(part)
        assert samples.signal.abs().max() == 8.0

    @pytest.mark.parametrize("value", [0.0, -3.0])
    def test_a_value_without_a_logarithm_is_no_poison(self, value: float) -> None:
        part = random_records(positive=True)
        part.observed[3, 4, 1] = value
        assert scaled(part, logarithmic=True).signal.isfinite().all()

    def test_inputs_are_standardized_beside_the_outputs(self) -> None:
        force = np.random.Generator(np.random.Philox(key=1)).normal(5.0, 3.0, (30, 8, 1))
        samples = scaled(records(np.ones((30, 8, 1)), inputs=force))
        assert samples.signal.shape == (30, 8, 2)
        assert samples.signal[..., 1].mean().item() == pytest.approx(0.0, abs=1e-12)
        assert samples.signal[..., 1].std().item() == pytest.approx(1.0)

    @given(st.integers(0, 39), st.integers(0, 8), st.integers(0, 1))
    def test_a_hole_changes_nothing_before_it_or_beside_it(
        self, row: int, sample: int, output: int
    ) -> None:
        part = random_records()
        scaling = Scaling(2, 0, logarithmic=False)
        scaling.measure(part)
        holed = part.observed.clone()
        holed[row, sample, output] = torch.nan
        one = scaling(part, torch.float64).signal
        other = scaling(records(holed, part.times), torch.float64).signal
        changed = (one != other).nonzero()
        assert (changed[:, 0] == row).all()
        assert (changed[:, 1] >= sample).all()
        assert (changed[:, 2] == output).all()

    def test_residuals_count_in_standard_deviations(self) -> None:
        part = random_records()
        scaling = Scaling(2, 0, logarithmic=False)
        scaling.measure(part)
        moved = scaling.residual(part.observed + scaling.spread, part.observed)
        torch.testing.assert_close(moved[part.seen], torch.ones(int(part.seen.sum())).double())
        assert moved[~part.seen].isnan().all()

    def test_an_output_nobody_measured(self) -> None:
        values = np.stack([np.arange(12.0).reshape(3, 4), np.full((3, 4), np.nan)], axis=-1)
        samples = scaled(records(values))
        assert samples.signal.isfinite().all()
        assert (samples.signal[..., 1] == 0.0).all()
