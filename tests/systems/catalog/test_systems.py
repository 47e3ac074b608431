"""Every shipped system keeps the contract, and so does a user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.systems.contract import SystemContract
from warp_phys.systems import (
    SIR,
    DampedOscillator,
    Input,
    LogisticGrowth,
    LotkaVolterra,
    MassSpringDamper,
    Parameter,
    Pendulum,
    Sine,
    State,
    System,
    VanDerPol,
    get_system,
    integrate,
    system_names,
)

FOLDER = Path(__file__).parent


class GasOil(System):
    """Catalytic cracking of gas oil."""

    time_unit = "h"
    states = (State("gas_oil", "1"), State("gasoline", "1"))
    parameters = (
        Parameter("p1", "1/h", support="positive", range=(1.0, 20.0)),
        Parameter("p2", "1/h", support="positive", range=(1.0, 20.0)),
        Parameter("p3", "1/h", support="positive", range=(0.1, 5.0)),
    )
    default_initial_state = {"gas_oil": 1.0, "gasoline": 0.0}

    def rhs(self, t, y, p):
        a, b = y
        return -(p.p1 + p.p3) * a**2, p.p1 * a**2 - p.p2 * b


class DrivenOscillator(System):
    """A damped oscillator under a force for each unit of mass."""

    time_unit = "s"
    states = (State("position", "m"), State("velocity", "m/s"))
    inputs = (Input("force", "m/s2"),)
    parameters = (
        Parameter("stiffness", "1/s2", support="positive", range=(0.5, 4.0)),
        Parameter("damping", "1/s", support="positive", range=(0.1, 1.0)),
    )

    def rhs(self, t, y, p):
        position, velocity = y
        return velocity, p.force - p.stiffness * position - p.damping * velocity


# A new file of the catalog gets its class here by lying there, unless it has one in its own test.
OWN = {
    path.stem for path in FOLDER.glob("test_*.py") if "(SystemContract)" in path.read_text("utf-8")
}
for name in system_names():
    if f"test_{name}" not in OWN:
        shipped = get_system(name)
        title = f"Test{type(shipped).__name__}"
        globals()[title] = type(title, (SystemContract,), {"system": shipped})


class TestFreePendulum(SystemContract):
    system = Pendulum(g=None)


class TestGasOil(SystemContract):
    system = GasOil()


class TestDrivenOscillator(SystemContract):
    system = DrivenOscillator()


@pytest.mark.parametrize("name", system_names())
def test_shipped_systems_describe_every_state_and_parameter(name: str) -> None:
    system = get_system(name)
    assert system.name == name
    assert system.reference, f"{name} has no source: set reference = '...' in its class"
    for entry in (*system.states, *system.parameters):
        assert entry.description, f"{name}: {entry.name} has no description='...'"
    assert "References:" in system.describe(), f"the docstring of {name} has no References:"


@pytest.mark.parametrize("name", system_names())
def test_shipped_systems_are_compared_with_what_is_known_of_them(name: str) -> None:
    """The contract compares a system with itself: a wrong sign in its equations would pass."""
    title = type(get_system(name)).__name__
    calls = [f"{title}(" in path.read_text("utf-8") for path in FOLDER.glob("test_*.py")]
    assert any(calls), (
        f"no file in tests/systems/{FOLDER.name} integrates {title} or evaluates its equations"
    )


def test_sine_is_a_sine() -> None:
    times = np.linspace(0.0, 1.0, 16)
    sine = Sine()
    parameters = torch.tensor([[0.4, 1.0]], dtype=torch.float64)
    states = integrate(sine, times, sine.initial_state_at(parameters.T).T, parameters).states
    values = sine.outputs_at(times, states[0].T, parameters.T)
    np.testing.assert_allclose(values[0], np.sin(2 * np.pi * times + 0.4), atol=1e-14)


def test_mass_spring_damper_is_a_damped_oscillator() -> None:
    times = np.linspace(0.0, 1.0, 50)
    m, k, c = 0.03, 9.0, 0.1
    vibration = integrate(MassSpringDamper(), times, [[1.0, 0.5]], [[m, k, c]])
    oscillation = integrate(
        DampedOscillator(), times, [[1.0, 0.5]], [[np.sqrt(k / m), 0.5 * c / m]]
    )
    torch.testing.assert_close(vibration.states, oscillation.states, rtol=1e-12, atol=1e-12)


def test_pendulum_without_damping_keeps_its_energy() -> None:
    times = np.linspace(0.0, 8.0, 80)
    solution = integrate(
        Pendulum(), times, [[2.5, 0.3]], [[0.8, 1e-15, 9.81]], rtol=1e-11, atol=1e-12
    )
    angle, velocity = solution.states[0].T
    energy = 0.5 * velocity**2 - 9.81 / 0.8 * torch.cos(angle)
    torch.testing.assert_close(energy, energy[:1].expand(80), rtol=1e-9, atol=0.0)


def test_pendulum_of_small_swing_has_the_linear_period() -> None:
    length = 1.3
    quarter = 0.5 * np.pi * np.sqrt(length / 9.81)
    solution = integrate(Pendulum(), [0.0, quarter], [[1e-4, 0.0]], [[length, 1e-15, 9.81]])
    assert abs(float(solution.states[0, 1, 0])) < 1e-11


def test_logistic_growth_is_fastest_at_half_the_capacity() -> None:
    """There it is growth * capacity / 4, a time of ln 3 / growth after a quarter."""
    growth, capacity = 0.7, 120.0
    solution = integrate(
        LogisticGrowth(), [0.0, np.log(3.0) / growth], [[0.25 * capacity]], [[growth, capacity]]
    )
    half = solution.states[0, 1]
    assert float(half) == pytest.approx(0.5 * capacity, rel=1e-12)
    rate = LogisticGrowth().derivative(0.0, half, torch.tensor([growth, capacity]).double())
    assert float(rate) == pytest.approx(0.25 * growth * capacity, rel=1e-7)


def test_lotka_volterra_rests_at_its_equilibrium() -> None:
    alpha, beta, gamma, delta = 0.55, 0.028, 0.80, 0.024
    rest = [[gamma / delta, alpha / beta]]
    solution = integrate(LotkaVolterra(), [0.0, 50.0], rest, [[alpha, beta, gamma, delta]])
    np.testing.assert_allclose(solution.states[0, 1], rest[0], rtol=1e-8)


def test_van_der_pol_ends_on_its_limit_cycle() -> None:
    """The amplitude for mu = 1 is 2.00862 (Urabe, J. Sci. Hiroshima Univ. A 18 (1954) 183)."""
    times = np.linspace(30.0, 37.0, 7_001)
    position = integrate(VanDerPol(), times, [[0.5, 0.0]], [[1.0]], initial_time=0.0).states[
        0, :, 0
    ]
    assert float(position.max()) == pytest.approx(2.00862, abs=1e-5)


def test_epidemic_ends_with_the_final_size() -> None:
    """With N = 763: ln(S_end / S_0) = (beta / gamma) (S_end - S_0 - I_0) / N."""
    solution = integrate(SIR(), [0.0, 200.0], [[762.0, 1.0]], [[1.7, 0.5, 763.0]])
    susceptible, infected = solution.states[0, 1].tolist()
    assert infected < 1e-6
    assert np.log(susceptible / 762.0) == pytest.approx(
        1.7 / 0.5 * (susceptible - 763.0) / 763.0, rel=1e-7
    )


def test_gas_oil_is_second_order_decay() -> None:
    times = np.linspace(0.0, 1.0, 21)
    parameters = [[11.8468, 8.3445, 1.0014]]
    gas_oil = integrate(GasOil(), times, [[1.0, 0.0]], parameters).states[0, :, 0]
    np.testing.assert_allclose(gas_oil, 1.0 / (1.0 + 12.8482 * times), rtol=1e-7)


def test_driven_oscillator_under_constant_force_settles() -> None:
    times = np.linspace(0.0, 100.0, 11)
    force = np.full((1, 11, 1), 3.0)
    solution = integrate(DrivenOscillator(), times, [[0.0, 0.0]], [[2.0, 1.0]], inputs=force)
    assert float(solution.states[0, -1, 0]) == pytest.approx(1.5, abs=1e-8)
