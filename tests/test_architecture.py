"""The arrows between the folders, and the names under which they are imported."""

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("warp_phys", "systems", "data_gen")

# Which folders a folder may import from, besides itself, its sub-folders and `systems.errors`.
# Every import counts, also those inside functions and those for type checkers alone.
ARROWS: dict[str, set[str]] = {
    "systems": {"systems.catalog"},
    "systems.noise": {"systems.model", "systems.registries"},
    "systems.registries": set(),
    "systems.model": set(),
    "systems.catalog": {"systems.model"},
    "systems.compiling": {"systems.model"},
    "systems.schema": {"systems.model"},
    "systems.forcing": {"systems.model", "systems.schema"},
    "systems.dynamics": {"systems.compiling", "systems.forcing", "systems.model"},
    "data_gen": {
        "data_gen.drawing",
        "data_gen.observing",
        "data_gen.making",
        "data_gen.storing",
        "systems.catalog",
        "systems.forcing",
        "systems.model",
        "systems.noise",
    },
    "data_gen.drawing": {
        "systems.forcing",
        "systems.model",
        "systems.registries",
        "systems.schema",
    },
    "data_gen.observing": {"data_gen.drawing", "systems.noise"},
    "data_gen.making": {
        "data_gen.drawing",
        "data_gen.observing",
        "systems.dynamics",
        "systems.forcing",
        "systems.model",
        "systems.noise",
        "systems.schema",
    },
    "data_gen.storing": {
        "data_gen.drawing",
        "data_gen.making",
        "systems.compiling",
        "systems.forcing",
        "systems.model",
        "systems.schema",
    },
    "data_gen.recipes": {"data_gen", "data_gen.drawing", "systems.catalog", "systems.schema"},
    "warp_phys": {"systems.compiling", "warp_phys.recurrence"},
    "warp_phys.recurrence": {"systems.compiling", "systems.registries"},
    "warp_phys.reading": {"systems.schema"},
    "warp_phys.petab": {
        "systems.compiling",
        "systems.dynamics",
        "systems.model",
        "systems.noise",
        "systems.schema",
    },
    "warp_phys.records": {"systems.forcing", "systems.model", "systems.schema", "systems.noise"},
    "warp_phys.likelihood": {
        "systems.compiling",
        "systems.dynamics",
        "systems.forcing",
        "systems.model",
        "systems.noise",
        "warp_phys.records",
    },
    "warp_phys.minimizing": {"warp_phys.likelihood"},
    "warp_phys.models": {
        "systems.catalog",
        "systems.compiling",
        "systems.dynamics",
        "systems.forcing",
        "systems.model",
        "systems.noise",
        "systems.registries",
        "systems.schema",
        "warp_phys.likelihood",
        "warp_phys.minimizing",
        "warp_phys.records",
        "warp_phys.recurrence",
    },
    "warp_phys.training": {
        "systems.model",
        "systems.noise",
        "systems.schema",
        "warp_phys.models",
        "warp_phys.records",
    },
    "warp_phys.fitting": {
        "systems.catalog",
        "systems.dynamics",
        "systems.forcing",
        "systems.model",
        "systems.noise",
        "systems.schema",
        "warp_phys.likelihood",
        "warp_phys.minimizing",
        "warp_phys.models",
        "warp_phys.records",
    },
    "warp_phys.estimation": {
        "systems.catalog",
        "systems.forcing",
        "systems.model",
        "systems.noise",
        "systems.schema",
        "warp_phys.fitting",
        "warp_phys.models",
        "warp_phys.records",
    },
    "warp_phys.results": {"systems.noise", "systems.schema", "warp_phys.fitting"},
    "warp_phys.command_line": {
        "data_gen",
        "data_gen.storing",
        "systems",
        "systems.catalog",
        "systems.model",
        "systems.schema",
        "warp_phys",
        "warp_phys.results",
    },
}


def sources(package: str) -> list[Path]:
    """Return the files of one of the three packages, without the links to the other two."""
    return [
        path
        for path in sorted((ROOT / package).rglob("*.py"))
        if package != "warp_phys" or path.relative_to(ROOT).parts[1] not in PACKAGES
    ]


def module_of(path: Path) -> str:
    """Return the name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__")
    return name if parts[0] == "warp_phys" else f"warp_phys.{name}"


MODULES = {module_of(path): path for package in PACKAGES for path in sources(package)}


def imported(path: Path) -> Iterator[str]:
    """Yield every module of the package that a module imports, wherever in it that stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path.name}, line {node.lineno}"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name in MODULES:
                    yield name
                elif node.module in MODULES:
                    yield str(node.module)


def folder_of(module: str) -> str:
    """Return the folder that a module lies in, as `ARROWS` names it."""
    is_package = MODULES[module].name == "__init__.py"
    parts = module.split(".") if is_package else module.split(".")[:-1]
    if len(parts) > 1 and parts[1] in PACKAGES:
        parts = parts[1:]
    return ".".join(parts[:2])


@pytest.mark.parametrize("folder", sorted({folder_of(name) for name in MODULES}))
def test_a_folder_imports_only_from_those_it_may(folder: str) -> None:
    wrong = [
        f"{module} imports {target}"
        for module, path in MODULES.items()
        if folder_of(module) == folder
        for target in imported(path)
        if target != "warp_phys.systems.errors"
        and folder_of(target) not in {folder, *ARROWS[folder]}
    ]
    listing = "\n".join(wrong)
    assert not wrong, f"import from the module that defines it, or add to ARROWS:\n{listing}"


def test_the_table_names_no_arrow_that_is_gone() -> None:
    found = {
        (folder_of(module), folder_of(target))
        for module, path in MODULES.items()
        for target in imported(path)
    }
    allowed = {(folder, target) for folder, targets in ARROWS.items() for target in targets}
    assert allowed - found == set()
    assert {folder_of(name) for name in MODULES} == ARROWS.keys()


def test_folders_and_modules_import_in_one_direction() -> None:
    """No circle, not even of imports for type checkers."""
    arrows = {name: set(imported(path)) - {name} for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(arrows).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"these import each other in a circle: {error.args[1]}")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_says_what_lives_in_it(package: str) -> None:
    for folder in {path.parent for path in sources(package)}:
        door = folder / "__init__.py"
        assert door.is_file(), f"{folder} has no __init__.py"
        assert ast.get_docstring(ast.parse(door.read_text(encoding="utf-8"))), door


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
from warp_phys.command_line.main import main
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
