"""The door: grids, gaps in them, batches, failures and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.systems.problems import HARE, RATE, Explosion, many
from warp_phys.systems import (
    LotkaVolterra,
    MassSpringDamper,
    Pendulum,
    Solution,
    State,
    Status,
    System,
    UsageError,
    integrate,
)

BATCHED = ["auto", "dop853", "rk45", "rodas5p", "rk4", "torchdiffeq"]


class Dated(System):
    """y' = rate t, which depends on time itself."""

    states = (State("y", "1"),)
    parameters = (RATE,)

    def rhs(self, t, y, p):
        return (p.rate * t,)


@pytest.mark.parametrize("method", ["solution", *BATCHED, "scipy", "scipy-stiff"])
def test_own_grids_of_different_length(method: str) -> None:
    system = MassSpringDamper() if method == "solution" else Pendulum()
    grid = np.array([[0.0, 0.1, 0.3, 0.4], [0.5, 0.55, np.nan, np.nan], [-1.0, 0.0, 0.2, np.nan]])
    states = np.array([[0.3, 0.0], [0.5, 0.1], [0.7, -0.2]])
    parameters = np.array([[1.0, 2.0, 0.5], [1.5, 0.3, 9.81], [0.8, 0.1, 9.0]])
    together = integrate(system, grid, states, parameters, method=method)
    assert together.converged.all()
    assert together.states[:, :, 0].isnan().tolist() == np.isnan(grid).tolist()
    for index, times in enumerate(grid):
        row = slice(index, index + 1)
        known = times[~np.isnan(times)]
        alone = integrate(system, known, states[row], parameters[row], method=method)
        torch.testing.assert_close(
            together.states[row, : len(known)], alone.states, rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("method", [*BATCHED, "scipy", "scipy-stiff"])
def test_initial_time_before_the_first_sample(method: str) -> None:
    arguments = LotkaVolterra(), [[30.0, 4.0]] * 2, [HARE] * 2
    system, states, parameters = arguments
    whole = integrate(system, [0.0, 0.5, 1.0, 2.0], states, parameters, method=method)
    late = integrate(
        system, [0.5, 1.0, 2.0], states, parameters, method=method, initial_time=[0.0, 0.0]
    )
    assert float(late.states[0, 0, 0]) != 30.0
    torch.testing.assert_close(late.states, whole.states[:, 1:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("method", ["solution", *BATCHED, "scipy", "scipy-stiff"])
def test_a_single_sample_at_the_initial_time_is_the_initial_state(method: str) -> None:
    system = MassSpringDamper() if method == "solution" else Pendulum()
    solution = integrate(system, [3.0], [[0.3, 0.1]], [[1.0, 0.5, 9.81]], method=method)
    np.testing.assert_allclose(solution.states, [[[0.3, 0.1]]])
    assert solution.converged.all()


@pytest.mark.parametrize("method", [*BATCHED, "scipy", "scipy-stiff"])
def test_time_in_the_right_hand_side_is_the_time_of_the_samples(method: str) -> None:
    grids = [[1.0, 3.0], [2.0, 5.0]]
    solution = integrate(Dated(), grids, [[0.0], [1.0]], [[1.0], [2.0]], method=method)
    np.testing.assert_allclose(solution.states[:, 1, 0], [4.0, 22.0], rtol=1e-7)


@pytest.mark.parametrize("method", ["dop853", "rk45", "rodas5p"])
def test_a_trajectory_has_the_same_bits_in_any_batch(method: str) -> None:
    states, parameters = many(300)
    times = np.arange(21.0)
    together = integrate(LotkaVolterra(), times, states, parameters, rtol=1e-6, method=method)
    for rows in ([7], [7, 8, 9], list(range(7, 150)), [299, 7, 0]):
        some = integrate(
            LotkaVolterra(), times, states[rows], parameters[rows], rtol=1e-6, method=method
        )
        place = rows.index(7)
        assert torch.equal(some.states[place], together.states[7])
        assert torch.equal(some.error_estimate[place], together.error_estimate[7])


def test_the_error_estimate_covers_the_error_of_hard_trajectories() -> None:
    """Where predators all but die out, early errors grow by orders of magnitude."""
    rng = np.random.default_rng(3)
    low, high = [0.2, 0.01, 0.2, 0.01], [2.0, 0.15, 2.0, 0.15]
    arguments = (
        LotkaVolterra(),
        np.arange(21.0),
        rng.uniform([5.0, 2.0], [50.0, 40.0], (1000, 2)),
        rng.uniform(low, high, (1000, 4)),
    )
    exact = integrate(*arguments, rtol=1e-11, atol=1e-13).states
    solution = integrate(*arguments, rtol=1e-6, atol=1e-8)
    gap = (solution.states - exact).abs().amax(dim=1) / (1e-2 + exact.abs().amax(dim=1))
    error = gap.amax(dim=1)
    assert float(error.max()) > 5e-5  # fifty times what is tolerated
    share = (solution.error_estimate > 0.5 * error).double().mean()
    assert float(share) > 0.99
    assert (solution.error_estimate > 0.02 * error).all()


@pytest.mark.parametrize("method", [*BATCHED, "scipy", "scipy-stiff"])
def test_failures_disturb_nobody(method: str) -> None:
    times = np.linspace(0.0, 1.5, 16)
    states = [[0.3], [1.0], [np.nan], [0.5], [np.inf]]
    rates = [[1.0], [1.0], [1.0], [np.nan], [1.0]]
    solution = integrate(Explosion(), times, states, rates, method=method, rtol=1e-6)
    assert solution.status.tolist() == [
        Status.CONVERGED,
        Status.DIVERGED,
        Status.INVALID,
        Status.INVALID,
        Status.INVALID,
    ]
    np.testing.assert_allclose(solution.states[0, :, 0], 0.3 / (1.0 - 0.3 * times), rtol=1e-5)
    before = times < 0.95
    np.testing.assert_allclose(
        solution.states[1, before, 0], 1.0 / (1.0 - times[before]), rtol=1e-2
    )
    assert solution.states[1, times > 1.2].isnan().all()
    assert solution.states[2:].isnan().all()
    assert "1 converged, 1 diverged, 3 invalid" in repr(solution)


def test_a_batch_of_invalid_trajectories_is_returned_too() -> None:
    solution = integrate(LotkaVolterra(), [0.0, 1.0], [[np.nan, 1.0]], [HARE])
    assert solution.status.tolist() == [Status.INVALID]
    assert solution.states.isnan().all()
    assert "not estimated" in repr(solution)


def test_an_initial_state_without_derivative_diverges() -> None:
    class Inverse(System):
        """y' = 1 / y."""

        states = (State("y", "1"),)
        parameters = (RATE,)

        def rhs(self, t, y, p):
            return (p.rate / y[0],)

    solution = integrate(Inverse(), [0.0, 1.0], [[0.0], [1.0]], [[1.0], [1.0]])
    assert solution.status.tolist() == [Status.DIVERGED, Status.CONVERGED]
    assert float(solution.states[0, 0, 0]) == 0.0
    assert solution.states[0, 1:].isnan().all()


@pytest.mark.parametrize("method", ["solution", *BATCHED, "scipy", "scipy-stiff"])
def test_single_precision_comes_back_as_it_went_in(method: str) -> None:
    system = MassSpringDamper() if method == "solution" else Pendulum()
    arguments = np.linspace(0.0, 1.0, 5), np.array([[0.5, 0.1]]), np.array([[1.0, 0.5, 9.81]])
    double = integrate(system, *arguments)
    singles = [argument.astype(np.float32) for argument in arguments]
    single = integrate(system, *singles, method=method, rtol=1e-5, atol=1e-6)
    assert single.states.dtype == torch.float32
    assert single.error_estimate.dtype == torch.float32
    assert single.converged.all()
    torch.testing.assert_close(single.states.double(), double.states, rtol=1e-3, atol=1e-3)


def test_a_users_error_comes_through() -> None:
    class Broken(System):
        """Raises."""

        states = (State("y", "1"),)
        parameters = (RATE,)

        def rhs(self, t, y, p):
            raise ValueError("my own mistake")

    for method in ("auto", "scipy", "scipy-stiff", "rk4"):
        with pytest.raises(ValueError, match="my own mistake"):
            integrate(Broken(), [0.0, 1.0], [[1.0]], [[1.0]], method=method)


def test_many_samples_in_one_step() -> None:
    times = np.linspace(0.0, 1.0, 5001)
    solution = integrate(Pendulum(), times, [[0.5, 0.0]] * 3, [[1.0, 0.5, 9.81]] * 3)
    few = integrate(Pendulum(), times[::500], [[0.5, 0.0]], [[1.0, 0.5, 9.81]])
    assert torch.equal(solution.states[1, ::500], few.states[0])


def test_a_solution_says_how_it_went() -> None:
    solution = integrate(LotkaVolterra(), [0.0, 1.0], [[30.0, 4.0]], [HARE])
    assert isinstance(solution, Solution)
    assert "Solution(states (1, 2, 2): 1 converged; largest error estimate" in repr(solution)


def test_a_step_limit_gives_a_trajectory_up_and_leaves_the_others() -> None:
    system = LotkaVolterra()
    states = [[30.0, 4.0], [1e9, 1e9]]
    parameters = [HARE] * 2
    times = [0.0, 10.0]
    options = {"method": "dop853", "max_steps": 400}
    limited = integrate(system, times, states, parameters, **options)
    assert limited.status.tolist() == [Status.CONVERGED, Status.TOO_MANY_STEPS]
    alone = integrate(system, times, states[:1], parameters[:1], method="dop853")
    assert torch.equal(limited.states[0], alone.states[0])
    with pytest.raises(UsageError, match="expected max_steps as a whole number, 1 or more"):
        integrate(system, times, states, parameters, max_steps=0)
