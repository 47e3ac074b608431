"""SciPy's integrators, one trajectory at a time, as a reference and for stiff trajectories."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.integrate import DOP853, Radau
from scipy.linalg import LinAlgWarning
from torch import Tensor

from warp_phys.systems.dynamics.problem import Problem, Solution, Status, difference
from warp_phys.systems.dynamics.scipy_events import EndlessEventsError, Happenings
from warp_phys.systems.dynamics.switch_times import with_switch_stops
from warp_phys.systems.forcing.schedule import InputPiece

SCIPY_METHODS = ("scipy", "scipy-stiff")
# SciPy raises a smaller rtol to this value and warns; raising it here avoids the warning.
_TIGHTEST = 100.0 * float(np.finfo(np.float64).eps)


@torch.no_grad()
def solve_scipy(problem: Problem, method: str) -> Solution:
    """Integrate in float64 with "scipy" (DOP853) or "scipy-stiff" (Radau, exact Jacobian).

    Each trajectory is solved with the given tolerances and with ten times larger ones; the distance
    of the two solutions is the error estimate.
    """
    like = problem.initial
    double = with_switch_stops(problem.detach()).to(dtype=torch.float64, device=torch.device("cpu"))
    n_trajectories, n_times = problem.times.shape
    states = np.full((n_trajectories, n_times, like.shape[0]), np.nan)
    loose = np.full_like(states, np.nan)
    status = np.zeros(n_trajectories, dtype=np.int64)
    for row in range(n_trajectories):
        run = _Run(double.select(slice(row, row + 1)), method)
        atol = double.atol[:, row].numpy()
        status[row] = run.solve(problem.rtol, atol, states[row])
        run.solve(10.0 * problem.rtol, 10.0 * atol, loose[row])
    tight = torch.from_numpy(states)
    return Solution(
        states=tight.to(like),
        error_estimate=difference(tight, torch.from_numpy(loose), problem).to(like),
        status=torch.from_numpy(status).to(like.device),
        engine="scipy",
    )


class _Run:
    """One trajectory, with the right-hand side and the Jacobian in the form that SciPy expects."""

    def __init__(self, problem: Problem, method: str) -> None:
        self.problem = problem
        self.method = method
        self.times = problem.times[0, : int(problem.counts)].numpy()
        self.start = float(problem.start)
        self.first = int(problem.first_piece())
        self.initial = (problem.initial + problem.initial_jump())[:, 0].numpy()
        self.drive = problem.drive(problem.first_piece())
        # One copy of the trajectory for each direction of the Jacobian.
        self.every = torch.zeros(len(self.initial), dtype=torch.int64)
        self.copies = problem.select(self.every)
        self.raised = False

    def solve(self, rtol: float, atol: np.ndarray, states: np.ndarray) -> Status:
        """Integrate, write the samples (T, S) that are reached, and return the status."""
        # Overflow before divergence is reported by the status, not by warnings.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", LinAlgWarning)
            try:
                return self._march_all(max(rtol, _TIGHTEST), atol, states)
            except EndlessEventsError:
                return Status.TOO_MANY_EVENTS
            except ValueError:  # an infinite matrix in Radau, unless the system itself raised
                if self.raised:
                    raise
                return Status.DIVERGED

    def _march_all(self, rtol: float, atol: np.ndarray, states: np.ndarray) -> Status:
        """Integrate from stop to stop, as inputs have kinks and states jump there, and at events.

        A new solver starts at every stop: both methods keep step sizes and derivatives of earlier
        steps, which are wrong after a discontinuity.
        """
        end, t = float(self.times[-1]), self.start
        piece = torch.tensor([self.first])
        self.drive = self.problem.drive(piece)
        self.events = Happenings(self.problem)
        y = self.events.begin(t, self.initial, self.drive)
        self._write(states, t, t, y)
        schedule = self.problem.schedule
        while t < end:
            stop = np.inf if schedule is None else float(schedule.stop(piece))
            self.drive = self.problem.drive(piece)
            # Between the two stops around a jump of the right-hand side there is nothing to solve.
            if stop > t + 4.0 * np.spacing(t):
                target = min(stop, end)
                status, t, y = self._march(t, y, target, rtol, atol, states)
                if status != Status.CONVERGED:
                    return status
            # A stop at the end of the span still acts, so that the last sample shows the state
            # after it.
            if schedule is not None and stop <= t + 4.0 * np.spacing(t):
                jump = schedule.jump(piece)
                y = y + (jump[:, 0].numpy() if isinstance(jump, Tensor) else jump)
                piece = piece + 1
                y = self.events.settle(stop, y, self.problem.drive(piece))
                self._write(states, t, stop, y)
                t = stop
        return Status.CONVERGED

    def _write(self, states: np.ndarray, first: float, last: float, y: np.ndarray) -> None:
        """Write the state at samples from `first` to `last`."""
        states[: len(self.times)][(self.times >= first) & (self.times <= last)] = y

    def _march(
        self,
        start: float,
        initial: np.ndarray,
        stop: float,
        rtol: float,
        atol: np.ndarray,
        states: np.ndarray,
    ) -> tuple[Status, float, np.ndarray]:
        """Integrate within one piece to `stop` or an event; return status, time and state."""
        span = (start, initial, stop)
        if self.method == "scipy":
            solver = DOP853(self._derivative, *span, rtol=rtol, atol=atol)
        else:
            solver = Radau(self._derivative, *span, rtol=rtol, atol=atol, jac=self._jacobian)
        for _ in range(self.problem.max_steps):
            before = solver.t
            solver.step()
            if solver.status == "failed":
                return Status.DIVERGED, solver.t, solver.y
            due = np.flatnonzero((self.times > before) & (self.times <= solver.t))
            if due.size or self.problem.system.events:
                dense = solver.dense_output()
                states[due] = dense(self.times[due]).T
                tau = self.events.search(before, solver.t, dense, self.drive)
                if tau is not None:
                    return Status.CONVERGED, tau, self._pass_event(tau, dense(tau), states)
            if solver.status == "finished":
                return Status.CONVERGED, solver.t, solver.y
        return Status.TOO_MANY_STEPS, solver.t, solver.y

    def _pass_event(self, tau: float, y: np.ndarray, states: np.ndarray) -> np.ndarray:
        """Return the state after the events at a time; later samples are not known any more."""
        y = self.events.settle(tau, y, self.drive)
        self._write(states, tau, np.inf, np.full_like(y, np.nan))
        near = 4.0 * np.spacing(abs(tau))
        self._write(states, tau - near, tau + near, y)
        return y

    def _derivative(self, t: float, y: np.ndarray) -> np.ndarray:
        return self._call(self.problem, self.drive, t, torch.tensor(y)[:, None])[:, 0].numpy()

    def _jacobian(self, t: float, y: np.ndarray) -> np.ndarray:
        # S copies of the trajectory, copy j with the tangent e_j: forward-mode differentiation
        # gives all S columns of df/dy in one call.
        states = torch.tensor(y)[:, None].repeat(1, len(y))
        directions = torch.eye(len(y), dtype=states.dtype)
        drive = None if self.drive is None else self.drive.select(self.every)
        pair = torch.func.jvp(
            lambda copies: self._call(self.copies, drive, t, copies), (states,), (directions,)
        )
        return pair[1].numpy()

    def _call(self, problem: Problem, drive: InputPiece | None, t: float, y: Tensor) -> Tensor:
        try:
            return problem.derivative(torch.full_like(problem.start, t), y, drive)
        except Exception:
            # Tells an error of the user's code, which must be raised, from one of SciPy's solver.
            self.raised = True
            raise
