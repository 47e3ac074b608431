"""Making a sharded data set: what is there is kept, what is missing is made and recorded."""

from __future__ import annotations

import errno
import pickle
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from warp_phys.data_gen._dataset_plan import DatasetPlan
from warp_phys.data_gen._dispatch import Piece, WorkFailedError, results
from warp_phys.data_gen._folder import locked, prepared, remove_leftovers
from warp_phys.data_gen._manifest import Manifest
from warp_phys.data_gen._shards import Written, write_shard
from warp_phys.systems._errors import UsageError, WarpPhysError
from warp_phys.systems._labels import software_versions

_RECORD_EVERY = 1.0
"""Seconds between two writings of the manifest."""

_PROGRESS_AFTER = 2.0
"""Seconds before a progress bar appears."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ShardError(WarpPhysError, RuntimeError):
    """A shard could not be made; those that are done are kept."""


def write_dataset(
    plan: DatasetPlan,
    folder: Path,
    configuration: Mapping[str, Any],
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Make all shards of a data set that are not there yet.

    Args:
        plan: The plan of the whole data set.
        folder: Where to; made where it does not exist.
        configuration: What it is made from, see `Manifest`.
        executor: Where shards are made; None for this process.
        overwrite: Start anew where the folder holds a data set.
        progress: Show a progress bar on work over two seconds.

    Raises:
        UsageError: The folder holds something else, or the work cannot be sent.
        ShardError: A shard could not be made.
        OSError: The disk is full. Whatever is raised, the set stays valid and can be resumed.
    """
    with locked(folder):
        ledger = _Ledger(prepared(folder, configuration, overwrite=overwrite), folder)
        bar = tqdm(
            total=plan.n,
            initial=ledger.manifest.trajectories_done,
            delay=_PROGRESS_AFTER,
            unit=" trajectories",
            desc="simulate",
            disable=not progress,
        )
        work = _pieces(plan, ledger.manifest, folder)
        try:
            with bar:
                for number, written in results(write_shard, work, executor):
                    ledger.record(number, written)
                    bar.update(ledger.manifest.shards[number].count)
            ledger.write()
        except WorkFailedError as failure:
            ledger.write_if_possible()
            raise _explained(failure, plan, ledger.manifest, folder) from failure.__cause__
        except OSError as error:
            raise _full(error, ledger.manifest, folder) from error
        except BaseException:
            ledger.write_if_possible()
            raise
        finally:
            remove_leftovers(folder)


class _Ledger:
    """The manifest while shards are being made."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.manifest = manifest
        self._folder = folder
        self._written = time.monotonic()

    def record(self, number: int, written: Written) -> None:
        """Take down that a shard is done; on disk at most once a second."""
        shard = replace(self.manifest.shards[number], **written._asdict())
        self.manifest = self.manifest.with_shards({number: shard})
        if time.monotonic() - self._written > _RECORD_EVERY:
            self.write()

    def write(self) -> None:
        self.manifest.write(self._folder)
        self._written = time.monotonic()

    def write_if_possible(self) -> None:
        """Write it while another error is on its way, which matters more."""
        try:
            self.write()
        except OSError:
            return


def _pieces(plan: DatasetPlan, manifest: Manifest, folder: Path) -> Iterator[Piece]:
    software = software_versions()
    for number in manifest.missing:
        shard = manifest.shards[number]
        path = str(folder.absolute() / shard.file)

        def arguments(
            first: int = shard.first, count: int = shard.count, path: str = path
        ) -> tuple[Any, ...]:
            return plan.part(first, count), path, manifest.identity, software

        yield number, arguments


def _explained(
    failure: WorkFailedError, plan: DatasetPlan, manifest: Manifest, folder: Path
) -> Exception:
    """Return the error that says which shard failed, how, and what is left."""
    cause = failure.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return _full(cause, manifest, folder)
    shard = manifest.shards[failure.number]
    where = f"shard {failure.number} (trajectories {shard.first} to {shard.first + shard.count - 1})"
    if isinstance(cause, BrokenExecutor):
        return ShardError(
            f"a worker process ended while {where} or one beside it was made: it was killed, ran "
            f"out of memory, or could not import {type(plan.system).__name__} (a script needs "
            f'`if __name__ == "__main__":`); {_resume(manifest)}'
        )
    if not _can_be_sent(plan.system):
        return UsageError(
            f"{type(plan.system).__name__} cannot be sent to workers: define it at the top level "
            f"of a module, or use dask.distributed, which can send any class; or leave out "
            f"executor ({cause})"
        )
    if isinstance(cause, UsageError):
        return UsageError(f"{where}: {cause}")
    return ShardError(f"{where} failed: {type(cause).__name__}: {cause}; {_resume(manifest)}")


def _full(error: OSError, manifest: Manifest, folder: Path) -> OSError:
    if error.errno not in _FULL:
        return error
    return OSError(
        error.errno,
        f"the disk is full or a limit is reached ({error.strerror}) in {folder}; "
        f"{_resume(manifest)}, once there is room",
    )


def _resume(manifest: Manifest) -> str:
    total = len(manifest.shards)
    return (
        f"{total - len(manifest.missing)} of {total} shards are done and intact; the same call, "
        "or the same command, goes on from there"
    )


def _can_be_sent(system: Any) -> bool:
    try:
        pickle.dumps(system)
    except (pickle.PicklingError, AttributeError, TypeError):
        return False
    return True
