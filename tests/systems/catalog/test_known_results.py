"""Shipped systems against what is known of them: fixed points, thresholds, periods, numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from warp_phys.systems import (
    SEIR,
    Brusselator,
    CoupledOscillators,
    DoublePendulum,
    Duffing,
    FitzHughNagumo,
    Goodwin,
    HodgkinHuxley,
    Lorenz63,
    MichaelisMenten,
    OneCompartmentOral,
    RosenzweigMacArthur,
    Rossler,
    System,
    TwoCompartment,
    integrate,
)
from warp_phys.systems.catalog.neuroscience.hodgkin_huxley import _bernoulli


def numbers(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def values(system: System, **given: float) -> list[float]:
    """Return parameters by name, the fixed ones where not given."""
    return [given.get(entry.name, entry.fixed) for entry in system.parameters]


def rest(system: System, guess: list[float], parameters: list[float]) -> Tensor:
    """Return the fixed point that Newton's method finds."""
    y, p = numbers(guess), numbers(parameters)
    for _ in range(20):
        rate = system.derivative(0.0, y, p)
        if rate.abs().max() < 1e-12:
            return y
        y = y - torch.linalg.solve(slopes(system, y, p), rate)
    raise AssertionError(f"no fixed point of {system.name} near {guess}")


def slopes(system: System, y: Tensor, p: Tensor) -> Tensor:
    """Return the Jacobian of the right-hand side by the states."""
    return torch.func.jacfwd(lambda y: system.derivative(0.0, y, p))(y)


def growth(system: System, guess: list[float], **given: float) -> float:
    """Return the rate at which the fastest disturbance of a fixed point grows."""
    parameters = values(system, **given)
    y, p = rest(system, guess, parameters), numbers(parameters)
    return float(torch.linalg.eigvals(slopes(system, y, p)).real.max())


# Mechanics.


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_double_pendulum_of_small_swing_has_two_modes(sign: float) -> None:
    """With equal masses and lengths: omega^2 = (2 + sign sqrt 2) g / length."""
    quarter = 0.5 * np.pi / np.sqrt((2.0 + sign * np.sqrt(2.0)) * 9.81 / 0.7)
    start = [[1e-4, -sign * np.sqrt(2.0) * 1e-4, 0.0, 0.0]]
    solution = integrate(DoublePendulum(), [0.0, quarter], start, [[1.0, 1.0, 0.7, 0.7, 9.81]])
    assert float(solution.states[0, 1, :2].abs().max()) < 1e-10


def test_duffing_without_cubic_spring_follows_the_force() -> None:
    """The steady vibration is the real part of amplitude e^(i w t) / (k - w^2 + i c w)."""
    stiffness, damping, amplitude, frequency = 2.0, 0.4, 0.5, 1.1
    parameters = [[damping, stiffness, 1e-15, amplitude, frequency]]
    times = np.linspace(0.0, 120.0, 601)
    position = integrate(Duffing(), times, [[0.3, 0.0]], parameters).states[0, 500:, 0]
    response = amplitude / (stiffness - frequency**2 + 1j * damping * frequency)
    steady = (response * np.exp(1j * frequency * times[500:])).real
    np.testing.assert_allclose(position, steady, atol=1e-7)


@pytest.mark.parametrize(("masses", "mode"), [(4, 1), (4, 3)])
def test_coupled_oscillators_vibrate_in_their_modes(masses: int, mode: int) -> None:
    """With equal springs: omega = 2 sqrt(k / m) sin(mode pi / (2 masses + 2))."""
    shape = np.sin(np.arange(1, masses + 1) * mode * np.pi / (masses + 1))
    times = np.linspace(0.0, 5.0, 40)
    start = [[*shape, *np.zeros(masses)]]
    solution = integrate(CoupledOscillators(masses), times, start, [[2.0, 3.0, 3.0, 1e-15]])
    omega = 2.0 * np.sqrt(1.5) * np.sin(0.5 * mode * np.pi / (masses + 1))
    expected = shape * np.cos(omega * times)[:, None]
    np.testing.assert_allclose(solution.states[0, :, :masses], expected, atol=1e-6)


# Ecology and epidemiology.


def test_richer_prey_make_predators_cycle() -> None:
    """The paradox of enrichment sets in at capacity = 2 x* + 1 / (attack handling)."""
    given = {"growth": 1.0, "attack": 1.0, "handling": 0.5, "efficiency": 0.6, "mortality": 0.2}
    prey = given["mortality"] / (given["attack"] * (given["efficiency"] - 0.2 * 0.5))
    threshold = 2.0 * prey + 1.0 / (given["attack"] * given["handling"])
    system, guess = RosenzweigMacArthur(), [prey, 1.0]
    assert growth(system, guess, capacity=threshold, **given) == pytest.approx(0.0, abs=1e-14)
    assert growth(system, guess, capacity=0.99 * threshold, **given) < 0.0
    assert growth(system, guess, capacity=1.01 * threshold, **given) > 0.0


