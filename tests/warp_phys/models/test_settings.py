"""The choices of a model, checked where they are made."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import warp_phys as wp
from tests.warp_phys.models.drives.own_drives import Rate
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.features import Features
from warp_phys.models.drives.registry import DRIVES
from warp_phys.models.heads.registry import HEADS
from warp_phys.recurrence.transitions.registry import STRUCTURES
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
    assert wp.WarpPhys(system, head="direct", **settings).root == root


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "WarpPhys(pendulum, head=information, nothing to train)"),
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
        ({"head": "infromation"}, "unknown head 'infromation'; did you mean 'information'?"),
        ({"drive": "feature"}, "unknown drive 'feature'; did you mean 'features'?"),
        ({"drive": "FEATURES"}, "unknown drive 'FEATURES'; did you mean 'features'?"),
        ({"drive": "log_differnce"}, "did you mean 'difference'?"),
        ({"drive": "differnce", "head": "regression"}, "known: difference, log_difference"),
        ({"structure": "full"}, "unknown structure 'full'"),
        ({"initial": "zero"}, "unknown initial 'zero'"),
        ({"root": "steps"}, "unknown root 'steps'; did you mean 'step'?"),
        ({"dtype": "float16"}, "unknown dtype 'float16'"),
    ],
)
def test_unknown_choices(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message.replace("?", r"\?")):
        wp.WarpPhys(LotkaVolterra(), **{"head": "direct"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window to be a positive whole number, got 0"),
        ({"rank": 1.5}, r"rank to be a positive whole number, got 1\.5"),
        ({"head": "regression", "forgetting": 1.5}, r"0 < forgetting <= 1, got 1\.5"),
        ({"head": "regression", "drive": "raw"}, "drive='difference' or 'log_difference'"),
        ({"head": "direct", "drive": "log_difference"}, "only head='regression' takes"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        wp.WarpPhys(LotkaVolterra(), **{"head": "direct"} | arguments)


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
        wp.WarpPhys(get_system(system), **{"head": "direct"} | arguments)


def users(setting: str) -> str:
    """Return the parts of the package that use a setting, as messages list them."""
    parts: dict[str, Mapping[str, Any]] = {"head": HEADS, "drive": DRIVES, "structure": STRUCTURES}
    return " or ".join(
        f"{kind}={name!r}"
        for kind, shipped in parts.items()
        for name, part in shipped.items()
        if setting in part.options
    )


def test_an_untrained_model_says_so() -> None:
    model = wp.WarpPhys("pendulum", head="direct")
    assert not model.trained
    assert wp.WarpPhys("pendulum").trained
    assert wp.WarpPhys("pendulum", head="regression").trained
    for action in (model.init_state, lambda: model.save("pendulum.safetensors")):
        with pytest.raises(UsageError, match="the model of pendulum is not trained yet; call"):
            action()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"head": "direct", "forgetting": 0.95},
            "expected no forgetting with head='direct', drive='features', structure='diagonal', "
            f"which do not use it, got 0.95; leave it out, or choose {users('forgetting')}",
        ),
        ({"head": "direct", "root_width": 8}, f"leave it out, or choose {users('root_width')}"),
        (
            {"head": "direct", "drive": "raw", "window": 8},
            f"leave it out, or choose {users('window')}",
        ),
        ({"head": "direct", "rank": 2}, f"leave it out, or choose {users('rank')}"),
        (
            {"head": "direct", "drive": "raw", "initial": "learned", "width": 8},
            "expected no width with",
        ),
        ({"head": "regression", "structure": "dense"}, "expected no structure with"),
        ({"head": "regression", "root": "rollout"}, "expected no root with head='regression'"),
        (
            {"head": "direct", "drive": Rate(), "window": 3},
            "expected no window with head='direct', drive='my_rate'",
        ),
    ],
)
def test_a_setting_without_effect_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        wp.WarpPhys(LotkaVolterra(), **arguments)


TRAIN = "or choose head='direct', which needs training (see train)"


@pytest.mark.parametrize(
    ("arguments", "got", "advice"),
    [
        ({"drive": "features"}, "'features'", TRAIN),
        ({"drive": "difference"}, "'difference'", TRAIN),
        ({"drive": "log_difference"}, "'log_difference'", "or choose head='regression'"),
        ({"drive": "feature"}, "'feature'", TRAIN),
        ({"drive": Rate()}, "'my_rate'", TRAIN),
        ({"drive": Rate}, repr(Rate), TRAIN),
        ({"structure": "dense"}, "'dense'", TRAIN),
        ({"initial": "learned"}, "'learned'", TRAIN),
        ({"root": "step"}, "'step'", TRAIN),
        ({"dtype": "float64"}, "'float64'", TRAIN),
        ({"width": 8}, "8", TRAIN),
        ({"window": 8}, "8", TRAIN),
        ({"rank": 2}, "2", f"{TRAIN}, with {users('rank')}"),
        ({"root_width": 8}, "8", "or choose head='weights', which needs training (see train)"),
        ({"state_size": 8}, "8", "or choose head='readout', which needs training (see train)"),
        ({"forgetting": 0.95}, "0.95", "or choose head='regression'"),
    ],
)
def test_what_only_other_heads_use_is_refused_by_the_default_head(
    arguments: dict[str, Any], got: str, advice: str
) -> None:
    with pytest.raises(UsageError) as refused:
        wp.WarpPhys(LotkaVolterra(), **arguments)
    assert str(refused.value) == (
        f"expected no {next(iter(arguments))} with head='information' (the default), which does "
        f"not use it, got {got}; leave it out, {advice}"
    )


@pytest.mark.parametrize("head", [name for name in HEADS if name != "information"])
@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("priors", {"alpha": (0.1, 1.0)}, "{'alpha': (0.1, 1.0)}"),
        ("start", wp.WarpPhys("lotka_volterra"), "WarpPhys(lotka_volterra, head=information, "),
        ("drift", {"alpha": 0.02}, "{'alpha': 0.02}"),
        ("distribution", "normal", "'normal'"),
        ("loss", "linear", "'linear'"),
        ("noise_sd", 0.5, "0.5"),
        ("noise_sd", np.ones((2, 2)), "a ndarray; leave"),
        ("initial_state", "estimate", "'estimate'"),
        ("fixed", {"alpha": 0.5}, "{'alpha': 0.5}"),
    ],
)
def test_what_only_the_information_head_uses_is_refused_by_others(
    head: str, name: str, value: Any, shown: str
) -> None:
    with pytest.raises(UsageError) as refused:
        wp.WarpPhys(LotkaVolterra(), head=head, **{name: value})
    said = str(refused.value)
    assert said.startswith(f"expected no {name} with head='{head}'")
    assert f", got {shown}" in said
    assert said.endswith("; leave it out, or choose head='information'")


class Nameless(Drive):
    """A drive that no file could name."""


class Impostor(Drive):
    """A drive whose files would be read as another one."""

    name = "features"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"drive": Rate}, "or a Drive, got <class"),
        ({"drive": Rate}, "write Rate(...) for an instance"),
        ({"drive": 3}, f"drive: expected one of {', '.join(DRIVES)}, or a Drive, got 3"),
        ({"head": 3}, f"head: expected one of {', '.join(HEADS)}, or a Head"),
        ({"drive": Nameless()}, "expected Nameless to have a name"),
        ({"drive": Impostor()}, "a name of its own, got 'features', which is that of Features"),
        ({"drive": Features(window=3)}, "write drive='features'"),
        ({"head": "regression", "drive": Rate()}, "with head='regression', got 'my_rate'"),
    ],
)
def test_objects_that_do_not_serve(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        wp.WarpPhys(LotkaVolterra(), **{"head": "direct"} | arguments)
