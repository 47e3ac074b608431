"""Makes the missing shards of a data set, and records each in the manifest."""

from __future__ import annotations

import contextlib
import errno
import pickle
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from warp_phys.data_gen.making.dataset_plan import DatasetPlan
from warp_phys.data_gen.storing.dispatch import Piece, WorkFailedError, results
from warp_phys.data_gen.storing.folder import locked, prepared, remove_leftovers
from warp_phys.data_gen.storing.manifest import Manifest, Shard
from warp_phys.data_gen.storing.shards import Written, write_shard
from warp_phys.data_gen.storing.software import computing_software
from warp_phys.systems.errors import UsageError, WarpPhysError

_RECORD_EVERY = 1.0
"""Seconds between two writings of the manifest."""

_PROGRESS_AFTER = 2.0
"""Seconds before a progress bar appears."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ShardError(WarpPhysError, RuntimeError):
    """A shard could not be made; the shards that are done are kept."""


def write_dataset(
    plan: DatasetPlan,
    folder: Path,
    configuration: Mapping[str, Any],
    *,
    executor: Executor | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> None:
    """Make all missing shards of a data set.

    Args:
        plan: The plan of the whole data set.
        folder: The folder to write to; created if it does not exist.
        configuration: The configuration of the data set, see `Manifest`.
        executor: The executor that makes the shards; None for this process.
        overwrite: Start again if the folder contains a data set.
        progress: Show a progress bar on work over two seconds.

    Raises:
        UsageError: The folder holds something else, or the work cannot be sent.
        ShardError: A shard could not be made.
        OSError: The disk is full. Whatever is raised, the set stays valid and can be resumed.
    """
    with locked(folder):
        ledger = Ledger(prepared(folder, configuration, overwrite=overwrite), folder)
        try:
            _make(plan, ledger, executor, progress)
            ledger.write()
        except WorkFailedError as failure:
            ledger.write_if_possible()
            raise _explained(failure, plan, ledger) from failure.__cause__
        except OSError as error:
            ledger.write_if_possible()
            if error.errno in _FULL:
                raise _full(error, ledger) from error
            raise
        except BaseException:
            ledger.write_if_possible()
            raise
        finally:
            remove_leftovers(folder)


class Ledger:
    """The manifest while shards are being made."""

    def __init__(self, manifest: Manifest, folder: Path) -> None:
        self.shards = list(manifest.shards)
        self.folder = folder
        self.identity = manifest.identity
        self._configuration = manifest.configuration
        self._next = time.monotonic() + _RECORD_EVERY

    @property
    def manifest(self) -> Manifest:
        """The manifest in its current state."""
        return Manifest(self._configuration, tuple(self.shards))

    def record(self, number: int, written: Written) -> None:
        """Record that a shard is done; the manifest on disk is updated about once a second."""
        self.shards[number] = replace(self.shards[number], **written._asdict())
        if time.monotonic() > self._next:
            self.write()

    def write(self) -> None:
        """Write the manifest to disk."""
        begin = time.monotonic()
        self.manifest.write(self.folder)
        # With very many shards, writing itself takes long: spend at most about a twentieth of the
        # time.
        self._next = begin + max(_RECORD_EVERY, 20 * (time.monotonic() - begin))

    def write_if_possible(self) -> None:
        """Write the manifest while another error, which matters more, is being raised."""
        with contextlib.suppress(OSError):
            self.write()

    def progress(self) -> str:
        """Return a text on how much is done and how to continue."""
        done = sum(shard.done for shard in self.shards)
        return (
            f"{done} of {len(self.shards)} shards are done and intact; the same call, or the same "
            "command, goes on from there"
        )


def _make(plan: DatasetPlan, ledger: Ledger, executor: Executor | None, progress: bool) -> None:
    bar = tqdm(
        total=plan.n,
        initial=ledger.manifest.trajectories_done,
        delay=_PROGRESS_AFTER,
        unit=" trajectories",
        desc="simulate",
        disable=not progress,
    )
    with bar, contextlib.closing(results(write_shard, _pieces(plan, ledger), executor)) as made:
        for number, written in made:
            ledger.record(number, written)
            bar.update(ledger.shards[number].count)


def _pieces(plan: DatasetPlan, ledger: Ledger) -> Iterator[Piece]:
    software = computing_software()
    folder = ledger.folder.absolute()
    for number, shard in enumerate(ledger.shards):
        if not shard.done:
            yield number, partial(_arguments, plan, shard, folder, ledger.identity, software)


def _arguments(
    plan: DatasetPlan, shard: Shard, folder: Path, identity: str, software: Mapping[str, str]
) -> tuple[Any, ...]:
    """Return the arguments of `write_shard`."""
    return plan.part(shard.first, shard.count), str(folder / shard.file), identity, software


def _explained(failure: WorkFailedError, plan: DatasetPlan, ledger: Ledger) -> Exception:
    """Return the error that names the failed shard, the cause and what is left."""
    cause = failure.__cause__
    if isinstance(cause, OSError) and cause.errno in _FULL:
        return _full(cause, ledger)
    shard = ledger.shards[failure.number]
    last = shard.first + shard.count - 1
    where = f"shard {failure.number} (trajectories {shard.first} to {last})"
    if isinstance(cause, BrokenExecutor):
        return ShardError(
            f"a worker process ended while {where}, or one beside it, was made: it was killed, "
            f"ran out of memory, or could not import {type(plan.system).__name__} (a script needs "
            f'if __name__ == "__main__":); {ledger.progress()}'
        )
    if "pickle" in str(cause) and (stuck := _cannot_be_sent(plan)):
        return UsageError(
            f"the {stuck} of {type(plan.system).__name__} cannot be sent to workers ({cause}); "
            "define classes and functions at the top level of a module, use dask.distributed, "
            "which can send any, or leave out executor"
        )
    if isinstance(cause, UsageError):
        return UsageError(f"{where}: {cause}")
    return ShardError(f"{where} failed: {type(cause).__name__}: {cause}; {ledger.progress()}")


def _full(error: OSError, ledger: Ledger) -> OSError:
    return OSError(
        error.errno,
        f"there is no room left for {ledger.folder} ({error.strerror}): {ledger.progress()}",
    )


def _cannot_be_sent(plan: DatasetPlan) -> str:
    """Return the parts of a plan that cannot be pickled; empty if there are none."""
    options = plan.options
    parts = {
        "system": plan.system,
        "parameters": options.parameters,
        "initial states": options.initial_states,
        "constraints": options.constraints,
        "noise": options.noise,
        "doses": options.doses,
    }
    for name, part in parts.items():
        try:
            pickle.dumps(part)
        except (pickle.PicklingError, AttributeError, TypeError):
            return name
    return ""
