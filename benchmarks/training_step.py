"""Time and memory of one whole training step against an equal model in JAX, one pinned thread.

A step is what `train` does: the loss of the batch as the package's own training tasks compute it,
its gradient, clipping, and AdamW; float32. The JAX side (`_training_step_jax.py`) starts from the
same parameters, scans over time with `lax.scan`, with the batch inside or under `vmap` and states
decoded in the scan or after it, and is one jitted function whose state is donated; the table gives
the fastest form. Loss and clipped gradients must agree first. The calls are interleaved; a time is
the processor's, the median of the faster half; the first call, which compiles, stands beside it.
Memory is by how much a step raises the peak of a process of its own.

Usage: python benchmarks/training_step.py [--cases 0 1 2 3] [--repeats 7] [--quick]
Peer, if wanted: pip install jax
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import importlib.metadata
import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import warp_phys as wp
from warp_phys.data_gen import simulate
from warp_phys.training import optimize as _train
from warp_phys.training.checkpoint import Progress
from warp_phys.training.physics_task import PhysicsTask
from warp_phys.training.schedule import Schedule
from warp_phys.training.task import TrainingTask
from warp_phys.training.warp_task import WarpTask

Step = Callable[[], None]

# Of the largest entry of each gradient: sums of many float32 terms in another order.
AGREEMENT = 1e-3


@dataclass(frozen=True)
class Case:
    """A model and the size of its batch.

    Attributes:
        name: What the table calls it.
        model: Makes it.
        records: N.
        samples: T.
        wanted: The ratio to JAX that is aimed at.
    """

    name: str
    model: Callable[[], wp.Warp | wp.WarpPhys]
    records: int
    samples: int
    wanted: float


CASES = (
    Case("Warp, diagonal A", lambda: wp.Warp(structure="diagonal"), 1024, 256, 3.0),
    Case(
        "WarpPhys, direct head, features",
        lambda: wp.WarpPhys("lotka_volterra", head="direct"),
        1024,
        256,
        3.0,
    ),
    Case(
        "WarpPhys, weights head, differences",
        lambda: wp.WarpPhys("lotka_volterra", head="weights"),
        1024,
        256,
        3.0,
    ),
    Case("Warp, dense A", lambda: wp.Warp(structure="dense", root_width=20), 32, 256, 1.0),
)


class Problem:
    """A case with data, as its training task prepares it, and weights that have moved a little."""

    def __init__(self, case: Case) -> None:
        self.case = case
        times = np.linspace(0.0, 20.0, case.samples)
        data = simulate("lotka_volterra", n=2 * case.records, times=times, noise=0.05, seed=0)
        part = [data.isel(trajectory=slice(k, None, 2)) for k in range(2)]
        model = case.model()
        self.task: TrainingTask
        if isinstance(model, wp.Warp):
            self.task = WarpTask(model, *part, seed=0, context=None)
        else:
            self.task = PhysicsTask(model, *part, "supervised", 0)
        self.schedule = Schedule("auto", 6000, self.task.count, 1e-3, 0, None, None)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.task.network.parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                parameter += 0.01 * noise / max(1.0, parameter.shape[-1] ** 0.5)

    def drawn(self) -> tuple[torch.Tensor, int]:
        """Return the records and the place that the first step draws."""
        return _train._draw(self.task, self.schedule, 0)


def our_step(problem: Problem) -> Step:
    """Return the package's step; every call draws the same batch."""
    optimizer = _train._optimizer(problem.task.network, problem.schedule)

    def step() -> None:
        _train._one_step(problem.task, optimizer, problem.schedule, Progress())

    return step


def our_result(problem: Problem) -> tuple[float, dict[str, np.ndarray]]:
    """Return loss and clipped gradients of the first step, and undo it."""
    network = problem.task.network
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = _train._optimizer(network, problem.schedule)
    loss = _train._one_step(problem.task, optimizer, problem.schedule, Progress())
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    found = {name: gradient.numpy().copy() for name, gradient in gradients.items()}
    network.load_state_dict(before)
    assert loss is not None
    return loss, found


def jax_batch(problem: Problem) -> tuple[dict[str, np.ndarray], int]:
    """Return what the task holds of the records that the first step draws, and the place."""
    index, place = problem.drawn()
    prepared: Any = problem.task.training  # type: ignore[attr-defined]
    batch = {"signals": prepared.signals, "elapsed": prepared.elapsed}
    if isinstance(problem.task, PhysicsTask):
        batch |= {"truth": prepared.truth, "valid": prepared.data.records.valid}
    else:
        batch |= {"target": prepared.target}
    return {name: value[index].numpy() for name, value in batch.items()}, place


def jax_losses(problem: Problem, place: int) -> dict[str, Any]:
    """Return the forms of the model's loss in JAX."""
    from _training_step_jax import losses

    network: Any = problem.task.network
    channels = network.scaling.width
    if isinstance(problem.task, WarpTask):
        shapes = network.root.shapes
        return losses("warp", channels=channels, widths=widths(shapes), place=place)
    settings = problem.task.model.settings  # type: ignore[attr-defined]
    root = widths(network.head.root.shapes) if settings.head == "weights" else ()
    options = {"drive": settings.drive, "stable": settings.stable}
    return losses("physics", channels=channels, widths=root, **options)


def widths(shapes: list[tuple[int, int]]) -> tuple[int, ...]:
    """Return the widths of a perceptron from the shapes of its weights."""
    return (shapes[0][1], *(out for out, _ in shapes))


