"""Where the shards of `warp-phys simulate` are made: local processes, or a dask cluster."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

from warp_phys.systems.errors import UsageError


@contextlib.contextmanager
def executor_of(workers: int | None, scheduler: str | None) -> Iterator[Executor | None]:
    """Yield the executor that makes shards: processes, a cluster, or None for this process."""
    if workers is not None and scheduler is not None:
        raise UsageError("expected --workers or --scheduler, got both; leave out one")
    if scheduler is not None:
        with _client(scheduler) as client:
            yield client.get_executor()
    elif workers is None or workers == 1:
        yield None
    else:
        with _pool(workers) as pool:
            yield pool


def _pool(workers: int) -> Executor:
    """Return new processes ("spawn"), which inherit no thread or lock from this one."""
    from concurrent.futures import ProcessPoolExecutor

    if workers < 1:
        raise UsageError(f"expected --workers of 1 or more, got {workers}")
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent)


def _end_with_parent() -> None:
    """End this worker when the process that started it dies; otherwise it would wait forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _client(address: str) -> Any:
    """Return a client of a dask.distributed cluster."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            '--scheduler needs dask.distributed: pip install "warp-phys[cluster]"'
        ) from None
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise UsageError(f"no dask scheduler answers at {address}: {error}") from error
