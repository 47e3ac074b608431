"""Classes found by their files: what is there, and what does not keep to it."""

import sys
from pathlib import Path

import pytest

from warp_phys.models.drives.drive import Drive
from warp_phys.systems.registries.by_file import classes_by_name

GOOD = """
from warp_phys.models.drives.drive import Drive
from warp_phys.models.drives.raw import Raw

class Mine(Drive):
    name = "mine"
"""


def package(folder: Path, name: str, **files: str) -> str:
    """Write a package of modules; return its import name."""
    home = folder / name
    home.mkdir()
    (home / "__init__.py").write_text("")
    for stem, text in files.items():
        (home / f"{stem}.py").write_text(text)
    return name


@pytest.fixture(autouse=True)
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_a_file_registers_its_class_and_not_what_it_imports(tmp_path: Path) -> None:
    name = package(tmp_path, "drives_one", mine=GOOD, registry="")
    found = classes_by_name(name, Drive)
    assert [(key, value.__name__) for key, value in found.items()] == [("mine", "Mine")]


def test_a_file_without_a_class_is_named(tmp_path: Path) -> None:
    name = package(
        tmp_path, "drives_two", mine=GOOD, other="from warp_phys.models.drives.raw import Raw"
    )
    with pytest.raises(TypeError, match=r"drives_two\.other defines no Drive with a name"):
        classes_by_name(name, Drive)


def test_two_classes_of_one_name_are_named(tmp_path: Path) -> None:
    name = package(tmp_path, "drives_three", mine=GOOD, other=GOOD)
    with pytest.raises(TypeError, match=r"drives_three\.other.*drives_three\.mine.*name 'mine'"):
        classes_by_name(name, Drive)
