"""The entry point to solutions of systems: many trajectories, each with its error and status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from warp_phys.systems.dynamics.arguments import build_problem, check_whole, valid_trajectories
from warp_phys.systems.dynamics.closed_form import solve_closed_form
from warp_phys.systems.dynamics.problem import Problem, Solution, Status, scatter
from warp_phys.systems.dynamics.refusals import (
    TORCHDIFFEQ_METHODS,
    check_gradients,
    check_method,
    no_event_gradients,
)
from warp_phys.systems.dynamics.scipy_methods import SCIPY_METHODS, solve_scipy
from warp_phys.systems.dynamics.sizes import refined
from warp_phys.systems.dynamics.stepping.choose import solve_stepwise
from warp_phys.systems.dynamics.stepping.compiled import flow_library
from warp_phys.systems.dynamics.stepping.gradients import gradient_library, solve_with_gradients
from warp_phys.systems.dynamics.stepping.methods import STEPPERS
from warp_phys.systems.dynamics.torchdiffeq_methods import solve_rk4, solve_torchdiffeq
from warp_phys.systems.errors import UsageError, unknown_name
from warp_phys.systems.forcing.doses import Dose

if TYPE_CHECKING:
    from warp_phys.systems.model.system import System

METHODS = ("auto", "solution", *STEPPERS, *SCIPY_METHODS, *TORCHDIFFEQ_METHODS)


def integrate(
    system: System,
    times: Any,
    initial_states: Any,
    parameters: Any,
    *,
    inputs: Any = None,
    input_times: Any = None,
    doses: Sequence[Dose] = (),
    initial_time: Any = None,
    rtol: float = 1e-8,
    atol: float | None = None,
    relative: bool = False,
    method: str = "auto",
    substeps: int = 4,
    max_steps: int = 100_000,
) -> Solution:
    r"""Solve y' = rhs(t, y; p) for N trajectories at their sample times.

    Arrays and tensors are float64, or float32 throughout; the result has the same dtype. Times are
    in the system's `time_unit`, and everything else is in the units that the system declares.

    ============= ====================================================================== ========
    method        what it is                                                             gradient
    ============= ====================================================================== ========
    "auto"        "solution" where the system has one; else "dop853", and "rodas5p" for  yes
                  the trajectories that prove too stiff for it ("scipy-stiff" for those
                  that it loses)
    "solution"    the system's closed form                                               yes
    "dop853"      explicit Runge-Kutta of order 8, batched, own steps per trajectory     yes
    "rk45"        the same with order 5                                                  yes
    "rodas5p"     Rosenbrock method of order 5 for stiff systems, batched likewise, with yes
                  exact Jacobians
    "scipy"       SciPy's DOP853, one trajectory at a time: the reference                no
    "scipy-stiff" SciPy's Radau with the exact Jacobian, one trajectory at a time        no
    "rk4"         torchdiffeq, order 4, `substeps` equal steps from sample to sample     yes
    "torchdiffeq" torchdiffeq's dopri8, adaptive, all trajectories in step               yes
    ============= ====================================================================== ========

    "dop853", "rk45" and "rodas5p" run as C++ generated from the system's own functions if there is
    a compiler (c++, g++, clang++ or $CXX; the first call for a system compiles for a few seconds,
    and the library is kept on disk), in float64 and in main memory; otherwise they run in PyTorch,
    with the same steps. A trajectory counts as stiff if its steps stay at the limit of stability.
    First-order gradients by parameters and initial states come from forward sensitivities, which
    are integrated along with the states and may require smaller steps. Without compiled code, and
    for gradients by times and inputs, "auto" uses "torchdiffeq", whose steps are controlled by the
    errors of the states alone.

    Error control of these methods: the local error of every state is kept below a tenth of atol +
    rtol \|y\| (a 200th with "rodas5p"), where atol is rtol / 100 times the largest value of that
    state, so that states of any scale are equally accurate. This keeps the global error of nearly
    every trajectory of a well-conditioned system below the tolerance itself. The steps depend on
    the trajectory alone: its result is the same in any batch (bit for bit, if PyTorch's operations
    on its states are elementwise). "scipy" and "torchdiffeq" use the same tolerances in their own
    norms.

    Jumps: compiled code holds every comparison in the right-hand side (`torch.where`,
    `torch.sign`) within a step and ends the step where one changes; there derivatives jump as the
    time of the change moves (saltation), and events (`Event`) set the state. Error estimates
    contain the error in the time of a jump. A trajectory that both branches lead back to the same
    jump slides along it, and ends as "too many events". "scipy" and
    "scipy-stiff" end steps at events alone, as does "auto" for events without compiled code; other
    methods refuse events, and refuse gradients where the right-hand side jumps at times that depend
    on states or parameters. Without compiled code only jumps whose times the expressions show are
    located; error control alone follows the others.

    The error estimate is relative: the largest over the states of error / (atol / rtol +
    max_t \|y\|), where error and max_t are taken over the samples; with `relative` it is the
    largest error of any value over that value. Every step is repeated in two halves, and the
    distance of the two solutions measures the error of the coarser one, which is returned; the
    estimate is accurate to a few percent. For "scipy" and "scipy-stiff" it is the distance to a
    solution with ten times larger tolerances, for "torchdiffeq" the distance to "dop853". It is 0
    for closed forms and NaN (unknown) for "rk4".

    Args:
        system: The system.
        times: (T,) for all trajectories or (N, T) for their own; strictly increasing, with NaN at
            the end where a trajectory has fewer samples.
        initial_states: (N, S), in the order of the system's states.
        parameters: (N, P), in the order of the system's parameters, the fixed ones included.
        inputs: (N, K, I), external inputs at `input_times`. Between these times they are linear or
            held, as the system's `Input` declares; outside them they are held.
        input_times: (K,) or (N, K), with NaN at the end as padding; the sample times by default.
        doses: Amounts added to states at given times, see `Dose`. No step crosses them.
        initial_time: Time of the initial states, a number or (N,); the first sample by default.
        rtol: Relative tolerance; values below 100 machine epsilons are raised to that.
        atol: Absolute tolerance, one number for all states; by default each state's own follows
            its size: its initial value, and where that is zero, its largest value in a first run.
        relative: Whether every value is to be accurate relative to itself, as values with
            log-normal noise are, however small it is next to others of the same state.
        method: See above.
        substeps: Number of steps of "rk4" between two samples.
        max_steps: Number of attempted steps after which an adaptive method gives up a trajectory.

    Returns:
        States (N, T, S), error estimate (N,) and status (N,), and the engine that computed them. A
        trajectory that fails is NaN from that point on and does not affect any other.

    Raises:
        UsageError: An argument has the wrong shape or dtype, times do not increase, a parameter is
            outside its support, or the method cannot do what is asked.
        UnknownNameError: There is no such method.

    References:
        E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed.,
        Springer, 1993, sec. II.4-5.
        G. Steinebach, BIT Numerical Mathematics 63 (2023) 27, doi:10.1007/s10543-023-00967-x.
        R. T. Q. Chen, torchdiffeq, github.com/rtqichen/torchdiffeq.

    Example:
        >>> from warp_phys.systems import LotkaVolterra
        >>> solution = integrate(
        ...     LotkaVolterra(), [0.0, 10.0], [[30.0, 4.0]], [[0.55, 0.028, 0.80, 0.024]]
        ... )
        >>> solution.states[0, -1].round(decimals=2)
        tensor([23.4400,  4.3900], dtype=torch.float64)
    """
    problem = build_problem(
        system,
        times,
        initial_states,
        parameters,
        inputs=inputs,
        input_times=input_times,
        doses=doses,
        initial_time=initial_time,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        relative=relative,
    )
    chosen = _choose(problem, method)
    check_whole("substeps", substeps)
    valid = valid_trajectories(problem)

    def solve(problem: Problem) -> Solution:
        return _solve(problem, chosen, substeps)

    if bool(valid.all()):
        return _to_size(problem, solve, atol)
    # Trajectories with NaN or infinite arguments get the status INVALID and are not integrated.
    rows = valid.nonzero()[:, 0]
    if rows.numel() == 0:
        return scatter([], problem)
    return scatter([(rows, _to_size(problem.select(rows), solve, atol))], problem)


def _to_size(
    problem: Problem, solve: Callable[[Problem], Solution], atol: float | None
) -> Solution:
    """Solve with tolerances that follow the size of each state, unless they are given."""
    solution = solve(problem)
    given = atol is not None or problem.backward_mode or problem.forward_mode or problem.transformed
    return solution if given or problem.system.has_solution else refined(problem, solution, solve)


def _choose(problem: Problem, method: str) -> str:
    """Return the method, with "auto" resolved as far as it can be before solving."""
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    check_method(problem, method)
    if method == "auto" and problem.system.has_solution:
        return "solution"
    return method


def _solve(problem: Problem, method: str, substeps: int) -> Solution:
    if method == "solution":
        return solve_closed_form(problem)
    if method in TORCHDIFFEQ_METHODS:
        check_gradients(problem, method)
    if method == "rk4":
        return solve_rk4(problem, substeps)
    if method == "torchdiffeq":
        return solve_torchdiffeq(problem)
    if method in SCIPY_METHODS:
        return solve_scipy(problem, method)
    if problem.forward_mode or problem.transformed:
        raise UsageError(
            "torch.func (jvp, grad, vmap) works with closed forms and method='rk4' alone; use "
            "that, or backward() and torch.autograd.grad"
        )
    if problem.backward_mode:
        return _solve_for_gradients(problem, method)
    if method in STEPPERS:
        return solve_stepwise(problem, method)
    return _solve_with_stiff_path(problem)


def _solve_for_gradients(problem: Problem, method: str) -> Solution:
    explicit = "dop853" if method == "auto" else method
    library = gradient_library(problem, explicit)
    if library is not None:
        solution = solve_with_gradients(problem, explicit, library)
        return _with_stiff_gradients(problem, solution) if method == "auto" else solution
    if problem.system.events:
        raise no_event_gradients(problem)
    if method == "auto":
        check_gradients(problem, "torchdiffeq")
        return solve_torchdiffeq(problem)
    raise UsageError(
        f"method {method!r} gives gradients of parameters and initial states alone, in float64 and "
        "with compiled code; use 'torchdiffeq' or 'rk4', or detach the arguments"
    )


def _with_stiff_gradients(problem: Problem, solution: Solution) -> Solution:
    """Integrate the trajectories that the explicit method gave up by the implicit one."""
    stiff = (solution.status == Status.TOO_MANY_STEPS).nonzero()[:, 0]
    if stiff.numel() == 0:
        return solution
    part = problem.select(stiff)
    library = gradient_library(part, "rodas5p")
    if library is None:
        return solution
    everything = torch.arange(problem.counts.numel(), device=stiff.device)
    again = solve_with_gradients(part, "rodas5p", library)
    return scatter([(everything, solution), (stiff, again)], problem)


def _solve_with_stiff_path(problem: Problem) -> Solution:
    if problem.system.events and flow_library(problem, "dop853") is None:
        return _solve_by_scipy(problem)
    solution = solve_stepwise(problem, "dop853")
    # The explicit method gives up stiff trajectories early, so that trying it first costs little.
    stiff = (solution.status == Status.TOO_MANY_STEPS).nonzero()[:, 0]
    if stiff.numel() == 0:
        return solution
    everything = torch.arange(problem.counts.numel(), device=stiff.device)
    again = solve_stepwise(problem.select(stiff), "rodas5p")
    # `scatter` writes in order: later parts replace the rows of earlier ones.
    parts = [(everything, solution), (stiff, again)]
    # Radau integrates one trajectory at a time, which is slow: it is the last resort for the
    # trajectories that both batched methods lose.
    lost = (again.status == Status.DIVERGED).nonzero()[:, 0]
    if lost.numel():
        parts.append((stiff[lost], solve_scipy(problem.select(stiff[lost]), "scipy-stiff")))
    return scatter(parts, problem)


def _solve_by_scipy(problem: Problem) -> Solution:
    """Integrate by SciPy, trajectories that DOP853 loses by Radau."""
    solution = solve_scipy(problem, "scipy")
    status = solution.status
    lost = (status == Status.DIVERGED) | (status == Status.TOO_MANY_STEPS)
    rows = lost.nonzero()[:, 0]
    if not rows.numel():
        return solution
    everything = torch.arange(problem.counts.numel(), device=rows.device)
    again = solve_scipy(problem.select(rows), "scipy-stiff")
    return scatter([(everything, solution), (rows, again)], problem)
