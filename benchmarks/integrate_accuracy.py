"""How wrong the worst trajectory of `integrate` is, beside SciPy's at the same tolerances.

The error of a trajectory is the largest over its states and samples of
abs(y - truth) / (atol + rtol max_t abs(truth)). It is looked at in the first 500 trajectories and
the 50 of all with the largest own error estimates. The truth there is SciPy's DOP853 at 1e-13, or
its Radau at 1e-12 for Robertson; `unsure` is how far another method of SciPy (Radau at 1e-12, LSODA
at 1e-13) is from it on ten trajectories, in the same unit. SciPy's own error is that of DOP853, or
of Radau with the exact Jacobian where a trajectory is stiff: Robertson, and Van der Pol for mu from
10 on, whose other trajectories have a row of their own.

rank: Spearman's correlation of the own error estimate with the error. alone: the largest difference
of a trajectory alone from itself in the batch, among 20, relative to max_t abs(y).

Usage: python benchmarks/integrate_accuracy.py [--cases robertson] [--rtol 1e-6 1e-9] [--quick]
"""

from __future__ import annotations

import argparse
import importlib.metadata
import time
from dataclasses import dataclass

import numpy as np
import torch
from _integration_cases import CASES, Case, Problem, scaled_errors, solve_in_processes
from scipy.stats import spearmanr

from warp_phys.systems import Solution, get_system, integrate

SIZES = {"lotka_volterra": 100_000, "pendulum": 10_000, "van_der_pol": 10_000, "robertson": 1_000}
DRAWN, HARDEST, ALONE, CROSSED = 500, 50, 20, 10
# Robertson to 1e5 is out of reach of explicit methods, and they are the sharpest elsewhere.
TRUTH = {"robertson": ("Radau", 1e-12)}
OTHER = {"robertson": ("LSODA", 1e-13)}


@dataclass(frozen=True)
class Run:
    """All trajectories of one case at one tolerance."""

    solution: Solution
    rtol: float
    atol: float
    seconds: float

    @property
    def states(self) -> np.ndarray:
        """(N, T, S)."""
        states: np.ndarray = self.solution.states.numpy()
        return states

    @property
    def estimate(self) -> np.ndarray:
        """(N,), the own estimate, in the unit of the errors."""
        estimate: np.ndarray = self.solution.error_estimate.numpy() / self.rtol
        return estimate

    def to_check(self, drawn: int, hardest: int) -> np.ndarray:
        """Return the first trajectories and those with the largest estimates."""
        worst = np.argsort(-np.nan_to_num(self.estimate, nan=np.inf), kind="stable")[:hardest]
        return np.union1d(np.arange(min(drawn, len(self.estimate))), worst)


def solve(case: Case, problem: Problem, rtol: float) -> Run:
    """Integrate all trajectories with the method that `integrate` chooses."""
    begun = time.perf_counter()
    solution = integrate(
        get_system(case.system),
        problem.times,
        problem.initial,
        problem.parameters,
        rtol=rtol,
        atol=case.atol * rtol,
    )
    return Run(solution, rtol, case.atol * rtol, time.perf_counter() - begun)


def differences_alone(case: Case, problem: Problem, run: Run, rows: np.ndarray) -> float:
    """Return the largest difference of trajectories alone from the same in the batch."""
    found = []
    for row in rows.tolist():
        alone = solve(case, problem.select(slice(row, row + 1)), run.rtol).states[0]
        together = run.states[row]
        scale = np.abs(together).max(axis=0)
        found.append((np.abs(alone - together) / np.where(scale > 0.0, scale, 1.0)).max())
    return float(np.max(found))


def solve_truth(
    name: str, problem: Problem, runs: list[Run], rows: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the truth of some trajectories, and how far another method is from it.

    Both tolerances share it, so that atol is that of the tighter one.
    """
    tightest = min(runs, key=lambda run: run.rtol)
    method, rtol = TRUTH.get(name, ("DOP853", 1e-13))
    other, other_rtol = OTHER.get(name, ("Radau", 1e-12))
    ratio = CASES[name].atol
    truth = solve_in_processes(name, problem.select(rows), method, rtol, ratio * rtol)
    few = np.linspace(0, len(rows) - 1, CROSSED).astype(int)
    crossed = problem.select(rows[few])
    again = solve_in_processes(name, crossed, other, other_rtol, ratio * other_rtol)
    return truth, float(scaled_errors(again, truth[few], tightest.rtol, tightest.atol).max())


def report(name: str, problem: Problem, run: Run, rows: np.ndarray, truth: np.ndarray) -> None:
    """Print a line for the trajectories that SciPy solves with each of its methods."""
    case = CASES[name]
    errors = scaled_errors(run.states[rows], truth, run.rtol, run.atol)
    stiff = case.stiff(problem.parameters[rows])
    for method, part in (("DOP853", ~stiff), ("Radau", stiff)):
        if not part.any():
            continue
        theirs = solve_in_processes(name, problem.select(rows[part]), method, run.rtol, run.atol)
        scipy_errors = scaled_errors(theirs, truth[part], run.rtol, run.atol)
        ours, worst = errors[part].max(), scipy_errors.max()
        rank = spearmanr(run.estimate[rows][part], errors[part]).statistic
        alone = differences_alone(case, problem, run, rows[part][-ALONE:])
        print(
            f"| {name} | {run.rtol:g} | {method} | {part.sum()} | {ours:.3g} | {worst:.3g} "
            f"| {ours / worst:.2g} | {rank:.2f} | {alone:.0e} |",
            flush=True,
        )


def run_case(name: str, n: int, tolerances: list[float], drawn: int, hardest: int) -> list[str]:
    """Integrate, compare and print one case; return what there is to say below the table."""
    case = CASES[name]
    problem = case.draw(n)
    runs = [solve(case, problem, rtol) for rtol in tolerances]
    chosen = [run.to_check(drawn, hardest) for run in runs]
    rows = np.unique(np.concatenate(chosen))
    truth, unsure = solve_truth(name, problem, runs, rows)
    for run, part in zip(runs, chosen, strict=True):
        report(name, problem, run, part, truth[np.searchsorted(rows, part)])
    notes = [f"{name}: {n:,} trajectories, {case.about}, atol {case.atol:g} rtol"]
    for run in runs:
        # "Solution(states (1000, 101, 3): 1000 converged; ...": what is between is the statuses
        status = repr(run.solution).partition("): ")[2].partition(";")[0]
        notes.append(f"rtol {run.rtol:g}: {status}, {run.seconds:.1f} s")
    return [*notes, f"truth unsure by {unsure:.1g} at the tightest tolerance"]


def main(arguments: list[str] | None = None) -> None:
    """Run the chosen cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--rtol", nargs="+", type=float, default=[1e-6, 1e-9])
    parser.add_argument("--quick", action="store_true", help="a hundredth of the trajectories")
    chosen = parser.parse_args(arguments)
    share, drawn, hardest = (100, 20, 5) if chosen.quick else (1, DRAWN, HARDEST)

    torch.set_num_threads(1)
    print(
        f"torch {torch.__version__}, scipy {importlib.metadata.version('scipy')}; errors in units "
        "of the tolerance, see above all --help\n"
    )
    print("| case | rtol | SciPy's | checked | worst | SciPy's worst | ratio | rank | alone |")
    print("|---|---|---|---|---|---|---|---|---|")
    notes = []
    for name in chosen.cases:
        n = max(SIZES[name] // share, ALONE)
        notes.append(run_case(name, n, chosen.rtol, drawn, hardest))
    print()
    for lines in notes:
        print("; ".join(lines))


if __name__ == "__main__":
    main()
