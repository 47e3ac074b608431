"""Declaring systems: what is filled in, what instances can change, and what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from warp_phys.systems import (
    Input,
    LinearForm,
    LotkaVolterra,
    Output,
    Parameter,
    Pendulum,
    State,
    System,
    UnknownNameError,
    UsageError,
    get_system,
)

RATE = Parameter("rate", "1/s", support="positive", range=(0.1, 2.0))


def declare(**attributes) -> type[System]:
    """Return a subclass of System, decaying unless told otherwise."""
    body = {
        "states": (State("amount", "kg"),),
        "parameters": (RATE,),
        "rhs": lambda self, t, y, p: (-p.rate * y[0],),
    }
    return type("Decay", (System,), body | attributes)


def test_what_is_left_out_is_filled_in() -> None:
    system = declare(
        states=(State("amount", "kg"), State("share", "1", support=(0.0, 0.5)), State("heat", "J")),
        default_initial_state={"heat": (1.0, 2.0)},
    )()
    assert system.name == "decay"
    assert system.time_unit == "1"
    assert system.output_names == ("amount", "share", "heat")
    assert system.default_initial_state == {"amount": 1.0, "share": 0.25, "heat": (1.0, 2.0)}
    assert system.observes_all_states
    assert not system.has_solution
    assert not system.has_initial_state


def test_instances_fix_and_free_parameters() -> None:
    assert Pendulum().free_names == ("length", "damping")
    assert Pendulum(g=None).free_names == ("length", "damping", "g")
    assert Pendulum(length=1.0, g=(9.7, 9.9)).parameters[2].range == (9.7, 9.9)
    fixed = Pendulum(damping=0.1)
    assert fixed.parameters[1].fixed == 0.1
    assert fixed.parameter_names == ("length", "damping", "g")
    assert Pendulum().parameters[1].fixed is None
    rebuilt = get_system(fixed.name, **fixed.options)
    assert rebuilt.parameters == fixed.parameters


def test_systems_can_be_copied_and_pickled() -> None:
    system = LotkaVolterra(alpha=0.5)
    assert system.affine_form is not None
    for twin in (copy.deepcopy(system), pickle.loads(pickle.dumps(system))):
        assert twin.parameters == system.parameters
        assert twin.affine_form.names == ("beta", "gamma", "delta")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lenght": 1.0}, "unknown parameter of Pendulum 'lenght'; did you mean 'length'"),
        ({"g": -9.81}, "'g' is fixed at -9.81 m/s2, outside its support \\(positive\\)"),
        ({"g": (9.9, 9.7)}, "needs a range \\(low, high\\) with low < high"),
        ({"g": "high"}, "expected a number, None or \\(low, high\\) for parameter 'g'"),
    ],
)
def test_wrong_options_of_an_instance(options, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Pendulum(**options)


def test_a_parameter_without_range_cannot_be_freed() -> None:
    cls = declare(parameters=(Parameter("rate", "1/s", fixed=1.0),))
    with pytest.raises(UsageError, match=r"'rate' has no range.*rate=\(low, high\)"):
        cls(rate=None)
    assert cls(rate=(0.5, 2.0)).free_names == ("rate",)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"states": State("amount", "kg")}, "Decay.states should be a tuple of State"),
        ({"states": (State("a", "1"), State("a", "1"))}, "a came more than once"),
        ({"inputs": (Input("rate", "1"),)}, "rate came more than once"),
        ({"rhs": System.rhs}, "no method rhs"),
        ({"outputs": (Output("a", "1"), Output("b", "1"))}, "write observe"),
        ({"default_initial_state": {"amout": 1.0}}, "did you mean 'amount'"),
        (
            {
                "states": (State("amount", "kg", "positive"),),
                "default_initial_state": {"amount": 0},
            },
            "initial state 'amount' of Decay is 0, outside its support",
        ),
        ({"default_times": (0.0, 2.0, 1.0)}, "default_times should be ascending"),
        (
            {
                "linear_form": LinearForm(
                    ("q",), ("1",), lambda p: (p.rate,), lambda q, p: {"rate": q.q}
                )
            },
            "no method linear_rhs",
        ),
    ],
)
def test_contradictions_in_a_declaration(attributes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        declare(**attributes)


def test_a_system_without_states_cannot_be_made() -> None:
    with pytest.raises(UsageError, match="declares no states"):
        System()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Parameter("rate", "1/s"), "is free and has no range"),
        (lambda: Parameter("rate", "1/s", "positive", (0.0, 1.0)), "leaves its support"),
        (lambda: Parameter("rate", "1/s", "positive", 3.0), "needs a range"),
        (lambda: Parameter("rate", "1/s", "positive", fixed=-1.0), "outside its support"),
        (lambda: Parameter("my rate", "1/s", fixed=1.0), "public Python identifier"),
        (lambda: State("lambda", "1"), "public Python identifier"),
        (lambda: State("_hidden", "1"), "public Python identifier"),
        (lambda: State("amount", ""), "needs a unit"),
        (lambda: Input("force", None), "needs a unit"),
        (lambda: Output("force", "N", "postive"), "expected a support"),
        (lambda: LinearForm(("q",), (), tuple, dict), "one unit for each"),
    ],
)
def test_wrong_specifications(make, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(
    ("rhs", "message"),
    [
        (lambda self, t, y, p: (y[0], y[0]), "should return 1 values.*received 2"),
        (lambda self, t, y, p: 0.0, "as a tuple or a tensor; received float"),
        (lambda self, t, y, p: -y[0], "should return 1 values.*received"),
    ],
)
def test_a_wrong_right_hand_side_says_what_it_should_return(rhs, message: str) -> None:
    system = declare(rhs=rhs)()
    with pytest.raises(UsageError, match=message):
        system.derivative(0.0, torch.ones(1, 4), torch.ones(1, 4))


def test_a_misspelled_parameter_in_a_right_hand_side_is_named() -> None:
    system = declare(rhs=lambda self, t, y, p: (p.rat * y[0],))()
    with pytest.raises(AttributeError, match="did you mean 'rate'"):
        system.derivative(0.0, torch.ones(1, 4), torch.ones(1, 4))


def test_numbers_and_unbroadcast_values_are_welcome_in_a_right_hand_side() -> None:
    system = declare(
        states=(State("a", "1"), State("b", "1")), rhs=lambda self, t, y, p: (1, p.rate)
    )()
    rates = torch.tensor([[0.5]], dtype=torch.float64)
    values = system.derivative(0.0, torch.zeros(2, 3, dtype=torch.float64), rates)
    assert values.tolist() == [[1.0, 1.0, 1.0], [0.5, 0.5, 0.5]]


def test_missing_inputs_are_asked_for() -> None:
    system = declare(inputs=(Input("feed", "kg/s"),))()
    with pytest.raises(UsageError, match=r"Decay has inputs \(feed\)"):
        system.derivative(0.0, torch.ones(1, 4), torch.ones(1, 4))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: length, damping, g"):
        Pendulum(weight=1.0)