def test_epidemic_with_incubation_ends_with_the_final_size() -> None:
    """The incubation does not matter: ln(S_end / S_0) = (beta / gamma) (S_end - N) / N."""
    start = [[9990.0, 5.0, 5.0, 0.0]]
    susceptible, *_, recovered = (
        integrate(SEIR(), [0.0, 1000.0], start, [[0.5, 0.2, 0.25]]).states[0, 1].tolist()
    )
    assert susceptible + recovered == pytest.approx(1e4, rel=1e-8)
    assert np.log(susceptible / 9990.0) == pytest.approx(2.0 * (susceptible - 1e4) / 1e4, rel=1e-7)


# Pharmacokinetics.


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-3, -0.05])
def test_absorption_as_fast_as_elimination(gap: float) -> None:
    """Through equal rates, where the closed form of the books is 0 / 0; by its power series."""
    elimination, dose = 0.2, 100.0
    times = np.linspace(0.0, 5.0, 11)
    parameters = [[elimination + gap, 2.0, 10.0]]
    amount = integrate(OneCompartmentOral(), times, [[dose, 0.0]], parameters).states[0, :, 1]
    x = gap * times
    series = 1.0 - x / 2.0 * (1.0 - x / 3.0 * (1.0 - x / 4.0 * (1.0 - x / 5.0 * (1.0 - x / 6.0))))
    expected = dose * (elimination + gap) * times * np.exp(-elimination * times) * series
    np.testing.assert_allclose(amount, expected, rtol=1e-7)
    if abs(gap) < 0.01:
        np.testing.assert_allclose(amount, expected, rtol=1e-12)


def test_concentration_by_mouth_peaks_when_it_should() -> None:
    """At ln(ka / ke) / (ka - ke), where as much is absorbed as is eliminated."""
    absorption, clearance, volume = 1.6, 2.8, 32.0
    elimination = clearance / volume
    peak = np.log(absorption / elimination) / (absorption - elimination)
    system = OneCompartmentOral()
    parameters = [[absorption, clearance, volume]]
    solution = integrate(system, [0.0, peak], [[320.0, 0.0]], parameters)
    y, p = solution.states[0, 1], numbers(parameters[0])
    assert float(system.derivative(peak, y, p)[1]) == pytest.approx(0.0, abs=1e-12)
    assert float(system.outputs_at(peak, y, p)[0]) == pytest.approx(float(y[1]) / volume)


def test_two_compartments_give_two_exponentials() -> None:
    """Rates and volumes from the exponentials, as Gibaldi and Perrier, sec. 2, derive them."""
    (a, fast), (b, slow), dose = (2.83, 2.16), (0.46, 0.26), 25.0
    back = (a * slow + b * fast) / (a + b)
    elimination = fast * slow / back
    volume, out = dose / (a + b), fast + slow - back - elimination
    system = TwoCompartment()
    parameters = numbers([[elimination * volume, volume, out * volume, out * volume / back]])
    times = np.linspace(0.0, 8.0, 33)
    states = integrate(system, times, [[dose, 0.0]], parameters).states[0].T
    concentration = system.outputs_at(times, states, parameters.T)[0]
    np.testing.assert_allclose(
        concentration, a * np.exp(-fast * times) + b * np.exp(-slow * times), rtol=1e-12
    )


# Neuroscience.


def test_fitzhugh_nagumo_spikes_between_two_currents() -> None:
    """Where v^2 = 1 - epsilon b; for the usual values at currents of 0.331 and 1.419."""
    usual = {"a": 0.7, "b": 0.8, "epsilon": 0.08}
    for sign in (-1.0, 1.0):
        v = sign * np.sqrt(1.0 - 0.08 * 0.8)
        current = (v + 0.7) / 0.8 + v**3 / 3.0 - v
        assert current == pytest.approx(0.331 if sign < 0.0 else 1.419, abs=5e-4)
        at = growth(FitzHughNagumo(), [v, (v + 0.7) / 0.8], current=current, **usual)
        inside = growth(
            FitzHughNagumo(), [v, (v + 0.7) / 0.8], current=current - 0.05 * sign, **usual
        )
        assert at == pytest.approx(0.0, abs=1e-12)
        assert inside > 0.0


SQUID = {"g_sodium": 120.0, "g_potassium": 36.0, "g_leak": 0.3}


def test_squid_axon_rests_and_loses_its_rest() -> None:
    """Rest at -65 mV; unstable from 9.78 to 154.5 uA/cm2 (Hassard 1978)."""
    system, guess = HodgkinHuxley(), [-65.0, 0.32, 0.05, 0.6]
    y = rest(system, guess, values(system, current=0.0, **SQUID))
    np.testing.assert_allclose(y, [-65.0, 0.318, 0.053, 0.596], atol=5e-3)
    high = [-45.0, 0.6, 0.3, 0.15]
    for current, start, sign in ((9.76, guess, -1), (9.80, guess, 1), (154.4, high, 1)):
        assert sign * growth(system, start, current=current, **SQUID) > 0.0
    assert growth(system, high, current=154.6, **SQUID) < 0.0


