"""Killed at any moment, a data set is finished by the same command, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data_gen.storing.sharded import contents
from warp_phys.command_line import main as _cli
from warp_phys.data_gen import open_dataset

COMMAND = (
    "simulate damped_oscillator -n 1000 --times 0:5:0.1 --noise 0.1 --missing 0.1 --seed 5 "
    "--shard-size 50 --output"
)


def command_line(*arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        _cli.main([*COMMAND.split(), *arguments])
    assert ended.value.code == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "set"
    command_line(f"{folder}/")
    return contents(folder)


def kill_while_writing(folder: Path, chance: random.Random, *options: str) -> int:
    """Start the command and kill it a random moment after it began to write; return its id."""
    before = len(list(folder.glob("shard-*.nc")))
    code = "from warp_phys.command_line.main import main; main()"
    arguments = [sys.executable, "-c", code, *COMMAND.split(), f"{folder}/", *options]
    with subprocess.Popen(arguments, start_new_session=True) as writer:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("shard-*.nc"))) <= before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0.0, 0.2))
        writer.send_signal(signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    assert before < len(list(folder.glob("shard-*.nc"))) < 20
    return writer.pid


def finish(folder: Path, expected: dict[str, bytes]) -> None:
    command_line(f"{folder}/")
    assert contents(folder) == expected
    assert open_dataset(folder, verify=True).sizes["trajectory"] == 1000


def is_alive(group: int) -> bool:
    """Whether a process of a group still runs."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_killed_twice_it_ends_bit_identical_and_its_workers_end_with_it(tmp_path, uninterrupted):
    chance, folder = random.Random(1), tmp_path / "set"
    kill_while_writing(folder, chance)
    group = kill_while_writing(folder, chance, "--workers", "2")
    finish(folder, uninterrupted)
    deadline = time.monotonic() + 20
    while is_alive(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_alive(group)


@pytest.mark.long
def test_killed_at_twenty_moments_it_ends_bit_identical(tmp_path, uninterrupted):
    chance = random.Random(3)
    for number in range(20):
        folder = tmp_path / f"set{number}"
        kill_while_writing(folder, chance, *(("--workers", "2") if number % 2 else ()))
        finish(folder, uninterrupted)
