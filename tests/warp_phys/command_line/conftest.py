"""What the tests of the verbs share: running the command line, and files that the verbs wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from warp_phys.command_line.main import main

RECORD = "sec,reading,remark\n0,0.3,a\n0.1,0.7,b\n0.2,,c\n0.3,0.99,d\n0.4,0.8,e\n"


@pytest.fixture
def run(capsys) -> Callable[..., tuple[object, str, str]]:
    """A function that runs the command line: (exit status, stdout, stderr)."""

    def runner(*arguments: object) -> tuple[object, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return runner


@pytest.fixture
def error_of(run) -> Callable[..., str]:
    """A function that returns a command's error: exit status 2, one line, no output."""

    def runner(*arguments: object) -> str:
        status, out, err = run(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return str(err).strip()

    return runner


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with what every verb writes, each from the one before."""
    path = tmp_path_factory.mktemp("files")
    (path / "record.csv").write_text(RECORD)
    for line in (
        f"simulate sine -n 400 --times 0:0.5:0.1 --noise 0.05 --seed 1 -o {path}/data.nc",
        f"train sine {path}/data.nc -o {path}/model.safetensors --steps 30 "
        f"--history {path}/history.nc --checkpoint {path}/checkpoint.safetensors",
        f"estimate {path}/model.safetensors {path}/data.nc -o {path}/estimate.nc",
        f"forecast {path}/model.safetensors {path}/data.nc --times 0.5:1:0.1 -o {path}/ahead.nc",
    ):
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        assert ended.value.code == 0, line
    return path
