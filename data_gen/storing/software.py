"""The software that computes a data set: versions and engine, which affect the last digits."""

from __future__ import annotations

from warp_phys.systems.compiling.compiler import _version, compiler
from warp_phys.systems.schema.labels import software_versions


def computing_software() -> dict[str, str]:
    """Return the versions of `software_versions`, and as `engine` what integrates here.

    That is "compiled" with the first line of the compiler's version, or "torch"
    where there is no compiler.
    """
    return software_versions() | {"engine": _engine()}


def _engine() -> str:
    program = compiler()
    if program is None:
        return "torch"
    # Only the first line: later ones may name folders of the machine.
    return " ".join(["compiled", *_version(program).splitlines()[:1]])
