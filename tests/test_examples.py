"""Every script in examples/ runs, with --quick where it has that option."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_example_runs(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = ["--quick"] if '"--quick"' in script.read_text(encoding="utf-8") else []
    monkeypatch.setattr(sys, "argv", [script.name, *quick])
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out
    # What a script writes goes to the folder it says, and nowhere else.
    assert {path.name for path in tmp_path.iterdir()} <= {"output"}
