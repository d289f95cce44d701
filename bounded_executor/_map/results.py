"""What a map's tasks have brought and nobody has fetched yet.

``_lock`` guards everything. The backend's thread puts outcomes in, the consumer takes them out; no
user code runs and no other lock is taken while it is held. Weights are counted outside of it, in an account
of the ledger: each outcome's weight is added once, by the thread that put it, and taken off once, by the one
that removed it, or with all others when the account is settled.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from .._core.semaphore import Account, Ledger
from .._locks import RLock
from .._serialize.outcomes import Group

__all__ = ["Outcome", "Results"]

Outcome = Callable[[], Any] | Group  # a call returns the result or raises the error


class Results:
    """Keeps outcomes by their index, and weighs them in the ledger.

    Args:
        ledger: where they weigh as much as their pickles are long.
        unordered: hand them out in the order in which they came.
    """

    def __init__(self, ledger: Ledger, unordered: bool) -> None:
        self.closed = False
        self._ledger = ledger
        self._unordered = unordered
        self._account = Account()
        self._lock = RLock()
        # Free when there is something new for the consumer, which waits. Not a condition: one whose wait is
        # interrupted by a signal's handler may come back without its lock.
        self._waits = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._ready: dict[int, tuple[Outcome, int]] = {}  # with its weight
        self._order: deque[int] = deque()
        self._cancelled: deque[int] = deque()
        self._rest: Outcome | None = None  # that of all which never come
        self._wanted = 0
        self._put_bytes = 0

    def put(self, index: int, outcome: Outcome, size: int = 0, *, quietly: bool = False) -> None:
        """Keep an outcome, unless nobody wants any.

        Args:
            index: the item's, or the first item's of several.
            outcome: how it ended.
            size: bytes of its pickle.
            quietly: :meth:`ring` follows.
        """
        with self._lock:
            if self.closed:
                return
            self._put_bytes += size
            self._ready[index] = outcome, size
            if self._unordered:
                self._order.append(index)
            if not quietly:
                self._wake()
        if size:
            self._ledger.weigh(self._account, size)

    def ring(self) -> None:
        """Wake whoever waits for what was put quietly; not for what he does not wait for yet."""
        with self._lock:
            if self._unordered or self._wanted in self._ready:
                self._wake()

    def cancel(self, index: int, outcome: Outcome) -> None:
        """Keep the end of an item that is never started; unordered, it comes after all that is."""
        with self._lock:
            if self.closed:
                return
            self._ready[index] = outcome, 0
            if self._unordered:
                self._cancelled.append(index)
            self._wake()

    def break_off(self, outcome: Outcome) -> None:
        """Have this be the outcome of all that have none; no more come."""
        with self._lock:
            self._rest = outcome
            self._wake()

    def take(self, index: int, outstanding: int, deadline: float | None) -> Outcome | None:
        """Wait for the outcome of ``index``, or for any if unordered; None when it is too late.

        It may be that of the items which follow as well.

        Args:
            index: the item wanted.
            outstanding: items in all that were not taken yet.
            deadline: on the clock of ``time.monotonic``; None for no limit.
        """
        while True:
            with self._lock:
                self._wanted = index
                if self._unordered and not self._order and len(self._cancelled) >= outstanding:
                    self._order.append(self._cancelled.popleft())
                if self._order if self._unordered else index in self._ready:
                    outcome, weight = self._ready.pop(self._order.popleft() if self._unordered else index)
                    break
                if self._rest is not None:
                    return self._rest
                self._waits = True
            left = -1.0
            if deadline is not None:
                left = min(deadline - monotonic(), threading.TIMEOUT_MAX)
                if left <= 0:
                    return None
            self._bell.acquire(timeout=left)
        if weight:
            self._ledger.weigh(self._account, -weight)
        return outcome

    def make_weightless(self) -> None:
        """Keep all, also later ones, outside the bound."""
        self._ledger.settle(self._account)

    def bytes_so_far(self) -> int:
        """Return what all outcomes together weighed that were ever put here."""
        with self._lock:
            return self._put_bytes

    def close(self) -> None:
        """Drop what is there, and what comes."""
        with self._lock:
            self.closed = True
            self._ready.clear()
            self._order.clear()
            self._cancelled.clear()
        self._ledger.settle(self._account)

    def _wake(self) -> None:
        """Ring for the consumer; with the lock held, so that two do not ring at once."""
        if self._waits and self._bell.locked():
            self._waits = False
            self._bell.release()
