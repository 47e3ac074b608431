"""The report of a study: what was measured is what stands in it, and what is missing says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import warp_phys as wp
from benchmarks.paper._cells import USUAL, Cell
from benchmarks.paper._found import number
from benchmarks.paper._report import study, write_report
from benchmarks.paper._tables import tables

ERRORS = {0: 0.0094, 1: 0.0101, 2: 0.0087}


def cell_of(
    row: str, task: str = "msd", seed: int = 0, table: str = "main", what: str = ""
) -> Cell:
    rate = 2e-3 if table == "tuning" else None
    return Cell(table, task, row, what, seed, rate, USUAL)


def line_of(mse: float, root: str = "", **others: Any) -> dict[str, Any]:
    nothing = [np.nan] * 4
    line = {
        "root": root,
        "mse": mse,
        "mae": 0.031,
        "mse_median": mse / 2,
        "mse_in_range": mse / 4,
        "mse_channel": [mse, 3 * mse],
        "parameter_error": nothing,
        "lost": np.nan,
        "failed": 0,
        "records": 2048,
        "bound_ratio": nothing,
        "far": np.nan,
        "seconds_per_record": 0.002,
        "training_seconds": 12.5,
        "validation": 0.1,
        "learning_rate": 6e-3,
        "trained_numbers": 1234,
        "training_records": 8192,
    }
    return line | others


LINES = [
    (cell_of("GRU", "msd_zero", 100, "tuning"), {"validation": 0.5, "training_seconds": 1.0}),
    *((cell_of("GRU", seed=seed), line_of(mse)) for seed, mse in ERRORS.items()),
    *((cell_of("LSTM", seed=seed), line_of(0.02)) for seed in (0, 1)),
    (cell_of("WARP, diagonal A"), line_of(0.015)),
    (cell_of("WARP-Phys, direct head"), line_of(4e-5, "first_sample")),
    (
        cell_of("WARP-Phys, direct head"),
        line_of(2.5e-9, "fit", parameter_error=[0.1, 0.2, *[np.nan] * 2]),
    ),
    (
        cell_of("zero", "sine"),
        {"root": "", "error": 'Traceback:\n  File "/somewhere/a.py"\nValueError: no | way\n'},
    ),
    (
        cell_of("Kalman filter", "msd_zero", table="robustness", what="noise 5 %"),
        line_of(4e-6, bound_ratio=[1.05, 1.5, np.nan, np.nan], far=0.25, lost=0.125),
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "report"
    write_report(USUAL, LINES, path)
    return path


def entries(folder: Path, table: str, model: str) -> list[str]:
    """Return what stands beside a model in a table."""
    section = (folder / "tables.md").read_text().split(f"## {table}\n")[1].split("\n## ")[0]
    (row,) = [line for line in section.splitlines() if line.startswith(f"| {model} |")]
    return [entry.strip() for entry in row.strip("|").split("|")][1:]


def test_study_reads_back(folder: Path) -> None:
    kept = wp.load(folder / "study.nc")
    assert kept.sizes == {"line": len(LINES), "channel": 2, "combination": 4}
    assert kept["mse"].values[1:4].tolist() == list(ERRORS.values())
    assert np.isnan(kept["mse"].values[0])
    assert kept["table"].values[0] == "tuning"
    assert kept["validation"].values[0] == 0.5
    assert kept["error"].values[-2] == "ValueError: no / way"
    assert kept["kind"].values[1] == "data-driven"
    assert kept["mse_channel"].values[1].tolist() == [0.0094, 3 * 0.0094]
    assert all("long_name" in variable.attrs for variable in kept.data_vars.values())
    units = {name: v.attrs["units"] for name, v in kept.data_vars.items() if v.dtype.kind in "fi"}
    assert units["training_seconds"] == units["seconds_per_record"] == "s"
    assert set(units.values()) == {"1", "s"}
    assert json.loads(kept.attrs["settings"])["steps"] == USUAL.steps
    with h5py.File(folder / "study.nc") as file:
        assert file["bound_ratio"][-1, :2].tolist() == [1.05, 1.5]


def test_main_table(folder: Path) -> None:
    spread = float(np.std([100 * mse for mse in ERRORS.values()], ddof=1))
    assert entries(folder, "Main table", "GRU") == [f"0.940 ± {number(spread)}", *["not run"] * 4]
    assert entries(folder, "Main table", "LSTM")[0] == "2.00 ± 0 (2 of 3 seeds)"
    assert entries(folder, "Main table", "zero")[2] == "cannot be trained: ValueError: no / way"
    quoted = entries(folder, "Main table", "*WARP, quoted from the paper*")
    assert quoted == ["0.94", "0.32", "2.77", "4.72 †", "-"]
    fitted = entries(folder, "Main table", "WARP-Phys, direct head, then fit")
    assert fitted[0] == "2.50e-7 (1 of 3 seeds)"
    last = entries(folder, "Main table", "WARP-Phys, direct head, from the last sample")
    assert last == ["not run", "not run", "-", "-", "not run"]
    assert entries(folder, "Main table", "the cycle copied") == ["-", "-", "-", "not run", "-"]


def test_other_tables(folder: Path) -> None:
    found = entries(folder, "MSD", "WARP-Phys, direct head, then fit")
    assert found[:5] == ["6.25e-10", "1.25e-9", "2.50e-9 / 7.50e-9", "0.0310", "0.100 / 0.200"]
    robust = entries(folder, "Noise, wrong physics, coarser grid", "Kalman filter")
    assert robust == ["not run", "not run", "0.000400 / 0.000100", *["not run"] * 3]
    bound = entries(folder, "Errors over the Cramer-Rao bound", "noise 5 %")
    assert bound == ["Kalman filter", "1.05 / 1.50", "0.250", "0.125", "0.00200"]
    assert entries(folder, "Ablations of WARP", "A: dense")[0] == "not run"


def test_extent_is_told(folder: Path) -> None:
    text = (folder / "tables.md").read_text()
    assert text.startswith("<!-- Written by `make paper`")
    assert "8192 for training" in text
    assert "Done: 9 of " in text


def test_same_lines_give_the_same_files(folder: Path, tmp_path: Path) -> None:
    write_report(USUAL, LINES, tmp_path)
    for name in ("study.nc", "tables.md", "main.svg"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_nothing_done() -> None:
    assert study(USUAL, []).sizes["line"] == 0
    assert "Done: 0 of " in tables(USUAL, [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.9999, "1.00"),
        (1728.4, "1728"),
        (0.0123456, "0.0123"),
        (2.5e-9, "2.50e-9"),
        (np.inf, "inf"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
