"""The value and Jacobians of right-hand sides: this package's compiler against other libraries.

`fit` and `integrate` need dy/dt and its derivatives by states and parameters, on thousands of
trajectories at once. The package traces the torch code of a system, differentiates it and writes
C++. The others do the same job: torch (eager, and compiled by Inductor), JAX, SymPy with a C
compiler or with Numba, CasADi's C code and heyoka's LLVM code. Only torch takes the catalog's own
code; for the rest every right-hand side is written once more, in operators and in functions of the
library. C and C++ sides share the compiler, its flags and the layout of arrays.

Cold is what the first evaluation takes in a new process with all imports done: trace, derivatives,
code, compiling (nothing is found in a cache), first call. Warm is the median of later evaluations
on N trajectories, all sides in turn. Both are times of the processor, those of compilers called
included. All must agree with torch's eager values: difference over the largest size of that entry
among the trajectories.

Usage: python benchmarks/compiler_comparison.py [--n 10000] [--repeats 15] [--cases ...] [--quick]
Peers, if wanted: pip install jax sympy numba casadi heyoka
"""

from __future__ import annotations

import os

# One thread for everybody, before anybody starts more.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import argparse
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from _compiler_cases import CASES
from _compiler_sides import (
    LANES,
    Call,
    casadi_c,
    heyoka_llvm,
    jax_jit,
    sympy_c,
    sympy_numba,
    torch_compile,
    torch_eager,
    warp_phys,
)

AGREEMENT = 1e-13
LEAST = 0.02  # seconds that a warm sample lasts


@dataclass(frozen=True)
class Side:
    """One way to value and Jacobians.

    Attributes:
        build: See `_compiler_sides`.
        modules: What it imports besides torch and this package.
        packages: What has to be installed besides what this package needs anyway.
        same_code: Whether it takes the catalog's torch code.
    """

    build: Any
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    same_code: bool = False


SIDES = {
    "warp_phys": Side(warp_phys, ("warp_phys.systems.compiling.tracing",), (), True),
    "torch, vmap of jvp": Side(torch_eager, (), (), True),
    "torch.compile": Side(torch_compile, ("torch._dynamo", "torch._inductor"), (), True),
    "JAX": Side(jax_jit, ("jax",), ("jax", "jaxlib", "ml_dtypes", "opt_einsum")),
    "SymPy, C": Side(sympy_c, ("sympy",)),
    "SymPy, Numba": Side(sympy_numba, ("sympy", "numba"), ("numba", "llvmlite")),
    "CasADi, C": Side(casadi_c, ("casadi",), ("casadi",)),
    "heyoka": Side(heyoka_llvm, ("heyoka",), ("heyoka",)),
}


@dataclass
class Result:
    """What was measured of a side on a case; times in seconds."""

    call: Call
    cold: float
    difference: float = 0.0
    warm: list[float] = field(default_factory=list)


