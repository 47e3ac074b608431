"""Compiles C++ to a library and loads it; what was compiled before is taken from a cache."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from warp_phys.systems.errors import WarpPhysError

# No -ffast-math: what is not finite must stay so.
_FLAGS = (
    "-O3",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-w",
)
_OPTIONAL_FLAGS = ("-march=native", "-fopenmp")  # where the compiler has them
_SUFFIX = ".so"
_SHOWN_LINES = 5
_TIMEOUT = 300.0


class CompileError(WarpPhysError):
    """There is no compiler, or it did not take the source; the message says what it said."""


@dataclass(frozen=True)
class CompiledLibrary:
    """A loaded library.

    Attributes:
        handle: Its functions.
        seconds: How long compiling took; 0 where it was in the cache.
        path: The file.
    """

    handle: ctypes.CDLL
    seconds: float
    path: Path


_loaded: dict[str, CompiledLibrary] = {}


def compiler() -> str | None:
    """Return the C++ compiler, None where there is none: $CXX, else c++, g++ or clang++.

    With WARP_PHYS_COMPILER=none in the environment there is none.
    """
    if os.environ.get("WARP_PHYS_COMPILER", "").lower() == "none":
        return None
    wanted = os.environ.get("CXX")
    names = [wanted] if wanted else []
    return next(
        (path for name in [*names, "c++", "g++", "clang++"] if (path := shutil.which(name))), None
    )


def compile_library(source: str, flags: Sequence[str] = ()) -> CompiledLibrary:
    """Return a library of C++ source, compiled unless a cache has it.

    The cache is $WARP_PHYS_CACHE, or warp-phys in $XDG_CACHE_HOME or ~/.cache; where that cannot
    be written, a folder that goes with the process.

    Args:
        source: The C++ source.
        flags: Flags besides the usual ones.

    Raises:
        CompileError: There is no compiler, or it refuses the source.
    """
    program = compiler()
    if program is None:
        raise CompileError("expected a C++ compiler (c++, g++, clang++ or $CXX), found none")
    described = (
        source,
        *_FLAGS,
        *_OPTIONAL_FLAGS,
        *flags,
        program,
        _version(program),
        _processor(),
    )
    name = hashlib.sha256("\0".join(described).encode()).hexdigest()
    if name not in _loaded:
        _loaded[name] = _load_or_build(name, source, program, flags)
    return _loaded[name]


def _load_or_build(name: str, source: str, program: str, flags: Sequence[str]) -> CompiledLibrary:
    path = _cache_folder() / (name + _SUFFIX)
    if _is_intact(path):
        with contextlib.suppress(OSError):
            return CompiledLibrary(ctypes.CDLL(str(path)), 0.0, path)
    start = time.perf_counter()
    try:
        _build(path, source, program, flags)
    except OSError:  # a full disk, or a folder that lost its permissions
        path = _process_folder() / path.name
        _build(path, source, program, flags)
    seconds = time.perf_counter() - start
    try:
        return CompiledLibrary(ctypes.CDLL(str(path)), seconds, path)
    except OSError as error:
        raise CompileError(f"the compiled library cannot be loaded: {error}") from error


def _build(path: Path, source: str, program: str, flags: Sequence[str]) -> None:
    """Compile under a temporary name, then rename: nobody sees half a file."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        text, made = Path(folder, "source.cpp"), Path(folder, path.name)
        text.write_text(source, encoding="utf-8")
        command = [program, *_FLAGS, *_accepted(program), *flags, str(text), "-o", str(made), "-lm"]
        error = _run(command)
        if error is not None:
            raise CompileError(f"{program} did not take the source: {error}")
        digest = Path(folder, "digest")
        digest.write_text(_digest(made), encoding="ascii")
        made.replace(path)
        digest.replace(_digest_path(path))


def _run(command: Sequence[str]) -> str | None:
    """Run a compiler; return None where all went well, else the first lines of its message."""
    # English messages, whatever the user speaks: they are quoted in ours.
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        return f"not done after {_TIMEOUT:g} s"
    if done.returncode == 0:
        return None
    lines = [
        line for line in done.stderr.splitlines() if "error" in line
    ] or done.stderr.splitlines()
    return "\n".join(lines[:_SHOWN_LINES]) or f"exit status {done.returncode}"


@lru_cache(maxsize=8)
def _accepted(program: str) -> tuple[str, ...]:
    """Return which of the optional flags build and link."""
    with tempfile.TemporaryDirectory() as folder:
        text, made = Path(folder, "probe.cpp"), Path(folder, "probe" + _SUFFIX)
        text.write_text('extern "C" int probe() { return 0; }\n', encoding="ascii")
        base = [program, "-shared", "-fPIC", str(text), "-o", str(made)]
        return tuple(flag for flag in _OPTIONAL_FLAGS if _run([*base, flag]) is None)


@lru_cache(maxsize=8)
def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


@lru_cache(maxsize=1)
def _processor() -> str:
    """Return what -march=native may depend on."""
    described = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU part")
        described += sorted({line for line in lines if line.startswith(kinds)})
    return "\n".join(described)


def _cache_folder() -> Path:
    """Return a folder that can be written."""
    named = os.environ.get("WARP_PHYS_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or str(Path("~", ".cache"))
    try:
        folder = Path(named or Path(shared, "warp-phys")).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return _process_folder()


@lru_cache(maxsize=1)
def _process_folder() -> Path:
    folder = tempfile.mkdtemp(prefix="warp-phys-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_intact(path: Path) -> bool:
    """Return whether a library is there and whole; loading half of one can end the process."""
    try:
        return _digest_path(path).read_text(encoding="ascii") == _digest(path)
    except (OSError, ValueError):
        return False
