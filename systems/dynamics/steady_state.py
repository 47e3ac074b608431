r"""Steady states: where the right-hand side vanishes, and their derivatives.

A steady state y solves f(y, p) = 0 and keeps the totals that the equations conserve, W^T y =
W^T y_init with the left null vectors W of the Jacobian J. Both together are one regular system,

    (J + c W W^T) dy = -f + c W W^T (y_init - y),

whose Newton iteration starts where an integration from y_init has nearly come to rest. By the
implicit function theorem, the derivatives solve the same system,

    (J + c W W^T) dy/dp = -df/dp,    (J + c W W^T) dy/dy_init = c W W^T.

References:
    S. Fiedler, A. Raue, B. Steiert, H. Hass, J. Timmer, F. J. Theis, BMC Systems Biology 10 (2016)
    80, doi:10.1186/s12918-016-0319-7.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from warp_phys.systems.compiling.numpy_code import NumericFunction
from warp_phys.systems.compiling.traced import translated
from warp_phys.systems.dynamics.integrate import integrate
from warp_phys.systems.model.system import System

# Newton steps at most, and the relative length of a step from which on the next one is rounding.
_ROUNDS, _CLOSE = 40, 1e-9
# How far the steady state may be, relatively, from where an integration has nearly come to rest.
_NEAR = 0.1
# Integration times, as multiples of the typical time of the system, after which Newton's method is
# tried.
_SPANS = (1.0, 10.0, 100.0, 1e3, 1e4)
_MAX_STEPS = 20_000
# Singular values of equilibrated Jacobians that are rounding errors, and eigenvalues, relative to
# the largest, that count as zero.
_ROUNDING, _NEUTRAL = 1e-10, 1e-8
# Points around the initial state at which conserved totals are looked for.
_POINTS = 3


@dataclass(frozen=True)
class SteadyProblem:
    """What the steady states of N trajectories depend on.

    Attributes:
        system: The system.
        parameters: (N, P).
        initial: (N, S), states from which they are approached; they determine conserved totals.
        inputs: (N, I), constant inputs; None without inputs.
        time: (N,), the time at which the right-hand side is taken.
    """

    system: System
    parameters: Tensor
    initial: Tensor
    inputs: Tensor | None
    time: Tensor

    def select(self, rows: Tensor) -> SteadyProblem:
        """Return the problem of some trajectories."""
        inputs = None if self.inputs is None else self.inputs[rows]
        return SteadyProblem(
            self.system, self.parameters[rows], self.initial[rows], inputs, self.time[rows]
        )


def steady_states(problem: SteadyProblem, guess: Tensor | None = None) -> Tensor:
    """Return the steady states (N, S), NaN where none was found.

    Args:
        problem: Parameters, inputs and initial states.
        guess: (N, S), steady states at similar parameters, NaN where there are none.
    """
    found = torch.full_like(problem.initial, torch.nan)
    usable = problem.parameters.isfinite().all(dim=1) & problem.initial.isfinite().all(dim=1)
    if guess is not None:
        rows = (usable & guess.isfinite().all(dim=1)).nonzero()[:, 0]
        if rows.numel():
            found[rows] = _newton(problem.select(rows), guess[rows], None)
    rows = (usable & ~found.isfinite().all(dim=1)).nonzero()[:, 0]
    state = problem.initial[rows]
    times = torch.as_tensor(problem.system.default_times, dtype=torch.float64)
    span = float(times[-1] - times[0])
    for multiple in _SPANS:
        if rows.numel() == 0:
            break
        part = problem.select(rows)
        state = _relaxed(part, state, multiple * span)
        found[rows] = _newton(part, state, _NEAR)
        # A trajectory that cannot be integrated any further has no steady state.
        left = ~found[rows].isfinite().all(dim=1) & state.isfinite().all(dim=1)
        rows, state = rows[left], state[left]
    return found


def steady_slopes(problem: SteadyProblem, states: Tensor) -> tuple[Tensor, Tensor]:
    """Return derivatives of steady states (N, S) by parameters, (N, S, P), and initial states."""
    size = _sizes(problem, states)
    _, jacobian, by_parameter = _derivatives(problem, states)
    pull = _conserved(problem, size)
    # In units of the sizes: dx/dp = A^-1 (-df/dp / s), and dy = s dx.
    matrix = _scaled(jacobian, size)
    pull = _strength(matrix) * pull
    rights = torch.cat([-by_parameter / size.unsqueeze(2), pull / size.unsqueeze(1)], dim=2)
    slopes = size.unsqueeze(2) * _solve(matrix + pull, rights)
    count = by_parameter.shape[2]
    return slopes[:, :, :count], slopes[:, :, count:]


def _relaxed(problem: SteadyProblem, state: Tensor, span: float) -> Tensor:
    """Return the states (N, S) after a time span under constant inputs, NaN where that fails."""
    times = problem.time.unsqueeze(1) + torch.tensor([[0.0, span]], dtype=torch.float64)
    inputs = problem.inputs
    solution = integrate(
        problem.system,
        times,
        state,
        problem.parameters,
        inputs=None if inputs is None else inputs.unsqueeze(1).expand(-1, 2, -1),
        max_steps=_MAX_STEPS,
    )
    return solution.states[:, -1]


def _newton(problem: SteadyProblem, guess: Tensor, near: float | None) -> Tensor:
    """Return the stable steady states (N, S) that Newton's method reaches, otherwise NaN."""
    size = _sizes(problem, guess)
    conserved = _conserved(problem, size)
    state = guess.clone()
    length = torch.full_like(problem.time, torch.inf)
    for _ in range(_ROUNDS):
        rate, jacobian, _ = _derivatives(problem, state)
        matrix = _scaled(jacobian, size)
        pull = _strength(matrix) * conserved
        missing = ((problem.initial - state) / size).unsqueeze(2)
        right = (-rate / size).unsqueeze(2) + pull @ missing
        step = _solve(matrix + pull, right).squeeze(2)
        state = state + size * step
        before, length = length, step.abs().amax(dim=1)
        # The step after one below the tolerance is a rounding error, as convergence is quadratic.
        if bool(((before < _CLOSE) | ~length.isfinite()).all()):
            break
    good = (length < _CLOSE) & _stable(problem, state, size)
    if near is not None:
        good &= ((state - guess) / size).abs().amax(dim=1) <= near
    return torch.where(good.unsqueeze(1), state, torch.nan)


