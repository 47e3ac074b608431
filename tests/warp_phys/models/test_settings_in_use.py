"""Every setting of a model has an effect on its numbers, or is refused, whatever the head."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import warp_phys as wp
from tests.warp_phys.models.drives.own_drives import Rate
from tests.warp_phys.models.heads.own_heads import LargestSoFar, Linear
from warp_phys.data_gen import simulate
from warp_phys.models.heads.registry import HEADS
from warp_phys.systems import LotkaVolterra, UsageError

Model = wp.WarpPhys | wp.Warp

# A value of each setting that differs from every default.
OTHER: dict[str, Any] = {
    "drive": "raw",
    "structure": "dense",
    "rank": 2,
    "initial": "learned",
    "root": "rollout",
    "window": 3,
    "width": 5,
    "root_width": 3,
    "state_size": 7,
    "forgetting": 0.5,
    "frequencies": 2,
    "dtype": "float64",
    "priors": {"alpha": (0.1, 0.2)},
    "start": wp.WarpPhys("lotka_volterra", head="regression"),
    "drift": {"alpha": 0.1},
    "distribution": "lognormal",
    "loss": "huber",
    "noise_sd": "common",
    "initial_state": "first_sample",
    "fixed": {"alpha": 0.5},
}
# Settings that decide whether others have an effect.
BEFORE: list[dict[str, Any]] = [
    {},
    {"drive": "difference"},
    {"structure": "low_rank"},
    {"initial": "learned"},
    {"initial": "learned", "drive": "difference"},
]
# Likewise, of the information head.
BEFORE_INFORMATION: list[dict[str, Any]] = [
    {"noise_sd": 0.1},
    {"distribution": "lognormal"},
    {"loss": "huber"},
    {"initial_state": "first_sample"},
    {"fixed": {"beta": 0.03}},
]


class AnySystem(LargestSoFar):
    """A head without training that reads any system, and leaves the choice of drives open."""

    name = "my_any_system"
    drives = None
    default_drive = "features"

    def check(self, system: Any) -> None:
        """Accept every system."""


HEADS_BY_NAME: dict[str, Callable[[], Any]] = {
    **{name: (lambda name=name: name) for name in HEADS},
    "own": lambda: Linear(6),
    "own without training": AnySystem,
}
DATA, VALIDATION = (
    simulate(LotkaVolterra(), n=10, times=np.arange(5.0), noise=0.05, seed=seed) for seed in (0, 1)
)


def settings_of(kind: type[Model]) -> list[str]:
    given = inspect.signature(kind.__init__).parameters
    return [name for name in given if name not in ("self", "system", "head")]


def numbers(make: Callable[..., Model], settings: dict[str, Any]) -> list[Any] | None:
    """Return the numbers that a model gives after two steps of training; None if refused."""
    try:
        model = make(**settings)
    except UsageError as refused:
        if "expected no" in str(refused) or "expected drive=" in str(refused):
            return None
        raise
    if isinstance(model, wp.Warp) or model.choices.head.trains:
        wp.train(model, DATA, VALIDATION, steps=2, progress=False)
    if isinstance(model, wp.Warp):
        return [wp.forecast(model, [5.0], data=DATA)["predicted"].values]
    if isinstance(model.choices.head, AnySystem):
        return []
    found = wp.estimate(model, DATA, progress=False)
    return [found["parameters"].values, found["predicted"].values]


def check_every_setting(make: Callable[..., Model], names: list[str], before: Any) -> None:
    usual = numbers(make, before)
    if usual is None:
        return
    for name in names:
        if name in before:
            continue
        found = numbers(make, before | {name: OTHER[name]})
        if found is None:
            continue
        same = all(map(np.array_equal, found, usual, [True] * len(usual)))
        assert not same, f"{name} is accepted with {before}, and has no effect"


pytestmark = pytest.mark.filterwarnings("ignore:.*validation records")


@pytest.mark.parametrize("before", BEFORE, ids=str)
@pytest.mark.parametrize("head", HEADS_BY_NAME)
def test_of_a_head(head: str, before: dict[str, Any]) -> None:
    def make(**settings: Any) -> wp.WarpPhys:
        return wp.WarpPhys(LotkaVolterra(), head=HEADS_BY_NAME[head](), **settings)

    check_every_setting(make, settings_of(wp.WarpPhys), before)


@pytest.mark.parametrize("before", BEFORE_INFORMATION, ids=str)
def test_of_the_information_head(before: dict[str, Any]) -> None:
    def make(**settings: Any) -> wp.WarpPhys:
        return wp.WarpPhys(LotkaVolterra(), **settings)

    check_every_setting(make, settings_of(wp.WarpPhys), before)


@pytest.mark.parametrize("before", BEFORE, ids=str)
def test_of_warp(before: dict[str, Any]) -> None:
    check_every_setting(wp.Warp, settings_of(wp.Warp), before)


def test_the_options_of_an_object_are_not_settings() -> None:
    for name in ("window", "rank", "forgetting", "root_width", "state_size"):
        with pytest.raises(UsageError, match=f"expected no {name} with head='my_linear'"):
            wp.WarpPhys("pendulum", head=Linear(6), drive=Rate(), **{name: OTHER[name]})


def test_the_other_drive_of_the_regression_head() -> None:
    one, other = (
        numbers(wp.WarpPhys, {"system": LotkaVolterra(), "head": "regression", "drive": drive})
        for drive in ("difference", "log_difference")
    )
    assert one is not None
    assert other is not None
    assert not np.array_equal(one[0], other[0])
