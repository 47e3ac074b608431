"""Calls of compiled functions that need a large stack."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

# Threads have 8 MiB as a rule: a call that needs more than half gets a thread of its own.
USUAL_STACK = 4_000_000  # bytes
# More than this would be a system of about a thousand states.
LARGEST_STACK = 1_000_000_000

_PAGE = 4096
_CHANGING = threading.Lock()


def call_with_stack(size: int, function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function on a stack that has room for about `size` bytes.

    Only the calling thread gets the room: a function that uses further ones must not, beyond
    `USUAL_STACK`.

    Example:
        >>> call_with_stack(10_000_000, print, "done")
        done
    """
    if size <= USUAL_STACK:
        function(*arguments)
        return
    with _CHANGING:
        # The size is a setting of the process for threads that start from now on. Memory is used
        # only where the stack is written to.
        before = threading.stack_size(_PAGE * (2 * size // _PAGE + 1))
        try:
            thread = threading.Thread(target=function, args=arguments)
            thread.start()
        finally:
            threading.stack_size(before)
    try:
        thread.join()
    except BaseException:
        # An interrupt ends the wait, not the call, which still writes to the caller's memory.
        thread.join()
        raise
