"""Streams of the information recurrence are equal to whole records."""

from __future__ import annotations

import pytest
import torch
import xarray as xr
from torch import Tensor

from tests.warp_phys.models.information.stream.sensor_cases import (
    CASES,
    SENSORS,
    Case,
    assert_equal_to_track,
    case,
    estimates_of,
    streamed,
)
from warp_phys.records.records import Records, read_records


class TestWholeRecords:
    @pytest.mark.parametrize("name", CASES)
    def test_equals_the_estimates_of_records(self, name: str) -> None:
        assert_equal_to_track(CASES[name]())

    def test_an_estimate_depends_on_no_later_sample(self) -> None:
        """Neither does that of a record: its start is linearized at what was seen by then."""
        given = CASES["gaps"]()
        observed = given.records.observed.clone()
        observed[:, 20:] *= 3.0
        later = Case(
            read_records(_like(given.records, observed), given.system, empty=True),
            given.system,
            given.known,
            given.priors,
        )
        torch.testing.assert_close(
            given.tracked().mean[:, :20], later.tracked().mean[:, :20], rtol=1e-12, atol=1e-12
        )

    def test_a_sensor_alone_equals_itself_among_others(self) -> None:
        given = CASES["gaps"]()
        together, _ = streamed(given)
        for row in (0, 1, 3):
            alone, _ = streamed(given.select([row]))
            for one, all_of_them in zip(alone, together, strict=True):
                mean, covariance = estimates_of(one.running)
                other_mean, other_covariance = estimates_of(all_of_them.running)
                torch.testing.assert_close(mean[0], other_mean[row], rtol=1e-9, atol=1e-9)
                torch.testing.assert_close(covariance[0], other_covariance[row], rtol=1e-8, atol=0)

    def test_bands_hold_the_estimate_and_known_values(self) -> None:
        given = CASES["known initial state"]()
        _, estimates = streamed(given)
        now = estimates[-1]
        assert (now.lower < now.parameters).all()
        assert (now.parameters < now.upper).all()
        assert (now.initial_state[:, 0] == 20.0).all()
        assert now.described is not None
        assert now.described.shape == (SENSORS,)
        assert now.status is not None

    def test_a_sensor_that_cannot_be_integrated_leaves_the_others_alone(self) -> None:
        given = CASES["all states"]()
        wild = given.records.observed.clone()
        wild[4, 9:] = 1e300
        other = case("lotka_volterra", _like(given.records, wild))
        plain, _ = streamed(given)
        disturbed, _ = streamed(other)
        rest = torch.tensor([0, 1, 2, 3, 5])
        mean, _ = estimates_of(plain[-1].running)
        same, _ = estimates_of(disturbed[-1].running)
        torch.testing.assert_close(same[rest], mean[rest], rtol=1e-9, atol=1e-9)


def _like(records: Records, observed: Tensor) -> xr.Dataset:
    return xr.Dataset(
        {"observed": (("trajectory", "time", "output"), observed.numpy())},
        coords={"time": records.times[0].numpy(), "output": list(records.outputs)},
    )
