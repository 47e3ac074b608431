"""Pages for readers name only files and folders that exist, and CONTRIBUTING shows all folders."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"_build", "_generated"} & set(page.parts)]

FOLDERS = ("systems", "data_gen", "warp_phys", "tests", "docs", "examples", "benchmarks", ".ci")
_NAMED = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
_PLACEHOLDER = re.compile(r"(?<![a-z])[A-Z]+(?![a-z])")


def named_paths(page: Path) -> set[str]:
    """Return the paths from the root that a page names, placeholders like NAME as stars."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"https?://\S+", "", text)
    found = {match.rstrip(".") for match in _NAMED.findall(text)}
    return {_PLACEHOLDER.sub("*", path) for path in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_and_links_lead_somewhere(page: Path) -> None:
    stale = [path for path in sorted(named_paths(page)) if not any(ROOT.glob(path))]
    text = page.read_text(encoding="utf-8")
    stale += [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert not stale, f"{page.name} names what does not exist: {', '.join(stale)}"


def test_stale_paths_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`systems/nowhere.py`, `tests/test_paths.py`, systems/catalog/FIELD/X.py.")
    paths = sorted(named_paths(page))
    assert paths == ["systems/catalog/*/*.py", "systems/nowhere.py", "tests/test_paths.py"]
    assert [any(ROOT.glob(path)) for path in paths] == [True, False, True]


def test_contributing_shows_the_folders_as_they_are() -> None:
    page = ROOT / "CONTRIBUTING.md"
    text = page.read_text(encoding="utf-8")
    current = runpy.run_path(str(ROOT / ".ci" / "tree.py"))["with_tree"](text)
    assert text == current, "the tree in CONTRIBUTING.md is out of date; run `make tree`"
