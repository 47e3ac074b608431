"""Sends pieces of work to an executor, a bounded number at a time."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Executor,
    Future,
    wait,
)
from typing import Any, TypeAlias

from warp_phys.systems.errors import UsageError

Piece: TypeAlias = tuple[int, Callable[[], tuple[Any, ...]]]
"""The number of a piece of work, and what gives the arguments of its call."""

Results: TypeAlias = Generator[tuple[int, Any], None, None]

_FOR_EACH_WORKER = 4
_UNKNOWN = 64
"""Pieces under way where an executor does not tell how many workers it has."""


class WorkFailedError(Exception):
    """A piece of work failed; the error is the cause, and `number` is that of the piece."""

    def __init__(self, number: int) -> None:
        super().__init__(f"piece {number} failed")
        self.number = number


def results(
    function: Callable[..., Any], work: Iterable[Piece], executor: Executor | None
) -> Results:
    """Yield (number, result) of every piece of work, in the order of completion.

    After a failure no more pieces are sent; those already sent are awaited and yielded.

    Args:
        function: The function that is called; it must be picklable.
        work: The pieces.
        executor: Any `concurrent.futures.Executor`; None for this process.

    Raises:
        WorkFailedError: After all that succeeded, where one failed.
        UsageError: `executor` is something else.
    """
    if executor is None:
        return (_here(function, *piece) for piece in work)
    if not hasattr(executor, "submit"):
        raise UsageError(
            "expected executor as a concurrent.futures.Executor, such as ProcessPoolExecutor(8) "
            f"or Client.get_executor() of dask.distributed, got {executor!r}"
        )
    return _Sender(function, iter(work), executor).results()


def _here(
    function: Callable[..., Any], number: int, arguments: Callable[[], tuple[Any, ...]]
) -> tuple[int, Any]:
    try:
        return number, function(*arguments())
    except Exception as error:
        raise WorkFailedError(number) from error


class _Sender:
    """The pieces that an executor is working on, and the first failure."""

    def __init__(
        self, function: Callable[..., Any], work: Iterator[Piece], executor: Executor
    ) -> None:
        self.function = function
        self.work = work
        self.executor = executor
        self.limit = _limit(executor)
        self.running: dict[Future[Any], int] = {}
        self.failed: tuple[int, BaseException] | None = None

    def results(self) -> Results:
        try:
            self._send()
            while self.running:
                for future in wait(self.running, return_when=FIRST_COMPLETED).done:
                    number = self.running.pop(future, None)
                    if number is None:  # taken back meanwhile
                        continue
                    error = _error_of(future)
                    if error is None:
                        yield number, future.result()
                    else:
                        self._stop(number, error)
                self._send()
        finally:
            self._cancel()
        if self.failed is not None:
            raise WorkFailedError(self.failed[0]) from self.failed[1]

    def _send(self) -> None:
        """Send pieces until the limit is reached or none is left."""
        while self.failed is None and len(self.running) < self.limit:
            number, arguments = next(self.work, (-1, None))
            if arguments is None:
                return
            try:
                future = self.executor.submit(self.function, *arguments())
            except Exception as error:
                self._stop(number, error)
            else:
                self.running[future] = number

    def _stop(self, number: int, error: BaseException) -> None:
        self.failed = self.failed or (number, error)
        self._cancel()

    def _cancel(self) -> None:
        """Cancel pieces that have not started; an executor may never report their cancellation."""
        self.running = {one: number for one, number in self.running.items() if not one.cancel()}


def _error_of(future: Future[Any]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def _limit(executor: Executor) -> int:
    """Return how many pieces to keep in flight: several for each worker, so that none is idle."""
    client = getattr(executor, "_client", None)
    if client is not None:  # of dask.distributed, where workers come and go
        return max(_UNKNOWN, _FOR_EACH_WORKER * sum(client.nthreads().values()))
    # The attribute is public in mpi4py and private in the standard library.
    workers = getattr(executor, "num_workers", None) or getattr(executor, "_max_workers", None)
    return _FOR_EACH_WORKER * workers if workers else _UNKNOWN
