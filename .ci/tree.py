"""Write the tree of folders into CONTRIBUTING.md: `make tree`.

Each folder is shown with the first sentence of its `__init__.py`.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tree: written by `make tree` -->\n", "<!-- end of the tree -->\n"
PACKAGES = ("systems", "data_gen", "warp_phys")


def tree() -> str:
    """Return the folders of the three packages, one a line, indented by depth."""
    lines = [line for package in PACKAGES for line in _lines(ROOT / package, 0)]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join(f"    {name:<{width}}{sentence}" for name, sentence in lines) + "\n"


def with_tree(page: str) -> str:
    """Return a page with the part between the two marks replaced by the tree."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{tree()}\n{END}{after}"


def _lines(folder: Path, depth: int) -> list[tuple[str, str]]:
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    lines = [("  " * depth + folder.name + "/", _first_sentence(text or ""))]
    for path in sorted(folder.iterdir()):
        # `warp_phys/systems` and `warp_phys/data_gen` are links to the other two.
        if (path / "__init__.py").is_file() and not path.is_symlink():
            lines += _lines(path, depth + 1)
    return lines


def _first_sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


if __name__ == "__main__":
    PAGE.write_text(with_tree(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
