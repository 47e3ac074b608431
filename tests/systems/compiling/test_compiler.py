"""Compiling, the cache, and what happens where neither works."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from warp_phys.systems.compiling import compiler as _compiler
from warp_phys.systems.compiling.compiler import CompileError, compile_library, compiler

SOURCE = 'extern "C" double twice(double x) { return 2.0 * x; }\n'

needs_compiler = pytest.mark.skipif(compiler() is None, reason="there is no C++ compiler")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache, with nothing loaded."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("WARP_PHYS_CACHE", str(folder))
    monkeypatch.setattr(_compiler, "_loaded", {})
    return folder


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do as a new process does."""
    monkeypatch.setattr(_compiler, "_loaded", {})


def twice(library: _compiler.CompiledLibrary) -> float:
    function = library.handle.twice
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
    return function(21.0)


@needs_compiler
def test_a_library_is_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = compile_library(SOURCE)
    assert twice(first) == 42.0
    assert first.seconds > 0.0
    assert first.path.parent == cache
    assert compile_library(SOURCE) is first
    forget(monkeypatch)
    again = compile_library(SOURCE)
    assert again.seconds == 0.0
    assert again.path == first.path
    assert twice(again) == 42.0


@needs_compiler
def test_other_flags_and_sources_are_other_libraries(cache: Path) -> None:
    text = SOURCE.replace("2.0", "FACTOR")
    libraries = [compile_library(text, [f"-DFACTOR={factor}"]) for factor in (3, 4)]
    assert [twice(library) for library in libraries] == [63.0, 84.0]
    assert twice(compile_library(SOURCE)) == 42.0
    # A library and its checksum each; nothing temporary is left.
    assert sorted(path.suffix for path in cache.iterdir()) == [".sha256"] * 3 + [".so"] * 3


@needs_compiler
@pytest.mark.parametrize("kept", [0, 100, -1])
def test_a_damaged_file_is_built_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path = compile_library(SOURCE).path
    forget(monkeypatch)
    whole = path.read_bytes()
    path.unlink()  # the loaded one is still mapped
    path.write_bytes(whole[:kept])
    again = compile_library(SOURCE)
    assert again.seconds > 0.0
    assert twice(again) == 42.0


@needs_compiler
def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("WARP_PHYS_CACHE", str(blocked / "cache"))
    library = compile_library(SOURCE)
    assert twice(library) == 42.0
    assert tmp_path not in library.path.parents
    forget(monkeypatch)
    assert compile_library(SOURCE).path == library.path


@needs_compiler
def test_the_folder_of_a_process_goes_with_it(tmp_path: Path) -> None:
    code = (
        "from warp_phys.systems.compiling.compiler import compile_library\n"
        f"print(compile_library({SOURCE!r}).path)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": "/usr/bin:/bin",
            "WARP_PHYS_CACHE": "/dev/null/cache",
            "TMPDIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path) in done.stdout
    assert not list(tmp_path.iterdir())


@needs_compiler
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"XDG_CACHE_HOME": "shared"}, "shared/warp-phys"),
        ({"HOME": "home"}, "home/.cache/warp-phys"),
    ],
)
def test_where_the_cache_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    forget(monkeypatch)
    for name in ("WARP_PHYS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, folder in variables.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    assert compile_library(SOURCE).path.parent == tmp_path / expected


@needs_compiler
def test_a_source_that_is_refused_is_told_why(cache: Path) -> None:
    with pytest.raises(CompileError, match=r"did not take the source: .*error.*nonsense"):
        compile_library('extern "C" int f() { return nonsense; }')
    assert not list(cache.iterdir())


@needs_compiler
def test_a_library_that_cannot_be_loaded_is_told_why(cache: Path) -> None:
    source = SOURCE + 'int missing(); extern "C" int calls() { return missing(); }'
    with pytest.raises(CompileError, match=r"cannot be loaded: .*missing"):
        compile_library(source, ["-Wl,-z,now"])


def test_without_a_compiler(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    assert compiler() is None
    with pytest.raises(CompileError, match=r"expected a C\+\+ compiler .* found none"):
        compile_library(SOURCE)
    monkeypatch.delenv("WARP_PHYS_COMPILER")
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(cache))
    assert compiler() is None


@needs_compiler
def test_the_compiler_asked_for_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tmp_path / "my-compiler"
    wanted.symlink_to(str(compiler()))
    monkeypatch.setenv("CXX", str(wanted))
    assert compiler() == str(wanted)