class JaxStep:
    """A jitted step of one form, with its state."""

    def __init__(self, problem: Problem, loss: Any, batch: dict[str, np.ndarray]) -> None:
        import jax
        from _training_step_jax import training_step

        named = problem.task.network.named_parameters()
        parameters = {name: jax.numpy.array(p.detach().numpy()) for name, p in named}
        zeros = [{n: jax.numpy.zeros_like(p) for n, p in parameters.items()} for _ in range(2)]
        self.state = (parameters, *zeros)
        self.count = jax.numpy.float32(1.0)
        self.rate = jax.numpy.float32(problem.schedule.rate(Progress()))
        self.batch = {name: jax.numpy.asarray(value) for name, value in batch.items()}
        step = training_step(loss, largest=_train._LARGEST_GRADIENT, decay=_train._WEIGHT_DECAY)
        begun = time.process_time()
        self.step = step.lower(*self.state, self.count, self.rate, self.batch).compile()
        self.compilation = time.process_time() - begun

    def __call__(self) -> tuple[float, dict[str, np.ndarray]]:
        """Take a step; return loss and clipped gradients."""
        value, gradient, self.state = self.step(*self.state, self.count, self.rate, self.batch)
        return float(value), gradient


def seconds(step: Step) -> float:
    """Return the processor time of one call."""
    begun = time.process_time()
    step()
    return time.process_time() - begun


def median_of_faster_half(times: list[float]) -> float:
    """Return what a quiet machine would have shown."""
    return float(np.median(sorted(times)[: (len(times) + 1) // 2]))


def check(name: str, found: tuple[float, Any], expected: tuple[float, Any]) -> None:
    """Refuse a side that computes something else."""
    if not abs(found[0] - expected[0]) < AGREEMENT * max(1.0, abs(expected[0])):
        raise SystemExit(f"{name}: loss {found[0]:.6g}, expected {expected[0]:.6g}")
    for key, other in expected[1].items():
        error = np.abs(np.asarray(found[1][key]) - other).max() / max(np.abs(other).max(), 1e-12)
        if not error < AGREEMENT:
            raise SystemExit(f"{name}: the gradient to {key} differs by {error:.1e}")


def memory(problem: Problem, form: str) -> float:
    """Return by how many MB a step raises the peak of this process's memory."""
    if form == "ours":
        step = our_step(problem)
    else:
        batch, place = jax_batch(problem)
        step = JaxStep(problem, jax_losses(problem, place)[form], batch)  # type: ignore[assignment]
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forgets the peak so far
    before = resident("VmRSS")
    step()
    return (resident("VmHWM") - before) / 1e6


def resident(entry: str) -> float:
    """Return a size in bytes from the kernel's report on this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024.0 * next(float(line.split()[1]) for line in lines if line.startswith(entry))


def memory_in_own_process(case: Case, form: str) -> float:
    """Return `memory` of a process that has done nothing else; NaN where there is no /proc."""
    number = [other.name for other in CASES].index(case.name)
    command = [sys.executable, __file__, "--cases", str(number), "--memory", form]
    command += ["--records", str(case.records)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return float(ran.stdout) if ran.returncode == 0 else float("nan")


def measure(problem: Problem, repeats: int) -> dict[str, tuple[float, float]]:
    """Return warm and first time of every side."""
    expected = our_result(problem)
    steps: dict[str, Any] = {"ours": our_step(problem)}
    first = {"ours": 0.0}
    if importlib.util.find_spec("jax") is not None:
        batch, place = jax_batch(problem)
        for form, loss in jax_losses(problem, place).items():
            steps[form] = JaxStep(problem, loss, batch)
            first[form] = steps[form].compilation
            begun = time.process_time()
            found = steps[form]()
            first[form] += time.process_time() - begun
            check(f"{problem.case.name}, {form}", found, expected)
    begun = time.process_time()
    steps["ours"]()
    first["ours"] += time.process_time() - begun
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(repeats):
        for name, step in steps.items():
            times[name].append(seconds(step))
    return {name: (median_of_faster_half(times[name]), first[name]) for name in steps}


def report(case: Case, found: dict[str, tuple[float, float]]) -> None:
    """Print one line of the table."""
    own, cold = found.pop("ours")
    cells = [f"{own:.3f} ({cold:.1f})", f"{memory_in_own_process(case, 'ours'):,.0f}"]
    if found:
        best = min(found, key=lambda name: found[name][0])
        warm, cold = found[best]
        others = "; ".join(f"{name} {found[name][0]:.3f}" for name in found if name != best)
        cells += [f"{best} {warm:.3f} ({cold:.1f}); {others}"]
        cells += [f"{memory_in_own_process(case, best):,.0f}"]
        cells += [f"{warm / own:.1f}", f"{case.wanted:g}"]
    else:
        cells += ["-"] * 3 + [f"{case.wanted:g}"]
    print(f"| {case.name} ({case.records}, {case.samples}) | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Measure the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, nargs="*", default=list(range(len(CASES))))
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a sixteenth of the records, twice")
    parser.add_argument("--records", type=int, help="other than the case's")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory:
        case = replace(CASES[chosen.cases[0]], records=chosen.records)
        print(memory(Problem(case), chosen.memory))
        return
    names = [name for name in ("torch", "jax") if importlib.util.find_spec(name)]
    print("one thread;", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names))
    print()
    print("| model (N, T) | ours, s (first) | MB | JAX, s (first) | MB | ratio | wanted |")
    print("|---|---|---|---|---|---|---|")
    for number in chosen.cases:
        case = CASES[number]
        fewer = max(8, case.records // 16) if chosen.quick else case.records
        case = replace(case, records=chosen.records or fewer)
        report(case, measure(Problem(case), 2 if chosen.quick else chosen.repeats))


if __name__ == "__main__":
    main()
