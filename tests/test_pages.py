"""README and documentation: every Python example runs as printed, on less data."""

import importlib
import re
import shutil
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from tests.snippets import ROOT, python_blocks, quick, run
from warp_phys.systems.catalog.registry import SHIPPED

PAGES = sorted(
    page
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"))
    if python_blocks(page)
)
REFERENCE = {
    "warp_phys": "warp_phys.md",
    "warp_phys.systems": "systems.md",
    "warp_phys.data_gen": "data_gen.md",
}


@pytest.fixture(autouse=True)
def _in_a_folder_with_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "examples" / "data" / "hudson_bay.csv", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page: Path) -> None:
    run(page, python_blocks(page))
    plt.close("all")


def test_readme_example_is_short() -> None:
    lines = [line for line in python_blocks(ROOT / "README.md")[0].splitlines() if line.strip()]
    assert len(lines) <= 15


def test_examples_are_made_quick() -> None:
    code = "data = simulate(s, n=20_000, seed=0)\nwp.train(model, data, seed=0)"
    assert quick(code).splitlines() == [
        "data = simulate(s, n=500, seed=0)",
        "wp.train(model, data, seed=0, steps=10, progress=False)",
    ]


@pytest.mark.parametrize("package", REFERENCE)
def test_reference_lists_every_public_name(package: str) -> None:
    page = (ROOT / "docs" / "reference" / REFERENCE[package]).read_text(encoding="utf-8")
    listed = re.findall(r"auto(?:class|function|exception):: (\w+)", page)
    # The classes of the catalog are listed when the documentation is built.
    catalog = {entry.class_name for entry in SHIPPED.values()}
    assert sorted(listed) == sorted({*importlib.import_module(package).__all__} - catalog)


def test_versions_agree() -> None:
    version = importlib.import_module("warp_phys").__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