def processor_time() -> float:
    """Return the seconds of this process and of the compilers that it called."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def imported(side: Side) -> float:
    """Import what a side needs; return how long it took with torch already there."""
    begun = processor_time()
    for module in side.modules:
        importlib.import_module(module)
    return processor_time() - begun


def cold_run(name: str, case: str, n: int) -> None:
    """Print times of import and first evaluation; the only job of a new process."""
    side = SIDES[name]
    y, p = CASES[case].draw(n)
    loading = imported(side)
    begun = processor_time()
    side.build(CASES[case], y, p)()
    print(json.dumps([loading, processor_time() - begun]))


def cold_times(name: str, case: str, n: int) -> tuple[float, float]:
    """Return seconds of import and first evaluation in a new process without any cache."""
    with tempfile.TemporaryDirectory() as folder:
        caches = {"WARP_PHYS_CACHE": folder, "TORCHINDUCTOR_CACHE_DIR": folder}
        command = [sys.executable, "-W", "ignore", __file__, "--n", str(n), "--cold", name, case]
        done = subprocess.run(
            command, env={**os.environ, **caches}, check=True, stdout=subprocess.PIPE, text=True
        )
    loading, first = json.loads(done.stdout.splitlines()[-1])
    return loading, first


def differences(call: Call, reference: list[np.ndarray]) -> float:
    """Return the largest difference of an entry, over its largest size among the trajectories."""
    worst = 0.0
    for value, expected in zip(call(), reference, strict=True):
        size = np.abs(expected).max(axis=-1)
        error = np.abs(np.asarray(value) - expected).max(axis=-1)
        worst = max(worst, float((error / np.where(size > 0.0, size, 1.0)).max()))
    return worst


def sample(call: Call) -> float:
    """Return the seconds of one evaluation, measured over enough of them."""
    count, begun = 0, time.process_time()
    while (taken := time.process_time() - begun) < LEAST:
        call()
        count += 1
    return taken / count


def compare(case: str, names: list[str], n: int, repeats: int) -> dict[str, Result]:
    """Measure all sides on one case."""
    y, p = CASES[case].draw(n)
    reference = [np.array(x) for x in torch_eager(CASES[case], y, p)()]
    results = {}
    for name in names:
        _, cold = cold_times(name, case, n)
        call = SIDES[name].build(CASES[case], y, p)
        results[name] = Result(call, cold, differences(call, reference))
    for _ in range(repeats):
        for result in results.values():
            result.warm.append(sample(result.call))
    return results


def available() -> list[str]:
    """Return the sides whose packages are there; say which are not."""
    names = []
    for name, side in SIDES.items():
        missing = [x for x in side.modules if importlib.util.find_spec(x.split(".")[0]) is None]
        if missing:
            print(f"{name} is left out; to have it: pip install {' '.join(missing)}")
        else:
            names.append(name)
    return names


def megabytes(packages: tuple[str, ...]) -> float:
    """Return what packages take on the disk."""
    files = (file for name in packages for file in importlib.metadata.files(name) or ())
    return sum(file.size or 0 for file in files) / 1e6


def print_costs(names: list[str], n: int) -> None:
    """Print what each side costs whatever the system."""
    texts = [inspect.getsource(case.rates) for case in CASES.values()]
    written = sum(bool(line.strip()) for text in texts for line in text.splitlines())
    print(
        f"\n| side | written anew for {len(CASES)} systems (lines) | import (s) | installed (MB) |"
    )
    print("|---|---|---|---|")
    for name in names:
        loading, _ = cold_times(name, next(iter(CASES)), n)
        lines = 0 if SIDES[name].same_code else written
        print(f"| {name} | {lines} | {loading:.2f} | {megabytes(SIDES[name].packages):.0f} |")


def print_results(case: str, results: dict[str, Result]) -> None:
    """Print the rows of a case."""
    ours = statistics.median(results["warp_phys"].warm)
    for name, result in results.items():
        warm = statistics.median(result.warm)
        print(
            f"| {case} | {name} | {result.cold:.2f} | {1e3 * warm:.3f} | {warm / ours:.1f} "
            f"| {result.difference:.0e} |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="trajectories, in eights")
    parser.add_argument("--repeats", type=int, default=15, help="warm samples of each side")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="systems")
    parser.add_argument("--quick", action="store_true", help="two systems, three samples")
    parser.add_argument("--cold", nargs=2, metavar=("SIDE", "CASE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.n % LANES:
        parser.error(f"expected --n as a multiple of {LANES}, received {chosen.n}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # torch's and JAX's own, of deprecated internals
    if chosen.cold:
        cold_run(*chosen.cold, chosen.n)
        return
    names = available()
    if chosen.quick:
        chosen.cases, chosen.repeats = ["lotka_volterra", "pendulum"], 3
    packages = ["torch", *(x for name in names for x in SIDES[name].modules if "." not in x)]
    versions = (f"{x} {importlib.metadata.version(x)}" for x in dict.fromkeys(packages))
    print(f"one thread of {os.cpu_count()} cores; N = {chosen.n:,}; {', '.join(versions)}")
    worst = 0.0
    print("\n| system | side | cold (s) | warm (ms) | times ours | difference |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WARP_PHYS_CACHE"] = os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for case in chosen.cases:
            results = compare(case, names, chosen.n, chosen.repeats)
            print_results(case, results)
            worst = max(worst, *(result.difference for result in results.values()))
        print_costs(names, chosen.n)
    if worst > AGREEMENT:
        raise SystemExit(f"values differ by {worst:.1e}, more than {AGREEMENT:g}")


if __name__ == "__main__":
    main()
