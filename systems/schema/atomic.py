"""Writes a file completely or not at all; every file of this package is written here.

The bytes go to a temporary name in the same folder, are flushed to the disk, and then take the
final name in one step, so that a full disk or a killed process leaves no half-written file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from warp_phys.systems.errors import OutputExistsError


def check_target(target: Path, *, overwrite: bool, name: str = "") -> None:
    """Check that a file can be written, before its contents are computed.

    Args:
        target: The file.
        overwrite: Whether an existing file may be replaced.
        name: Name of the file in the message; its path by default.

    Raises:
        FileNotFoundError: Its folder does not exist.
        OutputExistsError: It exists and `overwrite` is off.
    """
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder of {name or target} does not exist; create it first")
    if target.exists() and not overwrite:
        raise _exists(target)


def write_atomic(content: bytes | memoryview, target: Path, *, overwrite: bool) -> None:
    """Write a file completely or not at all.

    Raises:
        OutputExistsError: The file exists and `overwrite` is off.
    """
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(target)
        else:
            _publish_new(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _publish_new(temporary: Path, target: Path) -> None:
    """Rename the temporary file unless another process has taken the name meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        _publish_without_links(temporary, target)


def _publish_without_links(temporary: Path, target: Path) -> None:
    """Do the same on a file system without hard links: reserve the name, then replace it."""
    try:
        target.open("xb").close()
    except FileExistsError:
        raise _exists(target) from None
    temporary.replace(target)


def _flush_folder(folder: Path) -> None:
    """Make the new name survive a power failure, if the system allows opening a folder."""
    with contextlib.suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _exists(path: Path) -> OutputExistsError:
    return OutputExistsError(
        f"{path.name} exists already; choose another name or pass overwrite=True"
    )
