"""Compiles C++ to a shared library and loads it; libraries are kept in a cache on disk."""

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

# No -ffast-math: it assumes that all numbers are finite, and may remove the checks for infinity and
# NaN by which steps are rejected, and it reorders sums.
_FLAGS = (
    "-O3",
    "-std=c++17",
    "-shared",
    "-fPIC",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-w",
)
_OPTIONAL_FLAGS = ("-march=native", "-fopenmp")  # used if the compiler accepts them
_SUFFIX = ".so"
_SHOWN_LINES = 5
_TIMEOUT = 300.0


class CompileError(WarpPhysError):
    """There is no compiler, or it rejected the source; the message contains the compiler's."""


@dataclass(frozen=True)
class CompiledLibrary:
    """A loaded library.

    Attributes:
        handle: The loaded library, whose attributes are its functions.
        seconds: Time spent compiling; 0 if the library was in the cache.
        path: The library file.
    """

    handle: ctypes.CDLL
    seconds: float
    path: Path


_loaded: dict[str, CompiledLibrary] = {}


def compiler() -> str | None:
    """Return the C++ compiler, $CXX or else c++, g++ or clang++; None if there is none.

    WARP_PHYS_COMPILER=none in the environment disables it.
    """
    if os.environ.get("WARP_PHYS_COMPILER", "").lower() == "none":
        return None
    wanted = os.environ.get("CXX")
    names = [wanted] if wanted else []
    return next(
        (path for name in [*names, "c++", "g++", "clang++"] if (path := shutil.which(name))), None
    )


def compile_library(source: str, flags: Sequence[str] = ()) -> CompiledLibrary:
    """Return the library of a C++ source, compiled unless it is in the cache.

    The cache is $WARP_PHYS_CACHE, or warp-phys in $XDG_CACHE_HOME or ~/.cache; if that is not
    writable, it is a temporary folder that is deleted when the process ends.

    Args:
        source: The C++ source.
        flags: Additional flags.

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
    # The key holds everything that the machine code depends on: source, flags, compiler, processor.
    name = hashlib.sha256("\0".join(described).encode()).hexdigest()
    if name not in _loaded:
        _loaded[name] = _load_or_build(name, source, program, flags)
    return _loaded[name]


def _load_or_build(name: str, source: str, program: str, flags: Sequence[str]) -> CompiledLibrary:
    path = _cache_folder() / (name + _SUFFIX)
    # A process that was killed or a full disk may leave a library without its digest.
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
    """Compile under a temporary name and rename, so that no process sees a partial file."""
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
    """Run a compiler; return None if it succeeds, else the first lines of its message."""
    # English messages in any locale, as they are quoted in ours.
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
    """Return the optional flags with which a library compiles and links."""
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
    """Return a description of the processor, on which -march=native depends."""
    described = [platform.machine(), platform.processor()]
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        kinds = ("model name", "flags", "Features", "CPU part")
        described += sorted({line for line in lines if line.startswith(kinds)})
    return "\n".join(described)


def _cache_folder() -> Path:
    """Return a writable folder."""
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
    """Return whether a library exists and is complete; loading a partial one can crash."""
    try:
        return _digest_path(path).read_text(encoding="ascii") == _digest(path)
    except (OSError, ValueError):
        return False
