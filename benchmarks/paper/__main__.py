"""The study of the WARP paper's dynamical systems: `python -m benchmarks.paper`.

Trains and tests every row of every table, on as many processes as there are cores, and writes
study.nc and the tables. What is done is kept cell by cell: run it again after an interruption and
it goes on.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.paper._cells import PUBLISHED, QUICK, USUAL
from benchmarks.paper._figures import write_figures
from benchmarks.paper._report import write_report
from benchmarks.paper._study import Store, failures, lines_of, run_study

_OUTPUT = Path(__file__).parents[2] / "docs" / "paper"


def main(arguments: list[str] | None = None) -> None:
    """Run what is missing, and write the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__)
    parser.add_argument("--output", type=Path, default=_OUTPUT, help="folder of the report")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, help="begin no further cell after so long")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="try the machinery: no useful numbers")
    size.add_argument("--published", action="store_true", help="the paper's sizes; days of work")
    chosen = parser.parse_args(arguments)
    extent = QUICK if chosen.quick else PUBLISHED if chosen.published else USUAL
    store = Store(chosen.output / "cells.jsonl")
    run_study(extent, store, workers=chosen.workers, minutes=chosen.minutes)
    lines = lines_of(extent, store)
    for failure in failures(lines):
        print(failure)
    write_report(extent, lines, chosen.output)
    if chosen.minutes is None:
        write_figures(extent, chosen.output)
    print(f"{len(lines)} lines in {chosen.output / 'study.nc'}")


if __name__ == "__main__":
    main()
