"""The report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.paper._cells import Cell, Extent


def write_report(extent: Extent, lines: list[tuple[Cell, dict[str, Any]]], folder: Path) -> None:
    """Write the results."""
    for cell, line in lines:
        print(cell.describe(), line.get("root"), line.get("mse"), line.get("training_seconds"))
