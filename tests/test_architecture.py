"""The arrows between the folders, and the names under which they are imported."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("warp_phys", "systems", "data_gen")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).glob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything a module imports, wherever in it that stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path.name}, line {node.lineno}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def package_of(name: str) -> str | None:
    """Return which of the three folders an imported name lies in, if any."""
    parts = name.split(".")
    if parts[0] != "warp_phys":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FOLDERS else "warp_phys"


def reached(path: Path) -> set[str]:
    """Return which of the three folders a module imports."""
    return {found for name in imported(path) if (found := package_of(name))}


@pytest.mark.parametrize("path", modules("systems"), ids=lambda path: path.name)
def test_systems_know_nobody_else(path: Path) -> None:
    assert reached(path) <= {"systems"}


@pytest.mark.parametrize("path", modules("data_gen"), ids=lambda path: path.name)
def test_data_gen_knows_the_systems_alone(path: Path) -> None:
    assert reached(path) <= {"data_gen", "systems"}


@pytest.mark.parametrize("path", modules("warp_phys"), ids=lambda path: path.name)
def test_only_the_command_line_simulates(path: Path) -> None:
    command_line = {"data_gen"} if path.name.startswith("_cli") else set()
    assert reached(path) <= {"warp_phys", "systems"} | command_line


@pytest.mark.parametrize("folder", FOLDERS)
def test_modules_import_in_one_direction(folder: str) -> None:
    """No cycle at run time; imports for type checkers alone may go both ways."""
    arrows = {path.stem: run_time_imports(path, folder) for path in modules(folder)}
    while arrows:
        leaves = {
            name for name, targets in arrows.items() if not targets & (arrows.keys() - {name})
        }
        assert leaves, f"these import each other in a circle: {sorted(arrows)}"
        arrows = {name: targets for name, targets in arrows.items() if name not in leaves}


def run_time_imports(path: Path, folder: str) -> set[str]:
    """Return the modules of the same folder that a module imports when it is imported."""
    prefix = "warp_phys." if folder == "warp_phys" else f"warp_phys.{folder}."
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.module.removeprefix(prefix)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(prefix)
    }


def in_new_process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code where `folder` comes first on the path."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_is_lazy(tmp_path: Path) -> None:
    code = """
import sys, warp_phys, warp_phys.systems, warp_phys.data_gen
heavy = ("torch", "xarray", "scipy", "pandas", "numpy", "matplotlib", "typer")
print([name for name in heavy if name in sys.modules])
"""
    ran = in_new_process(code, tmp_path)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = """
import sys
from warp_phys._cli import main
try:
    main(["--help"])
except SystemExit as end:
    print(end.code, [name for name in ("torch", "xarray", "scipy") if name in sys.modules])
"""
    ran = in_new_process(code, tmp_path)
    assert ran.stdout.splitlines()[-1] == "0 []"


@pytest.mark.parametrize("name", ["warp_phys", "warp_phys.systems", "warp_phys.data_gen"])
def test_every_public_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for public in package.__all__:
        assert getattr(package, public) is not None
    assert set(package.__all__) <= set(dir(package))
    assert not hasattr(package, "no_such_name")


@pytest.mark.parametrize("name", ["systems", "data_gen"])
def test_wrong_import_name_says_the_right_one(name: str) -> None:
    ran = in_new_process(f"import {name}", ROOT)
    assert ran.returncode == 1
    message = f"expected import as 'warp_phys.{name}', got '{name}'"
    assert f"{message}; write 'from warp_phys.{name} import ...'" in ran.stderr


def test_a_users_own_module_of_the_same_name_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "systems.py").write_text("mine = True\n")
    code = "import systems, warp_phys.systems; print(systems.mine, warp_phys.systems.__name__)"
    assert in_new_process(code, tmp_path).stdout == "True warp_phys.systems\n"
