"""The command line as a whole: finding the verbs, their contract, and help that answers at once."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

import warp_phys as wp
from warp_phys.command_line.main import verb_files, verb_functions, verb_in
from warp_phys.command_line.options import REQUIRED
from warp_phys.data_gen import simulate

FILES = verb_files()
# Other installed packages may declare more.
VERBS = {name: function for name, function in verb_functions().items() if name in FILES}
FUNCTIONS = {
    "simulate": simulate,
    "train": wp.train,
    "estimate": wp.estimate,
    "fit": wp.fit,
    "forecast": wp.forecast,
}
# Runs the command line.
RUN = "from warp_phys.command_line.main import main; main()"
# Of the data sets and models that a verb writes, not of the function it calls.
OF_THE_VERB = {"simulate": {"output", "overwrite"}}


def in_new_process(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, where packages of `path` are installed too."""
    places = [str(path), os.environ.get("PYTHONPATH", "")] if path else []
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join(places)} if path else {})
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


def warning(done: subprocess.CompletedProcess[str], name: str) -> str:
    """Return the one line that says why a verb is left out."""
    (line,) = (line for line in done.stderr.splitlines() if f"the verb {name} of " in line)
    return line


class TestHelp:
    def test_nothing_heavy_is_imported(self):
        code = (
            "import sys; from warp_phys.command_line.main import application; application(); "
            "heavy = {'torch', 'xarray', 'numpy', 'pandas', 'scipy', 'matplotlib'}; "
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = in_new_process("-c", code)
        assert done.stdout.strip() == "[]", done.stderr

    def test_the_verbs_are_listed(self, run):
        status, out, _ = run("--help")
        assert status == 0
        listed = out.split("Commands:")[1].split("\n\n")[0]
        assert [line.split()[0] for line in listed.strip().splitlines()] == list(verb_functions())

    def test_no_arguments_show_help(self, run):
        _, out, err = run()
        assert "Commands:" in out + err


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_verbs_holds_the_verb_of_its_name(name):
    assert verb_in(name) is VERBS[name]


class TestFilesThatHoldNoVerb:
    """One bad file in `verbs/` is named, and the other verbs run."""

    FILES: ClassVar[dict[str, str]] = {
        "plain": "def plain(name: str):\n    print(name)\n",
        "misnamed": "def other():\n    print()\n",
        "broken": "1 / 0\n",
    }

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        for name, text in self.FILES.items():
            (folder / f"{name}.py").write_text(text)
        code = (
            "from warp_phys.command_line import main, verbs; "
            f"verbs.__path__.append({str(folder)!r}); main.main()"
        )
        return in_new_process("-c", code, *arguments)

    def test_they_are_left_out_with_a_warning(self, tmp_path):
        done = self.run(tmp_path, "systems", "sine")
        assert (done.returncode, done.stdout.splitlines()[0]) == (
            0,
            "A sine wave of known frequency and unknown phase.",
        )
        broken, misnamed, plain = (warning(done, name) for name in sorted(self.FILES))
        assert plain.startswith(
            "warning: the verb plain of verbs/plain.py is left out: TypeError: expected "
            "verbs/plain.py to hold the function plain, decorated by @verb(...)"
        )
        assert "the verb misnamed of verbs/misnamed.py is left out" in misnamed
        assert broken.endswith("verbs/broken.py is left out: ZeroDivisionError: division by zero")


def test_python_runs_the_package():
    done = in_new_process("-m", "warp_phys", "systems", "sine")
    assert done.returncode == 0, done.stderr
    assert done.stdout == in_new_process("-c", RUN, "systems", "sine").stdout
    code = "import sys, warp_phys.__main__; print('typer' in sys.modules)"
    assert in_new_process("-c", code).stdout == "False\n"


@pytest.mark.parametrize("name", VERBS)
class TestEachVerb:
    """The contract of a file in `warp_phys/command_line/verbs`."""

    def test_it_says_what_it_does(self, run, name):
        status, out, _ = run(name, "--help")
        assert status == 0
        assert f"warp-phys {name}" in out
        assert inspect.getdoc(VERBS[name])
        for option in VERBS[name].options:
            assert option.help.endswith("."), option.name
            assert option.takes in out

    def test_it_has_a_test_of_its_own(self, name):
        assert (Path(__file__).parent / "verbs" / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_those_of_the_public_function(name):
    wanted = inspect.signature(FUNCTIONS[name]).parameters
    for option in VERBS[name].options:
        if option.name in wanted and option.name not in OF_THE_VERB.get(name, ()):
            default = wanted[option.name].default
            if default is not inspect.Parameter.empty and option.default is not REQUIRED:
                assert option.value(option.default) == default, option.name


class TestVerbsOfOtherPackages:
    @staticmethod
    def install(folder: Path, files: Mapping[str, str], points: str) -> Path:
        """Write modules and the metadata of a package that declares entry points."""
        for name, text in files.items():
            (folder / name).write_text(text)
        metadata = folder / "guest-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[warp_phys.verbs]\n{points}\n")
        return folder

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return in_new_process("-c", RUN, *arguments, path=folder)

    def test_they_run_like_those_of_this_one(self, tmp_path):
        greet = "def greet(name: str):\n    'Greet somebody.'\n    print('hello', name)\n"
        self.install(tmp_path, {"guest.py": greet}, "greet = guest:greet")
        assert "Greet somebody." in self.run(tmp_path, "--help").stdout
        done = self.run(tmp_path, "greet", "sine")
        assert done.stdout == "hello sine\n"
        assert "verb greet" not in done.stderr

    def test_verbs_that_cannot_be_loaded_are_left_out_with_a_warning(self, tmp_path):
        points = "gone = guest:gone\nfit = guest:gone"
        self.install(tmp_path, {"guest.py": ""}, points)
        done = self.run(tmp_path, "--help")
        assert done.returncode == 0
        gone, taken = warning(done, "gone"), warning(done, "fit")
        assert gone.startswith("warning: the verb gone of guest:gone is left out: ")
        assert taken.endswith("fit of guest:gone is left out: there is a verb of that name already")