def _stable(problem: SteadyProblem, state: Tensor, size: Tensor) -> Tensor:
    """Return (N,): whether small deviations from states (N, S) do not grow."""
    _, jacobian, _ = _derivatives(problem, state)
    matrix = _scaled(jacobian, size)
    finite = matrix.isfinite().all(dim=2).all(dim=1)
    values = torch.linalg.eigvals(torch.where(finite[:, None, None], matrix, 0.0))
    return finite & (values.real.amax(dim=1) <= _NEUTRAL * values.abs().amax(dim=1))


def _conserved(problem: SteadyProblem, size: Tensor) -> Tensor:
    """Return W W^T (N, S, S) of the conserved totals, in units of the sizes (N, S).

    A total w^T y that the equations conserve has w^T J = 0 at every state, so that w is a left null
    vector of the Jacobians at several points, side by side.
    """
    generator = torch.Generator().manual_seed(0)
    blocks = []
    for _ in range(_POINTS):
        factor = torch.rand(size.shape[1], generator=generator, dtype=torch.float64) + 0.5
        _, jacobian, _ = _derivatives(problem, size * factor)
        blocks.append(_scaled(jacobian, size))
    table = torch.cat(blocks, dim=2).nan_to_num(0.0, 0.0, 0.0)
    # Rows and columns are brought to a norm of 1, so that a slow reaction is not taken for none.
    rows = table.norm(dim=2, keepdim=True)
    rows = torch.where(rows > 0.0, rows, 1.0)
    table = table / rows
    columns = table.norm(dim=1, keepdim=True)
    table = table / torch.where(columns > 0.0, columns, 1.0)
    left, values, _ = torch.linalg.svd(table, full_matrices=False)
    vectors = left / rows
    vectors = vectors / vectors.norm(dim=1, keepdim=True)
    vectors = vectors * (values <= _ROUNDING * values[:, :1].clamp_min(1e-300)).unsqueeze(1)
    return vectors @ vectors.mT


def _derivatives(problem: SteadyProblem, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return f (N, S), its Jacobian (N, S, S) and its derivatives by parameters (N, S, P)."""
    system = problem.system
    y, p = state.T.contiguous(), problem.parameters.T.contiguous()
    u = None if problem.inputs is None else problem.inputs.T.contiguous()
    states, parameters, count = len(y), len(p), y.shape[1]
    tangents = torch.zeros(states + parameters, states, count, dtype=torch.float64)
    tangents[:states] = torch.eye(states, dtype=torch.float64).unsqueeze(2)
    graph = translated(system)
    if graph is not None:
        along = [-1] * states + list(range(parameters))
        found = NumericFunction(graph.rhs, along)(problem.time, y, p, u, tangents)
    else:
        moved = torch.zeros(states + parameters, parameters, count, dtype=torch.float64)
        moved[states:] = torch.eye(parameters, dtype=torch.float64).unsqueeze(2)

        def rhs(y: Tensor, p: Tensor) -> Tensor:
            return system.derivative(problem.time, y, p, u)

        pairs = [
            torch.func.jvp(rhs, (y, p), (tangents[place], moved[place]))
            for place in range(states + parameters)
        ]
        found = torch.stack([rhs(y, p), *(pair[1] for pair in pairs)])
    slopes = found[1:].permute(2, 1, 0)
    return found[0].T, slopes[:, :, :states], slopes[:, :, states:]


def _sizes(problem: SteadyProblem, state: Tensor) -> Tensor:
    """Return positive sizes (N, S) of the states."""
    size = state.abs().maximum(problem.initial.abs())
    largest = size.amax(dim=1, keepdim=True)
    # A state that is and stays at zero has no size but that of the others.
    return torch.where(size > 0.0, size, torch.where(largest > 0.0, largest, 1.0))


def _scaled(jacobian: Tensor, size: Tensor) -> Tensor:
    return jacobian * size.unsqueeze(1) / size.unsqueeze(2)


def _strength(matrix: Tensor) -> Tensor:
    """Return c (N, 1, 1): the size of a matrix (N, S, S), 1 if it is zero."""
    largest = matrix.abs().amax(dim=(1, 2), keepdim=True)
    return torch.where(largest > 0.0, largest, 1.0)


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve linear systems; the solution is NaN where a matrix is singular."""
    # Each row is brought to a norm of 1: stiff systems differ by orders of magnitude.
    rows = matrix.abs().amax(dim=2, keepdim=True)
    rows = torch.where(rows > 0.0, rows, 1.0)
    solution, info = torch.linalg.solve_ex(matrix / rows, right / rows)
    return torch.where((info == 0)[:, None, None], solution, torch.nan)
