"""The main table in short: the best row of each kind, and all that are better than it."""

from typing import Any

import pytest

from benchmarks.paper._cells import USUAL, Cell
from benchmarks.paper._findings import findings
from benchmarks.paper._found import Found


def lines(row: str, *errors: float, task: str = "lv_repeat_copy", root: str = "") -> list[Any]:
    """Return what the store has of a row, an error for each seed."""
    return [
        (Cell("main", task, row, "", seed, None, USUAL), {"root": root, "mse": error})
        for seed, error in enumerate(errors)
    ]


HEAD, REGRESSION = "WARP-Phys, direct head", "WARP-Phys, regression head"
RESULTS = [
    *lines("WARP, diagonal A", 0.020, 0.022, 0.024),
    *lines("WARP, low-rank A", 0.030),
    *lines("WARP, shown its target", 1e-9, 1e-9, 1e-9),
    *lines("GRU", 0.019, 0.021, 0.023),
    *lines("LSTM", 0.011, 0.010, 0.009),
    *lines("Transformer", 0.080),
    *lines(HEAD, 0.002, 0.003, 0.004, root="first_sample"),
    *lines(HEAD, 1e-20, 1e-20, 1e-20, root="fit"),
    *lines(REGRESSION, 1e-8, root="first_sample"),
    *lines("least squares on the context", 1e-12),
    *lines("GRU of the parameters", 0.001, 0.002, 0.003),
    *lines("zero", 0.1),
    *lines("WARP, diagonal A", 0.02, task="msd"),
    *lines("GRU", 0.03, task="msd"),
    *lines(HEAD, 3e-5, task="msd", root="first_sample"),
    *lines("WARP, diagonal A", 0.02, task="sine"),
    *lines("WARP, diagonal A", 0.02, 0.03, 0.04, task="lv"),
    *lines("GRU", 0.05, task="lv"),
    *lines(HEAD, 0.01, 0.02, 0.03, task="lv", root="first_sample"),
]


@pytest.fixture(scope="module")
def rows() -> list[list[str]]:
    """The entries of both tables, line by line."""
    text = findings(Found(USUAL, RESULTS)).splitlines()
    return [[entry.strip() for entry in line.strip("|").split("|")] for line in text]


def row(rows: list[list[str]], *first: str) -> list[str]:
    (found,) = [row for row in rows if row[: len(first)] == list(first)]
    return found[len(first) :]


def test_trained_heads_against_the_paper_and_the_best_model_without_physics(
    rows: list[list[str]],
) -> None:
    assert row(rows, "MSD (x1e-2)", "trained") == [
        f"{HEAD}, from the estimated first state",
        "0.00300 (1 of 3 seeds)",
        "0.03",
        "10",
        "WARP, diagonal A",
        "2.00 (1 of 3 seeds)",
        "667",
        "none",
    ]


def test_what_fit_made_and_what_saw_its_target_are_no_forecasts(rows: list[list[str]]) -> None:
    found = row(rows, "LV repeat-copy (x1e-2)", "trained")
    assert found[:4] == [f"{HEAD}, from the estimated first state", "0.300 ± 0.100", "-", "-"]
    assert found[4:7] == ["LSTM", "1.00 ± 0.100", "3.3"]


def test_a_ratio_that_the_seeds_do_not_bear_out_says_so(rows: list[list[str]]) -> None:
    assert row(rows, "LV plain (x1e-2)", "trained")[6] == "1.5 (within the spreads)"


def test_controls_that_are_better_are_all_named(rows: list[list[str]]) -> None:
    better = "least squares on the context; GRU of the parameters (within the spreads)"
    assert row(rows, "LV repeat-copy (x1e-2)", "trained")[-1] == better
    assert row(rows, "LV repeat-copy (x1e-2)", "regression")[-2:] == [
        "1e6",
        "least squares on the context",
    ]


def test_rivals_that_are_better_than_warp_are_all_named(rows: list[list[str]]) -> None:
    better = "LSTM; GRU (within the spreads)"
    found = row(rows, "LV repeat-copy (x1e-2)", "WARP, diagonal A")
    assert found == ["2.20 ± 0.200", "4.72 †", "LSTM", "1.00 ± 0.100", better, better]


def test_a_task_without_one_side_has_no_row(rows: list[list[str]]) -> None:
    assert not [row for row in rows if row[0] == "SINE* (x1e-4)"]
