"""Bands hold what they promise, whatever the network's own scale is worth."""

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.warp_phys.user_systems import Saturation
from warp_phys.models.bands import bands
from warp_phys.models.calibration import FEWEST_RECORDS, PROBABILITIES, Calibration
from warp_phys.models.choices import choose
from warp_phys.models.coordinates import Physical, build_coordinates
from warp_phys.models.gaussian import Gaussian, state_size
from warp_phys.models.network import Network
from warp_phys.systems import UsageError

LENGTH = 100


def skewed(count: int, seed: int) -> Tensor:
    """Return scores (N, T, 2) far from normal: centered exponentials, narrower with the time."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 1, 2)
    drawn = torch.empty(shape, dtype=torch.float64).exponential_(generator=generator) - 1.0
    width = torch.linspace(1.2, 1.0, LENGTH, dtype=torch.float64).view(1, -1, 1)
    return drawn * width * torch.tensor([1.0, -4.0], dtype=torch.float64)


def emitted(scores: Tensor) -> tuple[Gaussian, Tensor]:
    """Return estimates of truth 0 that miss it by these scores, with scales that are no help."""
    count = scores.shape[0]
    scale = torch.tensor([0.1, 20.0], dtype=torch.float64).expand(count, LENGTH, 2)
    coupling = torch.zeros(count, LENGTH, 1, dtype=torch.float64)
    return Gaussian(-scores * scale, scale.log(), coupling), torch.zeros(count, 2).double()


def measured(count: int = 2000, *, ragged: bool = False) -> Calibration:
    calibration = Calibration(2)
    valid = torch.ones(count, LENGTH, dtype=torch.bool)
    if ragged:
        valid[FEWEST_RECORDS // 2 :, 60:] = False
    calibration.measure(*emitted(skewed(count, 0)), valid)
    return calibration


def positions(count: int) -> Tensor:
    return torch.arange(1, LENGTH + 1).expand(count, -1)


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
def test_bands_cover_fresh_scores_at_every_length(level: float) -> None:
    calibration = measured()
    fresh = skewed(20_000, 1)
    tail = 0.5 * (1.0 - level)
    low, high = (calibration.offsets(positions(20_000), p) for p in (tail, 1.0 - tail))
    inside = ((low <= fresh) & (fresh <= high)).double().mean(dim=0)
    # Four standard errors of 2,000 records, and what changes from one tabulated length to the next.
    assert (inside - level).abs().max() < 0.03
    assert (inside.mean(dim=0) - level).abs().max() < 0.02
    below = (fresh < low).double().mean(dim=(0, 1))
    assert (below - tail).abs().max() < 0.02


def test_levels_between_tabulated_ones_lie_between() -> None:
    calibration, place = measured(), torch.tensor([1, 7, 100])
    levels = np.linspace(PROBABILITIES[0], PROBABILITIES[-1], 60)
    offsets = torch.stack([calibration.offsets(place, float(p)) for p in levels])
    assert (offsets.diff(dim=0) >= 0).all()
    for probability in PROBABILITIES:
        near = calibration.offsets(place, probability * (1.0 - 1e-12) + 5e-13)
        torch.testing.assert_close(calibration.offsets(place, probability), near)


def test_normal_scores_give_the_normal_quantiles() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20_000, LENGTH, 2, generator=generator, dtype=torch.float64)
    calibration = Calibration(2)
    calibration.measure(*emitted(scores), torch.ones(20_000, LENGTH, dtype=torch.bool))
    for level, quantile in ((0.6, 0.253347), (0.85, 1.036433), (0.97, 1.880794)):
        offset = calibration.offsets(torch.tensor([1, 50, 100]), level)
        torch.testing.assert_close(offset, torch.full_like(offset, quantile), atol=0.05, rtol=0.0)
    torch.testing.assert_close(
        calibration.widening(torch.tensor([3])), torch.ones(1, 2).double(), atol=0.04, rtol=0.0
    )


def test_beyond_the_longest_calibrated_record_its_quantiles_hold() -> None:
    calibration = measured()
    far, last = (calibration.offsets(torch.tensor([place]), 0.95) for place in (10_000, LENGTH))
    assert torch.equal(far, last)


def test_lengths_that_few_records_reach_take_the_last_known_quantiles() -> None:
    calibration = measured(400, ragged=True)
    assert calibration.measured
    late = calibration.offsets(torch.tensor([LENGTH]), 0.95)
    known = calibration.offsets(torch.tensor([60]), 0.95)
    assert torch.equal(late, known)


@pytest.mark.parametrize("probability", [0.001, 0.9975])
def test_levels_beyond_the_table_are_refused(probability: float) -> None:
    with pytest.raises(UsageError, match=r"calibrated for levels up to 0\.99"):
        measured(200).offsets(torch.tensor([1]), probability)


def test_ninety_nine_percent_is_the_widest_band() -> None:
    level = 0.99
    tail = 0.5 * (1.0 - level)
    for probability in (tail, 1.0 - tail):
        assert measured(200).offsets(torch.tensor([1]), probability).isfinite().all()


def test_without_enough_records_there_is_no_table() -> None:
    calibration = measured(FEWEST_RECORDS - 1)
    assert not calibration.measured
    assert (calibration.widening(torch.tensor([1, 2])) == 1.0).all()
    assert measured(FEWEST_RECORDS).measured


def test_a_table_is_saved_with_the_model() -> None:
    calibration, copy = measured(), Calibration(2)
    copy.load_state_dict(calibration.state_dict())
    place = torch.tensor([5])
    assert torch.equal(copy.offsets(place, 0.9), calibration.offsets(place, 0.9))


def test_bands_are_in_order_on_every_support() -> None:
    """Also on one with an upper bound alone, whose bijection decreases."""
    system = Saturation()
    generator = torch.Generator().manual_seed(0)
    unit = torch.rand(300, 5, generator=generator, dtype=torch.float64)
    low = torch.tensor([0.1, 0.2, -2.0, -5.0, 3.0]).double()
    high = torch.tensor([1.0, 0.8, 2.0, -1.0, 3.0]).double()
    truth = Physical(low + (high - low) * unit, 1.0 + unit[:, :1], 0.1 + 0.2 * unit[:, :1])
    coordinates = build_coordinates(system, truth, system.output_names)
    size = len(coordinates)
    network = Network(choose(head="direct", width=8), coordinates, 1, 0, logarithmic=False)
    state = torch.zeros(300, LENGTH, state_size(size), dtype=torch.float64)
    estimate = Gaussian.from_state(state, size)
    line = coordinates.encode(truth)
    network.calibration.measure(estimate, line, torch.ones(300, LENGTH, dtype=torch.bool))
    value, lower, upper = bands(network, estimate, positions(300), 0.9)
    for name in ("parameters", "initial_state", "noise_sd"):
        below, middle, above = (getattr(part, name) for part in (lower, value, upper))
        assert (below <= middle).all()
        assert (middle <= above).all()
    inside = (lower.parameters <= truth.parameters[:, None]) & (
        truth.parameters[:, None] <= upper.parameters
    )
    torch.testing.assert_close(
        inside[..., :4].double().mean(dim=(0, 1)), torch.full((4,), 0.9).double(), atol=0.02, rtol=0
    )
