"""Right-hand sides affine in coordinates of the parameters."""

from __future__ import annotations

import pytest
import torch

from warp_phys.systems import (
    SIR,
    DampedOscillator,
    LotkaVolterra,
    MassSpringDamper,
    Parameter,
    Pendulum,
    Sine,
    State,
    System,
    UsageError,
    VanDerPol,
)
from warp_phys.systems.catalog.registry import SHIPPED, as_system
from warp_phys.systems.model.affine import jacobian, rhs_of_coordinates


@pytest.mark.parametrize(
    ("system", "names"),
    [
        (LotkaVolterra(), ("alpha", "beta", "gamma", "delta")),
        (LotkaVolterra(beta=0.03), ("alpha", "gamma", "delta")),
        (VanDerPol(), ("mu",)),
        (SIR(), ("transmission", "recovery")),
        (Pendulum(), ("g_over_length", "damping")),
        (MassSpringDamper(), ("k_over_m", "c_over_m")),
        (DampedOscillator(), ("frequency_squared", "twice_damping_rate")),
    ],
)
def test_coordinates_are_declared_or_found(system: System, names: tuple[str, ...]) -> None:
    assert system.affine_form is not None
    assert system.affine_form.names == names
    assert len(system.affine_form.units) == len(names)


class Saturating(System):
    """Growth that saturates; not affine in the half-saturation."""

    states = (State("amount", "1", support="positive"),)
    parameters = (
        Parameter("rate", "1", support="positive", range=(0.5, 2.0)),
        Parameter("half", "1", support="positive", range=(0.5, 2.0)),
    )

    def rhs(self, t, y, p):
        return (p.rate * y[0] / (p.half + y[0]),)


@pytest.mark.parametrize(
    "system",
    [
        Saturating(),
        SIR(population=None),  # beta / N
        Sine(),  # the phase is not in the right-hand side at all
        LotkaVolterra(alpha=0.5, beta=0.03, gamma=0.8, delta=0.02),  # nothing is free
    ],
)
def test_other_systems_have_none(system: System) -> None:
    assert system.affine_form is None
    with pytest.raises(UsageError, match="not affine in its free parameters"):
        system.coordinates_from_parameters(torch.ones(len(system.parameters), 1))


def test_fixing_what_enters_nonlinearly_makes_it_affine() -> None:
    form = Saturating(half=1.0).affine_form
    assert form is not None
    assert form.names == ("rate",)


AFFINE = [name for name in SHIPPED if as_system(name).affine_form is not None]


@pytest.mark.parametrize("name", AFFINE)
def test_slopes_are_the_derivatives(name: str) -> None:
    system = as_system(name)
    form = system.affine_form
    assert form is not None
    generator = torch.Generator().manual_seed(0)

    def random(count: int) -> torch.Tensor:
        return 0.5 + torch.rand(count, 3, 7, generator=generator, dtype=torch.float64)

    t, y, parameters = random(1)[0], random(len(system.states)), random(len(system.parameters))
    inputs = random(len(system.inputs)) if system.inputs else None
    terms = system.affine_terms(t, y, parameters, inputs)
    assert terms is not None
    function = rhs_of_coordinates(system, form, t, y, parameters, inputs)
    origin = y.new_zeros(len(form.names), 3, 7)
    torch.testing.assert_close(terms[0], function(origin), rtol=0.0, atol=0.0)
    torch.testing.assert_close(terms[1], jacobian(function, origin), rtol=1e-13, atol=1e-14)


def test_slopes_keep_their_digits_beside_large_terms() -> None:
    class Heated(System):
        """What is known is large, and so is the rate that makes the rest count."""

        states = (State("x", "1"),)
        parameters = (Parameter("rate", "1", "positive", (1e6, 1e8)),)

        def rhs(self, t, y, p):
            return (1e3 * y[0] - 1e-4 * p.rate * torch.sin(y[0]),)

    y = torch.linspace(1.0, 2.0, 5, dtype=torch.float64)[None]
    terms = Heated().affine_terms(0.0, y, torch.full((1, 5), torch.nan))
    assert terms is not None
    torch.testing.assert_close(terms[1][0], -1e-4 * torch.sin(y), rtol=1e-14, atol=0.0)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_what_the_coordinates_leave_open_is_nan() -> None:
    q = column(300.0, 4.0)
    open_parameters = MassSpringDamper().parameters_from_coordinates(q, column(0.0, 0.0, 0.0))
    assert open_parameters.isnan().all()
    free = Pendulum(g=None).parameters_from_coordinates(column(10.0, 0.2), column(0.0, 0.0, 0.0))
    assert free[:, 0].isnan().tolist() == [True, False, True]


@pytest.mark.parametrize("known", ["m", "k", "c"])
def test_one_known_parameter_settles_the_others(known: str) -> None:
    truth = {"m": 0.03, "k": 9.0, "c": 0.12}
    system = MassSpringDamper(**{known: truth[known]})
    template = column(*(truth[name] if name == known else 0.0 for name in truth))
    found = system.parameters_from_coordinates(column(300.0, 4.0), template)
    torch.testing.assert_close(found, column(*truth.values()))


def test_fixed_values_can_differ_between_trajectories() -> None:
    template = torch.tensor([[0.0, 0.0], [0.0, 0.0], [9.81, 1.62]], dtype=torch.float64)
    q = torch.tensor([[9.81, 1.62], [0.1, 0.2]], dtype=torch.float64)
    found = Pendulum().parameters_from_coordinates(q, template)
    torch.testing.assert_close(found[0], torch.ones(2, dtype=torch.float64))


def test_only_fixed_parameters_are_read() -> None:
    y = column(1.0, 2.0)
    unknown = column(torch.nan, torch.nan, 9.81)
    terms = Pendulum().affine_terms(0.0, y, unknown)
    assert terms is not None
    assert terms[0].isfinite().all()
    assert terms[1].isfinite().all()
    assert terms[1].shape == (2, 2, 1)