def test_squid_axon_fires_at_its_rate() -> None:
    """Every 14.64 ms at 10 uA/cm2, and not on and on at 6."""
    system = HodgkinHuxley()
    times = np.arange(0.0, 100.0, 0.02)
    parameters = [values(system, current=current, **SQUID) for current in (10.0, 6.0)]
    start = np.tile([-65.0, 0.3177, 0.0529, 0.5961], (2, 1))
    voltage = integrate(system, times, start, parameters).states[..., 0].numpy()
    spikes, few = (times[1:][(v[1:] > 0.0) & (v[:-1] <= 0.0)] for v in voltage)
    np.testing.assert_allclose(np.diff(spikes)[2:], 14.64, atol=0.03)
    assert len(few) <= 3


def test_rates_of_the_axon_are_smooth_where_they_are_zero_over_zero() -> None:
    """B(0) = 1, B'(0) = -1/2, B''(0) = 1/6, and no seam where the series ends."""
    slope = torch.func.vmap(torch.func.grad(_bernoulli))
    bend = torch.func.vmap(torch.func.grad(torch.func.grad(_bernoulli)))
    at = numbers([0.0, 1e-12, -1e-9])
    expected = [1.0, -0.5, 1.0 / 6.0]
    for function, value in zip((_bernoulli, slope, bend), expected, strict=True):
        torch.testing.assert_close(function(at), numbers([value] * 3), rtol=1e-8, atol=0.0)
    inside, outside = numbers([0.25 - 1e-12, -0.25 + 1e-12]), numbers([0.25, -0.25])
    for function in (_bernoulli, slope, bend):
        torch.testing.assert_close(function(inside), function(outside), rtol=1e-11, atol=0.0)


# Chemistry.


def test_enzyme_works_at_the_rate_of_michaelis_and_menten() -> None:
    binding, unbinding, turnover, enzyme, substrate = 1.0, 0.5, 0.8, 1e-5, 2.0
    system = MichaelisMenten()
    start = [[enzyme, substrate, 0.0, 0.0]]
    parameters = [[binding, unbinding, turnover]]
    state = integrate(system, [0.0, 30.0], start, parameters).states[0, 1]
    rate = system.derivative(30.0, state, numbers(parameters[0]))[3]
    constant = (unbinding + turnover) / binding
    expected = turnover * enzyme * substrate / (constant + substrate)
    assert float(rate) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("a", [0.7, 1.3])
def test_brusselator_oscillates_beyond_its_threshold(a: float) -> None:
    """At b = 1 + a^2, with angular frequency a."""
    b = 1.0 + a**2
    assert growth(Brusselator(), [a, b / a], a=a, b=b) == pytest.approx(0.0, abs=1e-14)
    assert growth(Brusselator(), [a, b / a], a=a, b=b - 0.1) < 0.0
    assert growth(Brusselator(), [a, b / a], a=a, b=b + 0.1) > 0.0
    turning = torch.linalg.det(slopes(Brusselator(), numbers([a, b / a]), numbers([a, b])))
    assert float(turning) == pytest.approx(a**2)


def test_goodwin_oscillates_in_all_its_ranges() -> None:
    """At both extremes of them, and never with a Hill exponent of 8 (Griffith 1968)."""
    system = Goodwin()
    ends = {entry.name: entry.range for entry in system.free_parameters}
    weakest = {name: pair[name == "degradation"] for name, pair in ends.items()}
    strongest = {name: pair[name != "degradation"] for name, pair in ends.items()}
    for given in (weakest, strongest):
        strength = given["transcription"] * given["translation"] * given["formation"]
        decay = given["degradation"]
        repressor = (strength / decay**3) ** (1.0 / (given["hill"] + 1.0))
        guess = [
            repressor * decay**2 / (given["translation"] * given["formation"]),
            repressor * decay / given["formation"],
            repressor,
        ]
        assert growth(system, guess, **given) > 0.0
        assert growth(system, guess, **(given | {"hill": 8.0})) < 0.0


# Chaos.


def test_lorenz_rests_at_its_equilibria_until_they_lose_stability() -> None:
    """At rho = sigma (sigma + beta + 3) / (sigma - beta - 1), 24.74 for Lorenz's values."""
    sigma, beta = 10.0, 8.0 / 3.0
    threshold = sigma * (sigma + beta + 3.0) / (sigma - beta - 1.0)
    assert threshold == pytest.approx(24.74, abs=5e-3)
    for rho, sign in ((threshold - 0.1, -1.0), (threshold + 0.1, 1.0)):
        x = np.sqrt(beta * (rho - 1.0))
        for side in (-1.0, 1.0):
            guess = [side * x, side * x, rho - 1.0]
            assert rest(Lorenz63(), guess, [sigma, rho, beta]).tolist() == pytest.approx(guess)
            assert sign * growth(Lorenz63(), guess, sigma=sigma, rho=rho, beta=beta) > 0.0


def test_rossler_rests_at_its_equilibria() -> None:
    a, b, c = 0.2, 0.2, 5.7
    for sign in (-1.0, 1.0):
        x = 0.5 * (c + sign * np.sqrt(c**2 - 4.0 * a * b))
        at_rest = Rossler().derivative(0.0, numbers([x, -x / a, x / a]), numbers([a, b, c]))
        assert float(at_rest.abs().max()) < 1e-13
