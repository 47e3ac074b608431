"""The study: cells resume, one that fails stops nobody, and the whole of it runs."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from benchmarks.paper import _one_cell
from benchmarks.paper.__main__ import main
from benchmarks.paper._cells import QUICK, Cell, result_cells, tuning_cells
from benchmarks.paper._figures import write_figures
from benchmarks.paper._metrics import measure
from benchmarks.paper._models import Forecast
from benchmarks.paper._rows import ROWS, VARIANTS
from benchmarks.paper._study import Store, _at_another_rate, _safely, tuned_rate
from benchmarks.paper._tasks import Sizes, Task, make_task

ROOT = Path(__file__).parents[3]
FEW_RECORDS = "ignore:the bands stay NaN"


@pytest.fixture(scope="module")
def task() -> Task:
    return make_task("msd_zero", Sizes(64, 8, 16))


def test_every_cell_has_a_key_of_its_own() -> None:
    cells = [*tuning_cells(QUICK), *result_cells(QUICK)]
    assert len({cell.key for cell in cells}) == len(cells)


def test_rates_come_from_the_tuning_of_the_row(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells.jsonl")
    for number, cell in enumerate(tuning_cells(QUICK)):
        store.write(cell, [{"validation": float(-number)}])
    for name, task in (("GRU", "lv"), ("A: dense", "msd_zero")):
        cell = next(c for c in result_cells(QUICK) if (c.row, c.task) == (name, task))
        assert tuned_rate(cell, store) == 6e-3  # the later of the two had the lower loss


def test_a_cell_at_a_rate_that_is_no_longer_chosen_is_done_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "cells.jsonl")
    for tuning in tuning_cells(QUICK):
        store.write(tuning, [{"validation": float(tuning.learning_rate == 6e-3)}])
    cell = next(c for c in result_cells(QUICK) if c.row == "GRU")
    assert not _at_another_rate(cell, store)  # not done at all
    for rate, outdated in ((2e-3, False), (6e-3, True)):
        store.write(cell, [{"learning_rate": rate, "mse": 0.1}])
        assert _at_another_rate(cell, store) is outdated
    zero = next(c for c in result_cells(QUICK) if c.row == "zero")
    store.write(zero, [{"learning_rate": np.nan, "mse": 0.1}])
    assert not _at_another_rate(zero, store)


def test_a_line_that_was_cut_off_is_done_again(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    first, second, third = list(result_cells(QUICK))[:3]
    store = Store(path)
    store.write(first, [{"mse": np.float64(0.1)}])
    store.write(second, [{"mse": np.array([1.0, 2.0])}])
    path.write_text(path.read_text()[:-5])
    again = Store(path)
    again.write(third, [{"mse": 3.0}])
    for found in (again, Store(path)):
        assert found.read(first) == [{"mse": 0.1}]
        assert found.read(second) is None
        assert found.read(third) == [{"mse": 3.0}]


def test_a_cell_that_fails_is_kept_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell("sine_sizes", "sine", "WARP-Phys, direct head", "1 samples", 0, None, QUICK)
    (line,) = _safely(cell, 1e-3)
    assert "there is nothing to learn" in line["error"]
    store = Store(tmp_path / "cells.jsonl")
    store.write(cell, [line])
    assert store.missing([cell]) == []

    def broken(*_: Any) -> Task:
        raise ZeroDivisionError

    monkeypatch.setattr(_one_cell, "task_of", broken)
    (line,) = _safely(cell, 1e-3)
    assert "ZeroDivisionError" in line["error"]
    store.write(cell, [line])
    assert store.missing([cell]) == [cell]


def test_errors_are_on_the_published_scale(task: Task) -> None:
    perfect = measure(task, task.test, Forecast(task.test.target))
    assert perfect.mse == 0.0
    assert perfect.failed == 0
    off = task.test.target.copy()
    off[:, 100:, 1] += 3.0
    found = measure(task, task.test, Forecast(off))
    half = (38.0240 + 35.9129) / 2  # of the published range
    assert found.mse == pytest.approx(0.5 * (3.0 / half) ** 2, rel=1e-12)
    assert found.mae == pytest.approx(0.5 * 3.0 / half, rel=1e-12)
    np.testing.assert_allclose(found.mse_channel, [0.0, (3.0 / half) ** 2], rtol=1e-12)


def test_what_lies_within_the_context_does_not_count(task: Task) -> None:
    off = task.test.target.copy()
    off[:, :100] = np.nan
    assert measure(task, task.test, Forecast(off)).mse == 0.0
    assert measure(task, task.test, Forecast(off), everywhere=True).failed == 16


def test_a_failed_record_counts_as_the_mean(task: Task) -> None:
    lost = task.test.target.copy()
    lost[3, 200] = np.nan
    found = measure(task, task.test, Forecast(lost))
    mean = task.train.sequence.mean(axis=(0, 1))
    error = ((mean - task.test.target[3, 100:]) * task.scale) ** 2
    assert found.failed == 1
    assert found.mse == pytest.approx(error.mean() / 16, rel=1e-12)


@pytest.mark.filterwarnings(FEW_RECORDS)
def test_the_command_reports_what_is_done_when_its_time_is_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of every row one cell."""
    store = Store(tmp_path / "cells.jsonl")
    cells = {cell.row: cell for cell in reversed(list(result_cells(QUICK)))}
    count = 0
    for cell in cells.values():
        lines = _safely(cell, 2e-3)
        store.write(cell, lines)
        count += len(lines)
    main(["--quick", "--minutes", "0", "--workers", "1", "--output", str(tmp_path)])
    study = xr.load_dataset(tmp_path / "study.nc", engine="h5netcdf")
    assert capsys.readouterr().out == f"{count} lines in {tmp_path / 'study.nc'}\n"
    assert (study["error"] == "").all()
    assert set(study["row"].values) == set(ROWS | VARIANTS)
    assert float(study["mse"].where(study["table"] == "main").max()) < 10.0


@pytest.mark.filterwarnings(FEW_RECORDS)
def test_figures_and_their_numbers_are_written(tmp_path: Path) -> None:
    write_figures(QUICK, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"parameters.svg", "weights.svg", "states.nc"}


@pytest.mark.long
def test_the_whole_study_runs_and_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.paper", "--quick", "--output", str(tmp_path)]
    subprocess.run([*command, "--minutes", "0"], check=True, cwd=ROOT, capture_output=True)
    done = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    study = xr.load_dataset(tmp_path / "study.nc", engine="h5netcdf")
    errors = [text for text in study["error"].values.tolist() if text]
    assert len(errors) == 2  # of the heads that learn from one record, which has no spread
    assert all("nothing to learn" in text for text in errors)
    assert "nothing to learn" in done.stdout
    assert float(study["mse"].where(study["table"] == "main").max()) < 10.0
    # A second run finds everything done.
    again = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True)
    assert again.stdout == done.stdout
