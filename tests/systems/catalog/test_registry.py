"""Finding systems by name, and importing them only when they are asked for."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import warp_phys.systems
from warp_phys.systems import (
    SIR,
    CoupledOscillators,
    FitzHughNagumo,
    Lorenz63,
    LotkaVolterra,
    System,
    UnknownNameError,
    UsageError,
    VanDerPol,
    get_system,
    system_names,
)
from warp_phys.systems.catalog.registry import check_files


def test_every_file_of_the_catalog_is_a_system() -> None:
    """A class whose name is not that of its file would be left out."""
    catalog = Path(warp_phys.systems.__file__).parent / "catalog"
    assert sorted(path.stem for path in catalog.glob("*/[a-z]*.py")) == sorted(system_names())


def test_a_file_without_its_class_is_named(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "tent_map.py").write_text("class Other(System): ...\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"expected a class TentMap in \S+/chaos/tent_map\.py"):
        check_files(tmp_path, "tent-map")
    check_files(tmp_path, "logistic_map")


def test_every_name_gives_its_system() -> None:
    for name in system_names():
        system = get_system(name)
        assert isinstance(system, System)
        assert system.name == name


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("SIR", SIR),
        ("LotkaVolterra", LotkaVolterra),
        ("lotka-volterra", LotkaVolterra),
        ("Van der Pol", VanDerPol),
        ("fitzhugh_nagumo", FitzHughNagumo),
        ("lorenz-63", Lorenz63),
    ],
)
def test_other_spellings_are_understood(name: str, cls: type[System]) -> None:
    assert type(get_system(name)) is cls


def test_options_reach_the_system() -> None:
    assert get_system("pendulum", length=1.0).free_names == ("damping",)
    assert len(get_system("coupled_oscillators", masses=4).states) == 8


def test_the_number_of_masses_is_an_option_like_others() -> None:
    system = CoupledOscillators(masses=4, mass=2.0)
    assert CoupledOscillators().options == {"masses": 3}
    assert system.output_names == system.state_names
    assert list(system.default_initial_state) == list(system.state_names)
    for twin in (get_system(system.name, **system.options), pickle.loads(pickle.dumps(system))):
        assert twin.states == system.states
        assert twin.parameters == system.parameters
    for wrong in (1, 2.0, None):
        with pytest.raises(UsageError, match="masses as a whole number of 2 or more, received"):
            CoupledOscillators(masses=wrong)


def test_an_unknown_system_offers_close_names() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'lotka_volterra'"):
        get_system("lotka_voltera")
    with pytest.raises(UnknownNameError, match=r"known: .*sine"):
        get_system("xyz")
    with pytest.raises(UsageError, match="name of a system as text"):
        get_system(LotkaVolterra())


def test_all_public_names_can_be_had() -> None:
    for name in warp_phys.systems.__all__:
        assert getattr(warp_phys.systems, name) is not None
        assert name in dir(warp_phys.systems)
    with pytest.raises(AttributeError, match="it exports"):
        _ = warp_phys.systems.Lorenz


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False
    )


def test_importing_the_package_does_not_import_torch(tmp_path: Path) -> None:
    code = (
        "import sys, warp_phys.systems as s; s.system_names(); "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert run(code, tmp_path).returncode == 0


def test_the_folder_cannot_be_imported_under_another_name() -> None:
    root = Path(warp_phys.systems.__file__).resolve().parents[1]
    if not (root / "systems").is_dir():
        pytest.skip("installed without its checkout")
    result = run("import systems", root)
    assert result.returncode != 0
    assert "expected import as 'warp_phys.systems', got 'systems'" in result.stderr


CATALOG = Path(warp_phys.systems.__file__).resolve().parent / "catalog"


@pytest.mark.parametrize(
    "path", sorted(CATALOG.glob("*/[a-z]*.py")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_file_of_the_catalog_is_documented(path: Path) -> None:
    assert path.stem in system_names(), f"no class in {path.name} has the name of its file"
    system = get_system(path.stem)
    text = type(system).__doc__ or ""
    assert ".. math::" in text, "its docstring shows no equations"
    assert "References:" in text, "its docstring names no source"
    assert system.reference, "its attribute `reference` is empty"
    for entry in (*system.states, *system.inputs, *system.parameters):
        assert entry.description, f"{entry.name} has no description"
