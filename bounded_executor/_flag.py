"""An event whose callers a signal's handler may interrupt anywhere.

One of :mod:`threading` may keep its own lock then, and every other caller waits without end.
"""

from __future__ import annotations

import queue

__all__ = ["Flag"]


class Flag:
    """Is set or not; threads wait until it is. Every method may be called from any thread, and takes no lock.

    Args:
        is_set: whether it is set at first.
    """

    def __init__(self, *, is_set: bool = False) -> None:
        self._is_set = is_set
        self._waiters: set[queue.SimpleQueue[None]] = set()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it and wake all that wait; to be called again where it was interrupted."""
        self._is_set = True
        for waiter in self._waiters.copy():
            waiter.put(None)

    def clear(self) -> None:
        """Have those wait that come from now on."""
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, for so many seconds at most; return whether it is."""
        if self._is_set:
            return True
        waiter: queue.SimpleQueue[None] = queue.SimpleQueue()
        try:
            self._waiters.add(waiter)
            # Only now: it may have been set before there was a waiter to wake.
            if not self._is_set:
                waiter.get(timeout=timeout)
        except queue.Empty:
            pass
        finally:
            self._waiters.discard(waiter)
        return self._is_set
