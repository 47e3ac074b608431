"""The measures of `.ci/structure.py`, on a small package whose shape is known."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / ".ci"
FILES = {
    "warp_phys/__init__.py": '"""Door."""\nfrom lazy_loader import attach_stub\n',
    "warp_phys/__init__.pyi": "from .same import same as same\nfrom .upper.top import top as top\n",
    "warp_phys/upper/__init__.py": '"""Nothing but a docstring: no file."""\n',
    "warp_phys/upper/top.py": "def top():\n    from warp_phys.lower.ring import one\n",
    "warp_phys/upper/user.py": "from warp_phys import top\n",
    "warp_phys/lower/ring.py": (
        "from typing import TYPE_CHECKING\n"
        "from warp_phys.lower.link import link  # a remark\n"
        "if TYPE_CHECKING:\n"
        "    from warp_phys.systems.base import Base\n"
    ),
    "warp_phys/lower/link.py": "import warp_phys.lower.ring\n",
    "warp_phys/lower/kernel.cpp": "// one\nint two;\n",
    "systems/__init__.py": '"""Door."""\n',
    # a public name that is a module's name, too
    "warp_phys/same.py": "def same(): ...\n",
    "systems/base.py": "class Base:\n    " + "\n    ".join(["x = 1"] * 400) + "\n",
    "data_gen/__init__.py": '"""Door."""\n',
    "tests/test_door.py": "from warp_phys import same, top\n",
    "tests/test_base.py": "from warp_phys.systems.base import Base\n",
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the script finds, journeys left out, as there is nothing to call."""
    root = tmp_path_factory.mktemp("checkout")
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / "warp_phys" / "systems").symlink_to("../systems")
    code = (
        "import sys; from pathlib import Path; import structure as s; "
        "c = s.Checkout(Path(sys.argv[1])); "
        "s.print_table({'now': s.sizes(c) | s.directions(c) | s.tests(c)})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        check=True,
    )
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    return dict(cells)


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ("folders", "4"),
        ("files", "8"),
        ("files a folder, median / most", "2 / 3"),
        ("Python files over 300 lines", "1"),
        ("C++ files over 400 lines", "0"),
        ("comments in 100 lines of C++", "50.0"),
        # top -> ring; user -> top, where `top` lives, not the door; ring <-> link; ring -> base
        ("arrows between modules", "5"),
        ("of these back up, modules", "1"),
        ("circles of modules", "1"),
        ("floors of modules", "4"),
        ("arrows between folders", "2"),
        ("circles of folders", "0"),
        ("floors of folders", "3"),
        ("test files with private imports", "1 of 2"),
    ],
)
def test_measures_of_a_known_package(rows: dict[str, str], row: str, value: str) -> None:
    assert rows[row] == value
