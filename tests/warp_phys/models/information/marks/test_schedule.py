"""Marks: early ones dense, later ones growing, so that passes over a record stay few."""

from __future__ import annotations

from itertools import pairwise

import pytest

from warp_phys.models.information.marks.schedule import marks


@pytest.mark.parametrize("samples", [1, 2, 8, 9, 50, 333, 10_000])
def test_all_passes_together_are_a_few_of_the_record(samples: int) -> None:
    found = marks(samples)
    assert found == sorted(set(found))
    assert 0 < found[0] <= found[-1] <= samples
    # Each mark is a pass over the record so far: a geometric series.
    assert sum(found) <= 3.6 * samples + 36


def test_the_marks_of_a_beginning_are_those_of_the_record() -> None:
    whole = marks(1000)
    for samples in range(1, 200):
        assert marks(samples) == [mark for mark in whole if mark <= samples]


def test_no_record_waits_long_for_a_mark() -> None:
    found = marks(10_000)
    assert all(after <= 1.5 * before for before, after in pairwise(found[2:]))
    assert marks(0) == []
