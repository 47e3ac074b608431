"""The command line as a whole: finding the verbs, their contract, and help that answers at once."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import warp_phys as wp
from warp_phys.command_line.main import verb_functions
from warp_phys.command_line.options import REQUIRED
from warp_phys.data_gen import simulate

VERBS = verb_functions()
FUNCTIONS = {
    "simulate": simulate,
    "train": wp.train,
    "estimate": wp.estimate,
    "fit": wp.fit,
    "forecast": wp.forecast,
}
# Of the data sets and models that a verb writes, not of the function it calls.
OF_THE_VERB = {"simulate": {"output", "overwrite"}}


def in_new_process(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, where packages of `path` are installed too."""
    places = [str(path), os.environ.get("PYTHONPATH", "")] if path else []
    environment = os.environ | ({"PYTHONPATH": os.pathsep.join(places)} if path else {})
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment
    )


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
        assert [line.split()[0] for line in listed.strip().splitlines()] == list(VERBS)

    def test_no_arguments_show_help(self, run):
        _, out, err = run()
        assert "Commands:" in out + err


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
        code = "from warp_phys.command_line.main import main; main()"
        return in_new_process("-c", code, *arguments, path=folder)

    def test_they_run_like_those_of_this_one(self, tmp_path):
        greet = "def greet(name: str):\n    'Greet somebody.'\n    print('hello', name)\n"
        self.install(tmp_path, {"guest.py": greet}, "greet = guest:greet")
        assert "Greet somebody." in self.run(tmp_path, "--help").stdout
        done = self.run(tmp_path, "greet", "sine")
        assert (done.stdout, done.stderr) == ("hello sine\n", "")

    def test_those_that_cannot_be_had_are_left_out_with_a_warning(self, tmp_path):
        points = "gone = guest:gone\nfit = guest:gone"
        self.install(tmp_path, {"guest.py": ""}, points)
        done = self.run(tmp_path, "--help")
        assert done.returncode == 0
        gone, taken = sorted(done.stderr.splitlines(), reverse=True)
        assert gone.startswith("warning: the verb gone of guest:gone is left out: ")
        assert taken.endswith("fit of guest:gone is left out: there is a verb of that name already")
