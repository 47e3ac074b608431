"""The folder of a sharded data set: locks it, checks its files, and clears it."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from warp_phys.data_gen.storing.identity import differences
from warp_phys.data_gen.storing.manifest import (
    FILE,
    SHARDS,
    Manifest,
    Shard,
    new_manifest,
    read_manifest,
)
from warp_phys.data_gen.storing.shard_facts import checksum, identity_of
from warp_phys.data_gen.storing.wording import listed
from warp_phys.systems.errors import OutputExistsError, UsageError

_LOCK = ".lock"
_LEFTOVERS = (f".{SHARDS}.*.tmp", f".{FILE}.*.tmp")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create the folder and exclude other writers.

    The lock ends with the process, or with the last one that it forked meanwhile.

    Raises:
        FileNotFoundError: The folder around it does not exist.
        UsageError: It is a file, or another process or thread writes there.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected output as a folder, got the file {folder}")
    if not folder.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder around {folder} does not exist; create it first")
    folder.mkdir(exist_ok=True)
    lock = folder / _LOCK
    with _held(lock, folder) as file:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            _unlock(file.fileno())


def _held(lock: Path, folder: Path) -> IO[str]:
    """Return the lock file, open and locked, after checking that its name still refers to it."""
    while True:
        file = lock.open("w")
        try:
            _lock(file.fileno(), folder)
            if _is_at(file.fileno(), lock):
                return file
        except BaseException:
            file.close()
            raise
        # Its previous holder removed it between our opening and locking it.
        file.close()


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int, folder: Path) -> None:
    """Lock an open file against other processes and threads, if the system supports it."""
    try:
        _flock(handle, free=False)
    except (BlockingIOError, PermissionError):
        raise UsageError(
            f"another process or thread is writing the data set in {folder}; wait for it or end it"
        ) from None
    except OSError:  # a file system without locks
        return


def _unlock(handle: int) -> None:
    """Unlock for forked workers, too, which would otherwise hold the lock until they end."""
    with contextlib.suppress(OSError):
        _flock(handle, free=True)


def _flock(handle: int, *, free: bool) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    fcntl.flock(handle, fcntl.LOCK_UN if free else fcntl.LOCK_EX | fcntl.LOCK_NB)


def prepared(folder: Path, configuration: Mapping[str, Any], *, overwrite: bool) -> Manifest:
    """Return the manifest to continue with, written to disk; warn of files that are not usable.

    Args:
        folder: The folder.
        configuration: What the data set is made from.
        overwrite: Remove a data set that is there.

    Raises:
        OutputExistsError: The folder holds another data set, or files of somebody else.
    """
    remove_leftovers(folder)
    fresh = new_manifest(configuration)
    if (folder / FILE).exists():
        there = read_manifest(folder)
        if not overwrite:
            _check_same(folder, there, fresh)
            _check_foreign(folder, there)
            return _kept(folder, there)
        _check_foreign(folder, there)
        _remove(folder, there)
    elif others := sorted(path.name for path in folder.iterdir() if path.name != _LOCK):
        raise OutputExistsError(
            f"{folder} is not empty and holds no data set of this package: {listed(others)}; "
            "choose another folder, or move these away"
        )
    fresh.write(folder)
    return fresh


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of writers that were killed."""
    for pattern in _LEFTOVERS:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def _check_same(folder: Path, there: Manifest, wanted: Manifest) -> None:
    if there.identity != wanted.identity:
        raise OutputExistsError(
            f"{folder} holds a data set made from other settings: "
            f"{differences(there.configuration, wanted.configuration)}; choose another folder, "
            "or replace it (overwrite=True, --overwrite)"
        )


def _check_foreign(folder: Path, manifest: Manifest) -> None:
    """Raise an error if a file has the name of a shard but belongs to another data set."""
    ours = {shard.file: shard for shard in manifest.shards}
    foreign = [
        path.name
        for path in sorted(folder.glob(SHARDS))
        if path.name not in ours or _is_foreign(path, ours[path.name], manifest.identity)
    ]
    if foreign:
        raise OutputExistsError(
            f"{folder} holds files with the names of shards that are not of this data set: "
            f"{listed(foreign)}; move them away"
        )


def _is_foreign(path: Path, shard: Shard, identity: str) -> bool:
    """Return whether a file is foreign; an unreadable shard of this data set is only damaged."""
    found = identity_of(path)
    return not shard.done if found is None else found != identity


def _kept(folder: Path, manifest: Manifest) -> Manifest:
    """Return the manifest without unusable shards, and warn of each."""
    shards = list(manifest.shards)
    for number, shard in enumerate(shards):
        if shard.done and (fault := _fault(folder / shard.file, shard)):
            shards[number] = Shard(shard.file, shard.first, shard.count)
            warnings.warn(f"{shard.file} {fault}; it is made again", UserWarning, stacklevel=5)
    return replace(manifest, shards=tuple(shards))


def _fault(path: Path, shard: Shard) -> str:
    if not path.exists():
        return "is missing"
    if path.stat().st_size != shard.size:
        return f"is damaged: it has {path.stat().st_size} bytes, expected {shard.size}"
    return "" if checksum(path) == shard.sha256 else "is damaged: its checksum is wrong"


def _remove(folder: Path, manifest: Manifest) -> None:
    """Remove a data set; the manifest goes last, as it identifies the remaining files."""
    for shard in manifest.shards:
        (folder / shard.file).unlink(missing_ok=True)
    (folder / FILE).unlink()
