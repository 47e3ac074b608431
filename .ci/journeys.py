"""Five journeys through the package, and how often each climbs and returns.

A journey is one public call on a tiny example, in a process of its own that imports the package
from a given checkout. `sys.setprofile` reports every call of a Python function on the main thread;
what counts is which of the package's files the calls lead to:

- Step: a function calls another one, both in the package (frames of libraries between them are
  skipped). The same caller calling the same function again is no new step, so that loops and the
  number of iterations do not matter. Comprehensions and lambdas belong to the function around them;
  reading a property or a length is no call.
- Stay: consecutive steps that end in the same file.
- Climb: a step into a file on a higher floor of the import graph than its caller's (see
  `structure.py`): what is below knows what is above, through a callback or an object handed down.
- Return: a stay in a file where there was a stay before.

All modules are imported before, and all but the journey to C++, which starts with an empty cache of
compiled code, make the same call once before, so that tracing and compiling are not in them.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

JOURNEYS = {
    "fit": "a record through `fit`",
    "estimate": "a record through `estimate`",
    "compile": "a system to C++",
    "simulate": "`simulate`'s parameters",
    "recurrence": "`A` through `linear_recurrence`",
}
PACKAGES = ("warp_phys", "systems", "data_gen")

Call = Callable[[], object]


@dataclass(frozen=True)
class Step:
    """A call from one function of the package to another.

    Attributes:
        caller_file: Where the caller stands, from the root of the checkout.
        caller: Its name; "" at the start.
        file: Where the function called stands.
        name: Its name.
    """

    caller_file: str
    caller: str
    file: str
    name: str

    def climbs(self, floors: dict[str, int]) -> bool:
        """Whether the step leads to a higher floor."""
        return self.caller_file != "" and floors[self.file] > floors[self.caller_file]


def measure_journey(steps: Sequence[Step], floors: dict[str, int]) -> tuple[int, ...]:
    """Return stays, files, folders, climbs and returns."""
    stays = [
        step.file
        for place, step in enumerate(steps)
        if place == 0 or step.file != steps[place - 1].file
    ]
    files = set(stays)
    folders = {file.rpartition("/")[0] for file in files}
    climbs = sum(step.climbs(floors) for step in steps)
    return len(stays), len(files), len(folders), climbs, len(stays) - len(files)


def take_journey(name: str, root: Path) -> list[Step]:
    """Return the steps of a journey through the package of a checkout, in a new process."""
    with tempfile.TemporaryDirectory() as cache_folder:
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "WARP_PHYS_CACHE": cache_folder,
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-W", "ignore", __file__, name, str(root)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=cache_folder,
        )
    return [Step(*values) for values in json.loads(done.stdout)]


def _record() -> Any:
    from warp_phys.data_gen import simulate

    return simulate("lotka_volterra", n=8, times=_times(), noise=0.02, seed=0, progress=False)


def _times() -> list[float]:
    return [0.5 * step for step in range(21)]


def _fit() -> Call:
    import warp_phys as wp
    from warp_phys.systems import get_system

    system, record = get_system("lotka_volterra"), _record()[["observed"]]
    return lambda: wp.fit(system, record, progress=False)


def _estimate() -> Call:
    import warp_phys as wp
    from warp_phys.systems import get_system

    record = _record()
    model = wp.WarpPhys(get_system("lotka_volterra"), head="direct", width=8)
    wp.train(model, record, steps=2, seed=0, progress=False)
    return lambda: wp.estimate(model, record[["observed"]])


def _compile() -> Call:
    from warp_phys.systems import get_system, integrate

    system = get_system("lotka_volterra")
    return lambda: integrate(system, [0.0, 1.0], [[30.0, 4.0]], [[0.55, 0.028, 0.80, 0.024]])


def _simulate() -> Call:
    from warp_phys.data_gen import simulate, uniform

    parameters = {"alpha": 0.55, "beta": uniform(0.02, 0.03), "gamma": (0.7, 0.9)}
    settings = {"n": 8, "times": _times(), "noise": 0.02, "seed": 0, "progress": False}
    return lambda: simulate("lotka_volterra", parameters=parameters, **settings)


def _recurrence() -> Call:
    import torch

    import warp_phys as wp

    A, B = torch.tensor([0.9, 0.5, 0.1]), torch.ones(3, 2)
    inputs, initial = torch.ones(4, 10, 2), torch.zeros(3)
    return lambda: wp.linear_recurrence(A, B, inputs, initial)


_CALLS = {
    "fit": _fit,
    "estimate": _estimate,
    "compile": _compile,
    "simulate": _simulate,
    "recurrence": _recurrence,
}


class _Walk:
    """Records the steps of a call."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: dict[Step, None] = {}  # in order, each once
        self._place = cache(self._place_of)
        self._readings = cache(_readings)

    def follow(self, call: Call) -> list[Step]:
        """Make the call; return its steps."""
        sys.setprofile(self._profile)
        try:
            call()
        finally:
            sys.setprofile(None)
        return list(self.steps)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event != "call" or (place := self._place(frame.f_code)) is None:
            return
        above = frame.f_back
        while above is not None and self._place(above.f_code) is None:
            above = above.f_back
        caller = ("", "") if above is None else self._place(above.f_code)
        if caller != place:
            self.steps.setdefault(Step(*caller, *place))

    def _place_of(self, code: CodeType) -> tuple[str, str] | None:
        """Return file and function of code in the package; None for other code."""
        path = Path(os.path.realpath(code.co_filename))
        if not path.is_relative_to(self.root) or code.co_name == "<module>":
            return None
        file = path.relative_to(self.root)
        if file.parts[0] not in PACKAGES or code.co_firstlineno in self._readings(path):
            return None
        name = re.sub(r"\.<\w+>", "", code.co_qualname)
        return file.as_posix(), name


def _readings(path: Path) -> set[int]:
    """Return the lines of a file's properties and `__len__` methods."""
    return {
        line
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and (node.name == "__len__" or "property" in map(ast.unparse, node.decorator_list))
        for line in range(node.lineno - len(node.decorator_list), (node.end_lineno or 0) + 1)
    }


def _import_everything() -> None:
    import warp_phys

    for module in pkgutil.walk_packages(warp_phys.__path__, "warp_phys."):
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(module.name)


def _main() -> None:
    name, root = sys.argv[1], Path(sys.argv[2]).resolve()
    _import_everything()
    call = _CALLS[name]()
    if name != "compile":
        call()
    steps = _Walk(root).follow(call)
    print(json.dumps([astuple(step) for step in steps]))


if __name__ == "__main__":
    _main()
