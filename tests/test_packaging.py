"""Wheel and source archive: what is in them, and that both lead to the same package."""

import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("folder", ["warp_phys", "systems", "data_gen"])
def test_wheel_holds_every_module_once(wheel: Path, folder: str) -> None:
    place = "warp_phys" if folder == "warp_phys" else f"warp_phys/{folder}"
    with zipfile.ZipFile(wheel) as archive:
        counts = Counter(archive.namelist())
    expected = {f"{place}/{path.name}" for path in (ROOT / folder).glob("*.py")}
    assert expected <= set(counts)
    assert max(counts.values()) == 1


def test_wheel_is_typed_and_licensed(wheel: Path) -> None:
    names = files(wheel)
    assert "warp_phys/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_wheel_holds_what_is_compiled(wheel: Path) -> None:
    kernels = {f"warp_phys/{path.name}" for path in (ROOT / "warp_phys").glob("*.cpp")}
    assert kernels
    assert kernels <= set(files(wheel))


def test_wheel_holds_nothing_but_the_package(wheel: Path) -> None:
    foreign = [
        name
        for name in files(wheel)
        if not name.endswith((".py", ".cpp", "py.typed")) and ".dist-info/" not in name
    ]
    assert foreign == []


def test_source_archive_leads_to_the_same_wheel(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    assert files(build(unpacked, "wheel", tmp_path)) == files(wheel)


def test_source_archive_holds_what_a_packager_needs(unpacked: Path) -> None:
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "tests", "docs", "examples"):
        assert (unpacked / name).exists(), name
