"""Measure how the package is built: folders, files, functions, arrows, circles and five journeys.

Works on any checkout, whatever its layout, and on two of them side by side:

    python .ci/structure.py                             # this checkout
    python .ci/structure.py --compare ../before         # another one, the first column, beside it
    python .ci/structure.py --steps fit                 # where one journey goes, call by call

Everything is measured on the Python and C++ files in `warp_phys`, `systems` and `data_gen`, links
between them left out. What the words in the table mean:

- File: a Python or C++ file; an `__init__.py` counts where it holds more than its docstring.
- Code lines of a function: lines that hold code, without docstrings, comments and blank lines;
  functions defined inside it included.
- Comments: `#` in Python, `//` in C++, on lines of their own or behind code.
- Arrow: module A imports module B, once however often. Every import statement counts, those inside
  functions and under TYPE_CHECKING too. A public name imported through one of the three packages
  counts as an import of the module where it lives; the lists of public names themselves do not.
- Floor of a module: 0 if it imports nothing of the package, else one above the highest floor that
  it imports from; modules in a circle share a floor.
- Arrows between folders: those of their modules, where a folder of a package counts with all that
  lies inside it, as in `tests/test_architecture.py`.
- Circle: modules (or folders) that all lead back to each other. Arrow back up: an arrow that closes
  a circle, found by a depth-first walk in alphabetical order.
- Private import in a test: one of a module other than the three packages.

The journeys are defined in `journeys.py`, which runs them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from checkout import Checkout, Module, Source
from graphs import arrows_back_up, circles, floors_of
from journeys import JOURNEYS, Step, measure_journey, take_journey

LONG_FUNCTION, LONG_PYTHON, LONG_CPP = 40, 300, 400


def sizes(checkout: Checkout) -> dict[str, str]:
    """Return the rows about folders, files and functions."""
    per_folder: dict[PurePosixPath, int] = {}
    for file in checkout.files:
        per_folder[file.place.parent] = per_folder.get(file.place.parent, 0) + 1
    python = list(checkout.modules.values())
    lines = [file.n_lines for file in checkout.files]
    functions = sorted(
        (size for module in python for size in module.function_sizes()), reverse=True
    )
    long = [f"`{name}` {size}" for size, name in functions if size > LONG_FUNCTION]
    n_python = sum(module.n_lines for module in python)
    n_cpp = sum(file.n_lines for file in checkout.cpp)
    remarks = sum(module.n_comments for module in python)
    cpp_remarks = sum(line.count("//") for file in checkout.cpp for line in file.text.splitlines())
    return {
        "folders": f"{len(per_folder)}",
        "files": f"{len(lines)}",
        "files a folder, median / most": _spread(per_folder.values()),
        "lines of Python": f"{n_python:,}",
        "lines of C++": f"{n_cpp:,}",
        "lines a file, median / most": _spread(lines),
        f"Python files over {LONG_PYTHON} lines": _over(python, LONG_PYTHON),
        f"C++ files over {LONG_CPP} lines": _over(checkout.cpp, LONG_CPP),
        f"functions over {LONG_FUNCTION} code lines": f"{len(long)}",
        "the longest functions": ", ".join(long[:5]) or "-",
        "comments in 100 lines of Python": f"{100 * remarks / n_python:.1f}",
        "comments in 100 lines of C++": f"{100 * cpp_remarks / n_cpp:.1f}",
    }


def _spread(values: Collection[int]) -> str:
    return f"{statistics.median(values):g} / {max(values)}"


def _over(files: list[Source] | list[Module], limit: int) -> str:
    return f"{sum(file.n_lines > limit for file in files)}"


def directions(checkout: Checkout) -> dict[str, str]:
    """Return the rows about arrows, floors and circles."""
    rows = {}
    for kind, graph in (("modules", checkout.arrows), ("folders", checkout.folder_arrows)):
        rows[f"arrows between {kind}"] = f"{sum(map(len, graph.values()))}"
        rows[f"of these back up, {kind}"] = f"{len(arrows_back_up(graph))}"
        rows[f"circles of {kind}"] = f"{len(circles(graph))}"
        rows[f"floors of {kind}"] = f"{max(floors_of(graph).values()) + 1}"
    return rows


def tests(checkout: Checkout) -> dict[str, str]:
    """Return the row about tests."""
    root = checkout.root
    modules = [
        Module(PurePosixPath(path.relative_to(root).as_posix()), path.read_text(encoding="utf-8"))
        for path in sorted((root / "tests").rglob("test_*.py"))
    ]
    private = sum(map(checkout.imports_private, modules))
    return {"test files with private imports": f"{private} of {len(modules)}"}


def travels(checkout: Checkout) -> dict[str, str]:
    """Return a row for each journey."""
    return {
        f"{title}: stays / files / folders / climbs / returns": " / ".join(
            map(str, measure_journey(take_journey(name, checkout.root), checkout.floors))
        )
        for name, title in JOURNEYS.items()
    }


MEASURES: tuple[Callable[[Checkout], dict[str, str]], ...] = (sizes, directions, tests, travels)


def print_table(columns: dict[str, dict[str, str]]) -> None:
    """Print measures as rows, checkouts as columns."""
    print(f"| | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for row in next(iter(columns.values())):
        print(f"| {row} | {' | '.join(column[row] for column in columns.values())} |")


def print_steps(steps: list[Step], floors: dict[str, int]) -> None:
    """Print the calls of a journey that lead from file to file; `^` is a climb, `<` a return."""
    last, seen = "", set[str]()
    for step in steps:
        climb = "^" if step.climbs(floors) else " "
        back = "<" if step.file in seen and step.file != last else " "
        if step.file != last or climb == "^":
            print(f"{climb}{back} {step.caller_file}:{step.caller} -> {step.file}:{step.name}")
        last = step.file
        seen.add(step.file)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = Path(__file__).parents[1]
    parser.add_argument("--root", type=Path, default=here, help="the checkout to measure")
    parser.add_argument("--compare", type=Path, help="another one, shown first, as it was before")
    parser.add_argument("--steps", choices=JOURNEYS, help="print the calls of one journey instead")
    chosen = parser.parse_args()
    checkout = Checkout(chosen.root.resolve())
    if chosen.steps:
        print_steps(take_journey(chosen.steps, checkout.root), checkout.floors)
        return
    known = {"now": checkout}
    if chosen.compare:
        known = {"before": Checkout(chosen.compare.resolve()), **known}
    print_table(
        {
            when: {row: text for measure in MEASURES for row, text in measure(known[when]).items()}
            for when in known
        }
    )


if __name__ == "__main__":
    main()
