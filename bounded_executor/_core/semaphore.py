"""The slots: how many tasks may be unfinished at once, and how many bytes. Threads only, no processes.

Guarantees
    At most ``queue_size`` slots are held at any moment, unless a caller asked for one with
    ``force`` or the backlog of callbacks made the ledger give way; both are counted. Slots are
    granted first come, first served: a newcomer never overtakes a waiter. A waiter that times
    out or is interrupted loses nothing: a slot granted to it in the same instant is either kept
    or passed on. Giving back more slots than are held is an error of the caller's and raises.

    What is held weighs at most ``queue_bytes`` when something is added to it, with one exception:
    while fewer than ``floor`` slots are held, weight keeps nobody waiting. So no worker starves, and
    what is heavier than the whole limit passes too.

The lock
    ``_lock`` guards every field, and those of the waiters, leases and accounts. Nothing is
    done under it but arithmetic and notifying: no user code, no pickling, no waiting. No other lock is
    taken while it is held. The collector may still run a
    ``__del__`` in the middle of it, which :meth:`Ledger.is_mine` lets its caller find out.

Interruptions
    A signal's handler may raise at any bytecode of the main thread. So each slot that was granted and not
    handed on yet belongs to a ``Lease``, and each byte of an unfetched result to an ``Account``: the caller
    that catches the exception gives all of it back by one call, wherever it came. The collector may run such
    a call too, in the middle of another. So a step that several fields take part in is a run of plain
    assignments, with nothing called and no container made in between: there the interpreter runs neither
    handlers nor the collector.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic

from .._locks import RLock
from ..errors import QueueFull, SubmitTimeout

__all__ = ["Account", "Lease", "Ledger", "LedgerCounts", "Waiter"]

# How long one submit is held back while `queue_size` outcomes wait for their callbacks. Long
# enough to slow a producer down to the speed of its callbacks, short enough that a callback
# which waits for the producer's own lock is not felt as a hang.
HOLD_BACK_SECONDS = 0.1
# How often to look whether an event loop was closed before a coroutine on it came to the slot that it was
# granted; asyncio lets no other code know of that.
GONE_SECONDS = 1.0


@dataclass(frozen=True)
class LedgerCounts:
    """What the ledger knows, read at one moment."""

    held: int
    undelivered: int
    above_bound: int
    wait_seconds: float
    weight: int


class Lease:
    """Slots that were granted to a caller that has not handed them on.

    Attributes:
        held: how many, and the bytes that are counted for them; None: there are none.
        waiter: the place in the line, while there is one.
    """

    __slots__ = ("held", "waiter")

    def __init__(self) -> None:
        self.held: tuple[int, int] | None = None
        self.waiter: Waiter | None = None


class Account:
    """Bytes that a map has in the ledger beside those of tasks.

    Attributes:
        weight: how many.
        closed: nothing is added any more.
    """

    __slots__ = ("closed", "weight")

    def __init__(self) -> None:
        self.weight = 0
        self.closed = False


class Waiter:
    """A caller's place in the line for a slot; see :meth:`Ledger.line_up`."""

    __slots__ = ("after_close", "began", "deadline", "error", "gone", "lease", "sizes", "timeout", "wake")

    def __init__(
        self,
        lease: Lease,
        sizes: Sequence[int],
        timeout: float | None,
        wake: Callable[[], object],
        after_close: bool,
        gone: Callable[[], bool] | None,
    ) -> None:
        self.gone = gone
        self.lease = lease
        self.sizes = sizes
        self.timeout = timeout
        self.wake = wake
        self.after_close = after_close
        self.began = monotonic()
        self.deadline = None if timeout is None else self.began + timeout
        self.error: Callable[[], BaseException] | None = None


