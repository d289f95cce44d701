"""Where work is that no worker has: in line, parked, or resting.

A piece of work is in exactly one of these places, and whoever takes it out of there gives its slots back:
that is what makes it exactly once.

``_lock`` guards all of them, the phase, and the counters. Nothing is done under it but moving work: no user
code, no pickling, no other lock. The collector may still run a ``__del__`` in the middle of it, which
:meth:`Queue.is_mine` lets its caller find out.
"""

from __future__ import annotations

from collections import OrderedDict

from .._locks import RLock
from . import batching
from .lifecycle import ErrorFactory, Phase
from .parked import Parked
from .retries import Resting
from .work import Work

__all__ = ["Queue"]


class Queue:
    """The work that waits. Every method is one step.

    Attributes:
        phase: how far the executor is on its way to its end. Reading it needs no lock.
        items: those of work in line or parked. Reading it needs no lock.
        parked: true while any work is parked. Reading that needs no lock.
    """

    def __init__(self) -> None:
        self.phase = Phase()
        self.items = 0
        self._lock = RLock()
        self._line: OrderedDict[int, Work] = OrderedDict()
        self.parked = Parked()
        self._resting = Resting()
        self._submitted = 0
        self._cancelled = 0

    def accept(self, work: Work, after_close: bool) -> bool:
        """Put new work at the end of the line, if new work is accepted; its slots are the queue's then."""
        count = work.count
        with self._lock:
            accepted = self.phase.accepts(after_close)
            if accepted:
                # Nothing is called in between: see `_core.semaphore`.
                self._line[work.ident] = work
                self.items += count
                self._submitted += count
                work.held = None
            return accepted

    def pop(self, hand: list[Work]) -> Work | None:
        """Take the first of the line. If its sink is full it is parked instead, and marked as such.

        Args:
            hand: has the work from before it is taken out.
        """
        with self._lock:
            if not self._line:
                return None
            work = next(iter(self._line.values()))
            hand.append(work)
            del self._line[work.ident]
            phase = self.phase
            if not phase.is_closed and work.error is None and work.sink.full(work):
                self.parked.add(work)
            return work

    def joining(self, first: Work, most: int, hand: list[Work]) -> list[Work]:
        """Take what may travel with work that was popped, and that, for good; ``hand`` has it before."""
        with self._lock:
            works = batching.gather(first, self._line, most)
            hand += works
            for work in works[1:]:
                del self._line[work.ident]
            self.items -= sum(work.count for work in works)
        return works

    def leave(self, work: Work) -> None:
        """Note that work which was popped does not come back."""
        with self._lock:
            self.items -= work.count

    def come_back(self, work: Work) -> bool:
        """Put work that was popped a moment ago where it was; False: everything is being cancelled."""
        with self._lock:
            cancelling = self.phase.is_cancelling
            if cancelling:
                self.items -= work.count
            else:
                self._put_first(work)
        return not cancelling

    def put_first(self, works: list[Work]) -> tuple[ErrorFactory | None, bool]:
        """Put work that a worker had at the head of the line, unless everything fails or is cancelled.

        Returns:
            What makes the errors, and whether all is being cancelled; in both cases nothing was put.
        """
        with self._lock:
            make, cancelling = self.phase.error, self.phase.is_cancelling
            if make is None and not cancelling:
                for work in reversed(works):
                    self._put_first(work)
                    self.items += work.count
        return make, cancelling

    def rest(self, work: Work, seconds: float, wanted: bool) -> tuple[ErrorFactory | None, bool]:
        """Let work rest if it is wanted; otherwise as :meth:`put_first`."""
        with self._lock:
            make, cancelling = self.phase.error, self.phase.is_cancelling
            if make is None and not cancelling and wanted:
                self._resting.add(work, seconds)
        return make, cancelling

    def rouse(self) -> float | None:
        """Put what has rested long enough at the head of the line; return when the next is due."""
        if not self._resting:
            return None
        with self._lock:
            for work in reversed(self._resting.due()):
                self._put_first(work)
                self.items += work.count
            return self._resting.next()

    def first_parked(self) -> Work | None:
        """Return the first parked work that need not be any longer."""
        with self._lock:
            firsts = self.parked.firsts()
        return next((one for one in firsts if self.phase.is_closed or not one.sink.full(one)), None)

    def unpark(self, work: Work) -> bool:
        """Take parked work out; False when it is not there any more."""
        with self._lock:
            return self.parked.remove(work)

    def remove(self, work: Work, *, count: bool = True) -> bool:
        """Take out work that is never started, wherever it is; False when it is not here any more.

        Its slots are held by itself then. Where the caller was interrupted, ``work.dropped`` tells.

        Args:
            work: what is taken out.
            count: it counts as cancelled.
        """
        held = (work.slots, work.weight())
        waiting = work.count
        cancelled = waiting if count else 0
        with self._lock:
            if work.dropped:
                return False
            if work.ident in self._line:
                # Nothing is called in between: see `_core.semaphore`.
                del self._line[work.ident]
            elif work in self._resting:
                waiting = 0
            elif work not in self.parked:
                return False
            self.items -= waiting
            self._cancelled += cancelled
            work.held = held
            work.dropped = True
            try:
                self._forget(work)
            except BaseException:
                self._forget(work)
                raise
            return True

    def _forget(self, work: Work) -> None:
        self.parked.discard(work)
        self._resting.discard(work)

    def all(self) -> list[Work]:
        """Return all work, wherever it is."""
        with self._lock:
            return [*self._line.values(), *self.parked, *self._resting]

    def clear(self) -> list[Work]:
        """Take out everything."""
        with self._lock:
            works = [*self._line.values(), *self.parked.take()]
            self._line.clear()
            self.items -= sum(work.count for work in works)
            return works + self._resting.take()

    def close(self) -> None:
        """Accept no more from users."""
        with self._lock:
            self.phase.is_closed = True

    def drain(self) -> None:
        """Accept no more from anybody."""
        with self._lock:
            self.phase.is_drained = True

    def cancel(self) -> None:
        """Have cancelled whatever comes back."""
        with self._lock:
            self.phase.is_cancelling = True

    def break_(self, make_error: ErrorFactory) -> bool:
        """Have failed whatever comes back; False when it has been so before."""
        with self._lock:
            first = self.phase.error is None
            if first:
                self.phase.error = make_error
        return first

    def count_cancelled(self, count: int) -> None:
        """Note that so many items are never started."""
        with self._lock:
            self._cancelled += count

    def counters(self) -> tuple[int, int, int]:
        """Return items submitted, waiting and cancelled, read in one moment."""
        with self._lock:
            return self._submitted, self.items, self._cancelled

    def is_mine(self) -> bool:
        """Return whether this very thread is in the middle of one of these methods."""
        return self._lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    @property
    def works(self) -> int:
        """Pieces of work that will be started in any case. Takes no lock."""
        parked = len(self.parked) if self.phase.is_closed else 0
        return len(self._line) + len(self._resting) + parked

    def _put_first(self, work: Work) -> None:
        self._line[work.ident] = work
        self._line.move_to_end(work.ident, last=False)
