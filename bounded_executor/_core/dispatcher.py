"""From a submitted call to its future: the waiting queue, and what becomes of each outcome.

    submit ──> waiting ──take──> backend ──outcome/fail_item──> sink ──> delivery thread ──> future
                │  ↑↓  ↑            │                             └───> a map's own buffer
             cancel parked └─ resting <─ again

The dispatcher knows no processes. A backend pulls: whenever it could keep another worker busy it
calls :meth:`Dispatcher.take`, and later reports each item's end by :meth:`Dispatcher.outcome` or
:meth:`Dispatcher.fail_item`, or hands it back by :meth:`Dispatcher.give_back` or
:meth:`Dispatcher.again`. What no backend has is in the ``Queue`` (:mod:`._queue`), which has the only lock.

Where tasks are short and several wait, one piece of work is made of them, and the backend hears of
none but that (:mod:`._batches` says of how many). Calls that a worker was given and has not begun are
taken apart again, and can be cancelled as before.

Work is parked when its sink cannot take more results now: it has given its slots back, since what
nobody fetches must not hold them, and gets them back before anybody else is granted one.

Work whose worker died may be run again, after a rest. It keeps its slots meanwhile. What has lost its
worker twice for no reason of its own is run alone, with no other beside it: if the worker ends once
more, there is nobody else to blame.

A backend calls ``take``, ``outcome``, ``give_back``, ``again`` and ``fail_item`` from one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import monotonic

from .._log import Log
from . import batching
from .callbacks import Delivery
from .completion import Arrivals
from .lifecycle import ErrorFactory
from .queue import Queue
from .semaphore import GONE_SECONDS, Ledger
from .work import Sink, Work

__all__ = ["Dispatcher"]

_log = Log()

# Work that has lost its worker so often beside others is run alone.
SUSPECT_LOSSES = 2


class Dispatcher(Arrivals):
    """The queue between those who submit and the backend that runs the work.

    Args:
        ledger: the slots; every item of accepted work holds one until its outcome arrives.
        delivery: the thread that resolves futures.

    Attributes:
        wake: tells the backend that :meth:`take` may return something now; set by the backend.
        hungry: the backend has a worker with nothing to do, or may start one. If not, it comes by itself
            as soon as it has, and is not woken for work that waits. Set by the backend, before it looks
            for the last time whether anything waits.
        batch_seconds: how long short tasks that travel together should take. Set by the backend.
    """

    def __init__(self, ledger: Ledger, delivery: Delivery | None = None) -> None:
        super().__init__(ledger)
        self.delivery = delivery or Delivery(ledger)
        self.wake: Callable[[], None] = _nobody
        self.hungry = True
        self.batch_seconds = batching.BATCH_SECONDS
        self._queue = Queue()
        self._phase = self._queue.phase
        # Work that is, or was in this round of the backend's thread, neither in the queue nor with it:
        # after a fault nothing else may know of it.
        self.in_hand: list[Work] = []
        self._claiming = False
        ledger.freed = self._freed

    def submit(self, work: Work, *, after_close: bool = False) -> None:
        """Accept work that holds slots.

        Raises:
            RuntimeError: the dispatcher is closed.
            BaseException: the error it broke with. :meth:`withdraw` is to follow an error.
        """
        if not self._queue.accept(work, after_close):
            raise self._phase.refusal()
        if self.hungry:
            self.wake()

    def withdraw(self, work: Work) -> None:
        """Give back the slots of work that was not accepted, or have it run if it was.

        For a caller that has caught an exception in the middle of acquiring slots and submitting, perhaps
        one that a signal's handler has raised. Such handlers may interrupt this too.
        """
        done = False
        while not done:
            try:
                self.ledger.give_up(work)
                if self.hungry:
                    self.wake()
                done = True
            except BaseException:
                continue

    def take(
        self,
        limit: int | None = None,
        *,
        beside: int = 0,
        among: int | None = None,
        within: float | None = None,
        result_bytes: int | None = None,
    ) -> Work | None:
        """Return the next work to hand to a worker, None when nothing waits or it must not run now.

        Args:
            limit: items that the worker may run; longer work is split and its rest stays first.
            beside: pieces of work that run already.
            among: workers that share what waits, if short tasks may travel together; None: they may not.
            within: seconds that its tasks should take at most, as far as is known; None: any time.
            result_bytes: what results of tasks that need not stay together may weigh, as far as is known.
        """
        while True:
            work = self._next()
            if work is None:
                return None
            if (beside and self.runs_alone(work)) or not batching.is_done_within(work, within):
                self._return(work)
                return None
            keep = work.count if limit is None else min(limit, work.count)
            if result_bytes is not None and work.joins:
                keep = min(keep, batching.lightest(work, result_bytes))
            if keep < work.count:
                self._return(work.rest(keep))
            if among is not None and work.joins:
                most = batching.most(work, self._queue.items, among, limit, self.batch_seconds)
                if most > work.count:
                    joined = self._take_joined(work, most)
                    if joined is not None:
                        return joined
                    continue
            self._queue.leave(work)
            if work.sink.start():
                return work
            self.drop(work)

    def _take_joined(self, first: Work, most: int) -> Work | None:
        """Return what was taken and what waits behind it as one piece; None where nobody wants any of it."""
        wanted = []
        for work in self._queue.joining(first, most, self.in_hand):
            if work.sink.start():
                wanted.append(work)
            else:
                self.drop(work)
        if len(wanted) < 2:
            return wanted[0] if wanted else None
        return wanted[0].join(wanted[1:])

    def _return(self, work: Work) -> None:
        """Put work back at the head of the queue from where it was taken a moment ago."""
        if not self._queue.come_back(work):
            self._cancel(work)

    def runs_alone(self, work: Work) -> bool:
        """Return whether nothing else may run beside this work."""
        return work.losses >= SUSPECT_LOSSES

    def _next(self) -> Work | None:
        """Take the first work out of the queue that may be started now."""
        while True:
            # Anew after each one that was parked: its slots may be those that this waits for.
            work = self._unpark()
            if work is not None:
                return work
            work = self._queue.pop(self.in_hand)
            if work is None:
                return None
            if not work.parked:
                return work
            self.ledger.finish(work.count)

    def _unpark(self) -> Work | None:
        """Take the first parked work that need not be any longer, if its slots can be had."""
        if not self.parking and not self._claiming:
            return None
        work = self._queue.first_parked()
        had = self.ledger.reclaim(0 if work is None else work.count)
        self._claiming = not had
        if work is None or not had:
            return None
        self.in_hand.append(work)
        if not self._queue.unpark(work):
            # It was cancelled in between.
            self.ledger.finish(work.count)
            return None
        return work

    def give_back(self, work: Work, *, skip: int = 0, losses: int = 0, refused: bool = False) -> None:
        """Note that the worker runs none of the items without an outcome: they go to the front.

        Args:
            work: what the worker had.
            skip: so many of them stay the caller's.
            losses: so many workers were lost by it, though who is to blame cannot be told. Then no item
                travels with others any more.
            refused: the worker goes on and was stopped, so that others may run them.

        Raises:
            RuntimeError: some of the items have an outcome.
        """
        start = work.done + skip
        if skip < 0:
            raise RuntimeError(
                f"{work.name}: items {start} to {work.done - 1} were to run again, which are done"
            )
        if start >= work.count:
            return
        rest = work.rest(start) if start else work
        if refused:
            self._count_refusal(rest)
        # The worker may still say that it did not begin this, when it has been given it once more.
        rest.number_anew()
        pieces = rest.singly() if losses or rest.refusals >= batching.MOST_REFUSALS else rest.apart()
        self.in_hand += pieces
        for piece in pieces:
            piece.losses += losses
        make, cancelling = self._queue.put_first(pieces)
        for piece in pieces:
            if make is not None:
                self._fail(piece, make)
                continue
            if piece.error is None:
                piece.sink.wait_again(partial(self.discard, piece))
            if cancelling:
                self._cancel(piece)

    def _count_refusal(self, work: Work) -> None:
        """Have work that is given and taken back again and again run by itself, so that none refuses it."""
        work.refusals += 1
        if work.refusals == batching.MOST_REFUSALS:
            _log.warning(
                "%s: %d tasks were given to a worker and taken back %d times in a row without an outcome. "
                "Each now runs by itself. This is a fault of bounded_executor: please report it.",
                work.name,
                work.count,
                batching.MOST_REFUSALS,
            )

    def again(self, work: Work, seconds: float, error: BaseException) -> bool:
        """Run an item once more, unless everything ends or nobody wants it any more.

        Args:
            work: the item, as :meth:`Work.current` returned it.
            seconds: not before so many have passed.
            error: what it fails with if it is not to be run any more.

        Returns:
            Whether it is going to be run.
        """
        self.in_hand.append(work)
        work.error = error
        # It may cost its process again.
        work.joins = False
        wanted = work.sink.start()
        make, cancelling = self._queue.rest(work, seconds, wanted)
        if make is not None:
            self._fail(work, make)
        elif cancelling:
            self._cancel(work)
        elif not wanted:
            self.drop(work)
        return make is None and not cancelling and wanted

    def discard(self, work: Work) -> bool:
        """Take work that nobody wants out of the queue; False when a worker was given it already."""
        return self._discard(work, None)

    def _discard(self, work: Work, error: BaseException | None) -> bool:
        """Take work out of the queue: it is cancelled, or fails with this error."""
        found = False
        try:
            found = self._queue.remove(work, count=error is None)
            if found:
                self._end_dropped(work, error)
        except BaseException:
            # Interrupted by a signal's handler.
            if work.dropped:
                self._end_dropped(work, error)
            raise
        return found

    def discard_sink(self, sink: Sink) -> None:
        """Discard all waiting work of one sink."""
        for work in self._queue.all():
            if work.sink is sink:
                self.discard(work)

    def refuse(self) -> None:
        """Refuse new work from now on; takes no lock, and :meth:`close` is to follow."""
        self._phase.is_closed = True

    def close(self) -> None:
        """Refuse new work and wake callers that wait for a slot; what waits is still run."""
        self._queue.close()
        self.ledger.close(self._phase.refusal)

    def drain(self) -> None:
        """Let the backend end once nothing waits any more; comes after :meth:`close`."""
        self._queue.drain()

    def cancel_waiting(self) -> None:
        """Cancel all work that no worker has been given, and what a dying worker leaves undone.

        What has been run before is past cancelling: it fails with what befell it.
        """
        self._queue.cancel()
        self.ledger.close(self._phase.refusal, after_close=True)
        for work in self._queue.all():
            self._discard(work, work.error)

    def break_(self, make_error: ErrorFactory) -> None:
        """Fail all that waits, now and later, each with an error object of its own."""
        if not self._queue.break_(make_error):
            return
        works = self._queue.clear()
        self.ledger.close(make_error, after_close=True)
        for work in works:
            if work.sink.start():
                self._fail(work, make_error)
            else:
                self.drop(work)

    def break_off(self, works: Iterable[Work], make_error: ErrorFactory) -> None:
        """Fail all that has no outcome, after a fault that leaves the state of everything else unknown.

        Nothing is counted from here on, and nothing raised.

        Args:
            works: what the backend has.
            make_error: makes the errors.
        """
        lost = [*works, *self.in_hand]
        self._queue.break_(make_error)
        lost += self._queue.clear()
        self.ledger.abandon(make_error)
        # What has arrived is known, and is not lost.
        for let_know in self._arrived:
            try:
                let_know()
            except BaseException:
                _log.debug("an outcome was not delivered", exc_info=True)
        self._arrived.clear()
        for work in lost:
            try:
                work.sink.break_off(make_error)
            except BaseException:
                _log.debug("%s could not be given its error", work.name, exc_info=True)

    def check(self) -> None:
        """Raise what :meth:`submit` would raise, if it would."""
        self._phase.check()

    def is_mine(self) -> bool:
        """Return whether this very thread is in the middle of one of these methods, or of the ledger's."""
        return self._queue.is_mine() or self.ledger.is_mine()

    @property
    def broken(self) -> bool:
        return self._phase.error is not None

    @property
    def closed(self) -> bool:
        return self._phase.is_closed or self._phase.error is not None

    @property
    def drained(self) -> bool:
        """Whether the backend may end as soon as nothing waits."""
        return self._phase.is_drained or self._phase.error is not None

    @property
    def waiting(self) -> int:
        """Items that no worker has been given."""
        return self._queue.items

    @property
    def waiting_works(self) -> int:
        """Pieces of work that no worker has, and that will be started in any case."""
        return self._queue.works

    def rouse(self) -> float | None:
        """Let work that has rested wait at the front again.

        Returns:
            When to call this again, on the clock of ``time.monotonic``; None: nothing rests.
        """
        return self._queue.rouse()

    def next_claim(self) -> float | None:
        """Return when to try again to have slots for parked work, on the clock of ``time.monotonic``.

        Slots that are granted to a coroutine whose loop is closed become free without any event.
        """
        return monotonic() + GONE_SECONDS if self._claiming else None

    @property
    def parking(self) -> bool:
        """Whether some work waits for results to be fetched; then the backend is told when they are."""
        return bool(self._queue.parked)

    def counters(self) -> tuple[int, int, int]:
        """Return items submitted, waiting and cancelled, read in one moment."""
        return self._queue.counters()

    def _freed(self) -> None:
        """Wake the backend for slots or bytes that parked work waits for. Takes no lock."""
        if self._claiming or self._queue.parked:
            self.wake()

    def _cancel(self, work: Work) -> None:
        if work.error is None:
            self.drop(work)
        else:
            self.fail_item(work, 0, work.error)

    def drop(self, work: Work) -> None:
        """Give back the slots of work that nobody wants, and that is in no queue any more."""
        self._queue.count_cancelled(work.count)
        work.held = work.slots, work.weight()
        self._end_dropped(work, None)

    def _end_dropped(self, work: Work, error: BaseException | None) -> None:
        """Give back the slots that work holds which was taken out of the queue, and tell its sink."""
        self.ledger.give_up(work, to_deliver=error is not None and work.sink.to_deliver)
        if work.parked:
            # There may be a claim on slots for it. One for other work is made anew.
            self.ledger.reclaim(0)
        if error is not None:
            self._tell_failed(work, 0, error, work.attempts)
            return
        if self.events is not None:
            self.events.tell("cancelled", work.name, work.count)
        work.sink.cancelled(work)


def _nobody() -> None:
    """Stand in for a backend until there is one."""