class Ledger:
    """Hands out and takes back the slots of one executor.

    Args:
        queue_size: slots that may be held at once, at least 1.
        queue_bytes: bytes that what is held may weigh; None for no limit.
        floor: slots that are handed out whatever the weight.

    Attributes:
        freed: called under the lock when slots or bytes may have become free by another than the thread that
            reports outcomes; must neither block nor raise.

    Every method may be called from any thread. Only :meth:`acquire` waits; :meth:`line_up` is for those
    who wait for the same in their own way.
    """

    def __init__(self, queue_size: int, queue_bytes: int | None = None, floor: int = 1) -> None:
        self.queue_size = queue_size
        self.queue_bytes = queue_bytes
        self._floor = floor
        self._weight = 0
        # Slots that are taken back before anybody else gets one.
        self._claimed = 0
        self._lock = RLock()
        self._held = 0
        self._undelivered = 0
        self._above_bound = 0
        self._wait_seconds = 0.0
        self._waiters: deque[Waiter] = deque()
        # Coroutines that were granted slots, have not come to them, and may never do: what tells.
        self._untaken: dict[Lease, Callable[[], bool]] = {}
        # Since when nothing but callbacks holds the first waiter back; None while something else does.
        self._lagging_since: float | None = None
        self._closed: Callable[[], BaseException] | None = None
        self.freed: Callable[[], object] = _nobody
        self._abandoned = False

    def acquire(
        self,
        want: int = 1,
        *,
        lease: Lease | None = None,
        sizes: Sequence[int] = (),
        block: bool = True,
        timeout: float | None = None,
        force: bool = False,
        after_close: bool = False,
    ) -> int:
        """Take up to ``want`` slots, waiting for the first one.

        Args:
            want: slots wanted, at least 1; as many as are free at that moment are granted.
            lease: whose they are; it holds none. None: the caller is not interrupted.
            sizes: bytes that each of them will weigh; without it they weigh nothing.
            block: wait for the first slot; otherwise raise :class:`QueueFull` at once.
            timeout: seconds to wait for the first slot; None waits without limit.
            force: grant one slot at once even when none is free, and count it.
            after_close: the ledger's owner finishing its own work: a closed ledger still grants.

        Returns:
            The number of slots granted, from 1 to ``want``.

        Raises:
            QueueFull: none is free and ``block`` is false.
            SubmitTimeout: none became free in time.
            BaseException: what :meth:`close` was given, when the ledger is or becomes closed.
        """
        sizes = sizes or (0,) * want
        lease = lease or Lease()
        with self._lock:
            if self._untaken:
                self._purge()
            if self._closed is not None and (self._abandoned or not after_close):
                raise self._closed()
            if not self._waiters and self._open(sizes[0]):
                count, size = (1, sizes[0]) if len(sizes) == 1 else self._fitting(sizes)
                return self._grant(lease, count, size)
            if force:
                self._above_bound += not self._open(sizes[0])
                return self._grant(lease, 1, sizes[0])
            if not block:
                raise QueueFull(self._full_message())
        return self._wait(lease, sizes, timeout, after_close)

    def take(self, lease: Lease, size: int) -> bool:
        """Take one slot if one is free; the short way of :meth:`acquire` for most calls."""
        grant = (1, size)
        with self._lock:
            if self._closed is not None or self._waiters or not self._open(size):
                return False
            # As in `_grant`, without a call: this is on the way of every task.
            self._held += 1
            self._weight += size
            lease.held = grant
            return True

    def give_up(self, lease: Lease, *, to_deliver: bool = False) -> None:
        """Give back what a lease holds, and its place in the line; nothing if it has neither.

        Args:
            lease: what holds it.
            to_deliver: as with :meth:`finish`.
        """
        with self._lock:
            try:
                self._leave_line(lease)
                self._untaken.pop(lease, None)
                if self._abandoned:
                    lease.held = None
                if lease.held is not None:
                    slots, size = lease.held
                    late = slots if to_deliver else 0
                    if slots > self._held:
                        raise RuntimeError(f"{slots} slots given back, {self._held} held")
                    self._held -= slots
                    self._weight -= size
                    self._undelivered += late
                    lease.held = None
            finally:
                try:
                    self._serve()
                except BaseException:
                    self._serve()
                    raise
                finally:
                    self.freed()

    def line_up(
        self,
        lease: Lease,
        sizes: Sequence[int],
        timeout: float | None,
        wake: Callable[[], object],
        *,
        after_close: bool = False,
        gone: Callable[[], bool] | None = None,
    ) -> Waiter:
        """Take a place in the line, as :meth:`acquire` does; :meth:`look` and :meth:`step_out` follow.

        Args:
            lease: whose the slots are; :meth:`give_up` takes the place away too.
            sizes: as with :meth:`acquire`.
            timeout: as with :meth:`acquire`.
            wake: called under the lock when it is time to look; must neither block nor raise. It returns
                False where nobody is going to look any more; then the place and its slots are given up.
            after_close: as with :meth:`acquire`.
            gone: tells that the waiter will never look again, so that its slots are given up; takes no lock.
        """
        waiter = Waiter(lease, sizes, timeout, wake, after_close, gone)
        with self._lock:
            if self._closed is not None and (self._abandoned or not after_close):
                waiter.error = self._closed
            lease.waiter = waiter
            self._waiters.append(waiter)
            self._serve()
        return waiter

    def look(self, waiter: Waiter) -> float | None:
        """Return for how many seconds to wait before looking again at the latest; None: it has its slots.

        Raises:
            SubmitTimeout: the time is over.
            BaseException: what :meth:`close` was given.
        """
        with self._lock:
            if self._untaken:
                self._purge()
            if waiter.lease.held is not None:
                self._untaken.pop(waiter.lease, None)
                return None
            if waiter.error is not None:
                raise waiter.error()
            now = monotonic()
            if waiter.deadline is not None and now >= waiter.deadline:
                raise SubmitTimeout(
                    f"no slot became free within submit_timeout={waiter.timeout} seconds: "
                    + self._full_message()
                )
            patience = inf if waiter.deadline is None else waiter.deadline - now
            # What holds the head back may be nothing but callbacks that lag behind. Then
            # its patience has an end, because such a callback may be waiting for a lock
            # that the caller holds.
            if self._waiters[0] is waiter and self._lagging_since is not None:
                left = self._lagging_since + HOLD_BACK_SECONDS - now
                if left <= 0:
                    self._above_bound += 1
                    self._grant(waiter.lease, 1, waiter.sizes[0])
                    return None
                patience = min(patience, left)
            return min(patience, GONE_SECONDS) if self._untaken else patience

    def step_out(self, waiter: Waiter) -> None:
        """Leave the line; what was granted stays the lease's."""
        with self._lock:
            try:
                self._leave_line(waiter.lease)
                self._serve()
            except BaseException:
                self._leave_line(waiter.lease)
                self._serve()
                raise

    def finish(self, count: int = 1, *, size: int = 0, to_deliver: bool = False) -> None:
        """Give slots back because outcomes arrived.

        Args:
            count: slots to give back.
            size: bytes that go with them.
            to_deliver: their callbacks are still to run; :meth:`delivered` follows for each.
        """
        with self._lock:
            if self._abandoned:
                return
            if count > self._held:
                raise RuntimeError(f"{count} slots given back, {self._held} held")
            self._held -= count
            self._weight -= size
            if to_deliver:
                self._undelivered += count
            self._serve()

    def weigh(self, account: Account, size: int) -> None:
        """Add bytes that are there already, whether they fit or not; negative: they are gone.

        Nothing happens where the account is closed.
        """
        with self._lock:
            if account.closed or self._abandoned:
                return
            if size < 0:
                self._discharge(account, -size)
            else:
                self._weight += size
                account.weight += size

    def settle(self, account: Account) -> None:
        """Take off all that an account has, and close it."""
        with self._lock:
            account.closed = True
            if not self._abandoned:
                self._discharge(account, account.weight)

    def reclaim(self, count: int) -> bool:
        """Take back slots that were given back before their task was done, ahead of all that wait.

        Returns:
            Whether they could be had at once. If not, nobody else is granted the next ones to become
            free, until this is called again; 0 gives up such a claim.
        """
        with self._lock:
            if self._untaken:
                self._purge()
            had = self._held + count <= self.queue_size or not self._held
            if had:
                self._held += count
            self._claimed = 0 if had else count
            self._serve()
            return had

    def delivered(self, count: int = 1) -> None:
        """Note that the callbacks of so many outcomes have completed."""
        with self._lock:
            if self._abandoned:
                return
            if count > self._undelivered:
                raise RuntimeError("an outcome was delivered twice")
            self._undelivered -= count
            self._serve()

    def keep_busy(self, floor: int) -> None:
        """Hand out so many slots from now on whatever the weight: there are more workers, or fewer."""
        with self._lock:
            self._floor = floor
            self._serve()

    def free(self, size: int = 0) -> int:
        """Return how many slots a newcomer would get now without waiting.

        Args:
            size: bytes that the first of them would weigh.
        """
        with self._lock:
            if not self._open(size) or self._waiters:
                return 0
            return self.queue_size - self._held - self._claimed

    def room(self) -> int | None:
        """Return how many more bytes fit; None for no limit. Takes no lock."""
        return None if self.queue_bytes is None else max(0, self.queue_bytes - self._weight)

    def close(self, error: Callable[[], BaseException], *, after_close: bool = False) -> None:
        """Refuse every further :meth:`acquire` and wake all that wait, with a fresh error each.

        Slots that are held stay held until they are given back.

        Args:
            error: makes the error.
            after_close: wake those too that wait with ``after_close``.
        """
        with self._lock:
            self._closed = error
            try:
                self._refuse_waiters(after_close)
            except BaseException:
                # Interrupted: no waiter may be left without the error.
                self._refuse_waiters(after_close)
                raise

    def abandon(self, error: Callable[[], BaseException]) -> None:
        """Close, and count nothing any more: a fault of the executor's own has made the counts unknown."""
        with self._lock:
            self._abandoned = True
            self._held = self._weight = self._claimed = self._undelivered = 0
        self.close(error, after_close=True)

    def counts(self) -> LedgerCounts:
        """Return the counters, all read in one moment."""
        with self._lock:
            return LedgerCounts(
                self._held, self._undelivered, self._above_bound, self._wait_seconds, self._weight
            )

    def is_mine(self) -> bool:
        """Return whether this very thread is in the middle of one of these methods."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    # Below: only with the lock held.

    def _fits(self, size: int, more: int = 0) -> bool:
        """Return whether one slot is free whose bytes fit, in addition to ``more`` that are granted."""
        held = self._held + more
        if held + self._claimed >= self.queue_size:
            return False
        return self.queue_bytes is None or held < self._floor or self._weight + size <= self.queue_bytes

    def _open(self, size: int) -> bool:
        return self._undelivered < self.queue_size and self._fits(size)

    def _refuse_waiters(self, after_close: bool) -> None:
        kept: deque[Waiter] = deque()
        for waiter in list(self._waiters):
            if waiter.after_close and not after_close:
                kept.append(waiter)
            else:
                waiter.error = self._closed
                waiter.wake()
        self._waiters = kept
        self._lagging_since = None
        self._serve()

    def _fitting(self, sizes: Sequence[int]) -> tuple[int, int]:
        """Return how many of the first slots may be granted now, and their bytes; the first one may."""
        count, size = len(sizes), sum(sizes)
        enough = self._held + self._claimed + count <= self.queue_size
        if enough and (self.queue_bytes is None or self._weight + size <= self.queue_bytes):
            return count, size
        weight = 0
        for number, size in enumerate(sizes):
            if not self._fits(weight + size, number):
                return number, weight
            weight += size
        return count, weight

    def _grant(self, lease: Lease, count: int, size: int) -> int:
        grant = (count, size)
        self._held += count
        self._weight += size
        lease.held = grant
        return count

    def _discharge(self, account: Account, size: int) -> None:
        self._weight -= size
        account.weight -= size
        try:
            self._serve()
        except BaseException:
            self._serve()
            raise
        finally:
            self.freed()

    def _serve(self) -> None:
        """Grant what can be granted. It may be interrupted anywhere, and is to be called again then."""
        while self._waiters:
            waiter = self._waiters[0]
            lease = waiter.lease
            if lease.held is None:
                held, weight = self._held, self._weight
                if not self._open(waiter.sizes[0]):
                    break
                count, size = grant = self._fitting(waiter.sizes)
                if lease.waiter is not waiter or self._held != held or self._weight != weight:
                    # The collector has had another step run in the middle of this one.
                    continue
                self._held += count
                self._weight += size
                lease.held = grant
            # Woken while it is in the line: an interruption in between lets no waiter sleep on.
            if waiter.wake() is False:
                self.give_up(lease)
                continue
            if waiter.gone is not None:
                self._untaken[lease] = waiter.gone
            self._leave_line(lease)
        if not self._waiters or not self._fits(self._waiters[0].sizes[0]):
            self._lagging_since = None
        elif self._lagging_since is None:
            self._lagging_since = monotonic()
            self._waiters[0].wake()

    def _purge(self) -> None:
        """Give up the slots of those that will never come to them."""
        for lease, gone in list(self._untaken.items()):
            if gone():
                self.give_up(lease)

    def _leave_line(self, lease: Lease) -> None:
        waiter = lease.waiter
        if waiter is None:
            return
        if self._waiters and self._waiters[0] is waiter:
            self._lagging_since = None
            self._waiters.popleft()
        elif waiter in self._waiters:
            self._waiters.remove(waiter)
        self._wait_seconds += monotonic() - waiter.began
        lease.waiter = None

    def _wait(self, lease: Lease, sizes: Sequence[int], timeout: float | None, after_close: bool) -> int:
        # Not a condition: one whose wait is interrupted may come back without its lock.
        turn = threading.Lock()
        turn.acquire()

        def wake() -> None:
            # Under the ledger's lock, so that two do not come at once.
            if turn.locked():
                turn.release()

        try:
            waiter = self.line_up(lease, sizes, timeout, wake, after_close=after_close)
            while (patience := self.look(waiter)) is not None:
                turn.acquire(timeout=-1 if patience == inf else min(patience, threading.TIMEOUT_MAX))
            self.step_out(waiter)
        except BaseException:
            self.give_up(lease)
            raise
        assert lease.held is not None
        return lease.held[0]

    def _full_message(self) -> str:
        weight = (
            "" if self.queue_bytes is None else f" ({self._weight} bytes of queue_bytes={self.queue_bytes})"
        )
        return (
            f"{self._held} of queue_size={self.queue_size} tasks are unfinished{weight}, "
            f"{self._undelivered} outcomes wait for their callbacks, "
            f"{len(self._waiters)} callers wait for a slot"
        )


def _nobody() -> None:
    """Stand in where no claim can be made."""
