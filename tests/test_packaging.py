"""Wheel and source archive: what is in them, and that both lead to the same package."""

import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("warp_phys", "systems", "data_gen")


def sources(folder: str, pattern: str) -> list[Path]:
    """Return the files of one of the three folders, without the links to the other two."""
    linked = [ROOT / "warp_phys" / name for name in ("systems", "data_gen")]
    found = (ROOT / folder).rglob(pattern)
    return [
        path
        for path in found
        if path.is_file()
        and path.suffix != ".pyc"
        and not any(link in path.parents for link in linked)
    ]


def build(source: Path, kind: str, output: Path) -> Path:
    """Build one archive of the project at `source` and return its path."""
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", output, source],
        check=True,
        capture_output=True,
    )
    return next(path for path in output.iterdir() if path.suffix != ".gitignore")


def files(archive: Path) -> dict[str, bytes]:
    """Return the wheel's files, by path."""
    with zipfile.ZipFile(archive) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive's content, in a folder of its own."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(build(ROOT, "sdist", tmp_path_factory.mktemp("archive"))) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


def test_wheel_has_one_import_name(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in files(wheel)}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"warp_phys"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_wheel_holds_every_module_once(wheel: Path, folder: str) -> None:
    place = "warp_phys" if folder == "warp_phys" else f"warp_phys/{folder}"
    with zipfile.ZipFile(wheel) as archive:
        counts = Counter(archive.namelist())
    expected = {f"{place}/{path.relative_to(ROOT / folder)}" for path in sources(folder, "*.py*")}
    assert expected <= set(counts)
    assert max(counts.values()) == 1


def test_wheel_is_typed_and_licensed(wheel: Path) -> None:
    names = files(wheel)
    assert "warp_phys/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_holds_what_is_compiled(wheel: Path) -> None:
    kernels = [path.name for folder in FOLDERS for path in sources(folder, "*.cpp")]
    assert kernels
    assert sorted(kernels) == sorted(
        name.split("/")[-1] for name in files(wheel) if name.endswith(".cpp")
    )


def test_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    foreign = [
        name
        for name in files(wheel)
        if not name.endswith((".py", ".pyi", ".cpp", "py.typed")) and ".dist-info/" not in name
    ]
    assert foreign == []


def test_source_archive_leads_to_the_same_wheel(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    assert files(build(unpacked, "wheel", tmp_path)) == files(wheel)


def test_source_archive_holds_what_a_packager_needs(unpacked: Path) -> None:
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "tests", "docs", "examples"):
        assert (unpacked / name).exists(), name
