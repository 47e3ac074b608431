"""The choices of a model, checked where they are made."""

from typing import Any

import pytest

import warp_phys as wp
from warp_phys.systems import LotkaVolterra, UnknownNameError, UsageError, get_system


@pytest.mark.parametrize(
    ("system", "settings", "root"),
    [
        ("mass_spring_damper", {}, "solution"),
        ("lotka_volterra", {}, "step"),
        ("sine", {}, "solution"),
        ("lotka_volterra", {"root": "rollout"}, "rollout"),
    ],
)
def test_the_root_follows_from_the_system(system: str, settings: dict[str, Any], root: str) -> None:
    assert wp.WarpPhys(system, **settings).root == root


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            {"head": "direct"},
            "WarpPhys(pendulum, head=direct, drive=features, structure=diagonal, not trained yet)",
        ),
        (
            {"head": "weights", "structure": "dense"},
            "WarpPhys(pendulum, head=weights, drive=difference, structure=dense, not trained yet)",
        ),
        (
            {"head": "readout"},
            "WarpPhys(pendulum, head=readout, drive=features, structure=diagonal, not trained yet)",
        ),
        (
            {"head": "regression"},
            "WarpPhys(pendulum, head=regression, drive=difference, structure=diagonal, "
            "nothing to train)",
        ),
    ],
)
def test_reprs(arguments: dict[str, Any], expected: str) -> None:
    assert repr(wp.WarpPhys("pendulum", **arguments)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"head": "driect"}, "unknown head 'driect'; did you mean 'direct'?"),
        ({"drive": "feature"}, "unknown drive 'feature'; did you mean 'features'?"),
        ({"structure": "full"}, "unknown structure 'full'"),
        ({"initial": "zero"}, "unknown initial 'zero'"),
        ({"root": "steps"}, "unknown root 'steps'; did you mean 'step'?"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ],
)
def test_unknown_choices(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
        wp.WarpPhys(LotkaVolterra(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window to be a positive whole number, got 0"),
        ({"rank": 1.5}, r"rank to be a positive whole number, got 1\.5"),
        ({"head": "regression", "forgetting": 1.5}, r"0 < forgetting <= 1, got 1\.5"),
        ({"head": "regression", "drive": "raw"}, "drive='difference' or 'log_difference'"),
        ({"head": "direct", "drive": "log_difference"}, "of the regression head alone"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wp.WarpPhys(LotkaVolterra(), **arguments)


@pytest.mark.parametrize(
    ("system", "arguments", "message"),
    [
        ("sine", {"head": "regression"}, "sine is not: declare its linear_form, or use head="),
        ("pendulum", {"root": "solution"}, "needs a closed form, which pendulum lacks"),
        ("sine", {"root": "step"}, "sine does not observe its states; use root='rollout'"),
    ],
)
def test_choices_that_do_not_fit_the_system(
    system: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        wp.WarpPhys(get_system(system), **arguments)


def test_an_untrained_model_says_so() -> None:
    model = wp.WarpPhys("pendulum")
    assert not model.trained
    assert wp.WarpPhys("pendulum", head="regression").trained
    for action in (model.init_state, lambda: model.save("pendulum.safetensors")):
        with pytest.raises(UsageError, match="the model of pendulum is not trained yet; call"):
            action()
