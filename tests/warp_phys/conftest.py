from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import warp_phys as wp
from tests.warp_phys.fitting.noisy_records import noisy_records
from warp_phys.recurrence.kernels.library import forget
from warp_phys.systems import LotkaVolterra


@pytest.fixture(scope="session")
def noisy_model() -> wp.WarpPhys:
    """Return a model trained briefly on `noisy_records`; tests must leave it as it is."""
    chosen = wp.WarpPhys(LotkaVolterra(), head="direct", window=8, width=32)
    wp.train(chosen, noisy_records(4000, seed=1), steps=400, progress=False)
    return chosen


@pytest.fixture
def without_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Return what takes the compiler away for the rest of the test."""

    def take_away() -> None:
        monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
        forget()

    yield take_away
    monkeypatch.delenv("WARP_PHYS_COMPILER", raising=False)
    forget()
