"""A piece of work, and who waits for it: what travels through the dispatcher."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from .._future import BoundedFuture
from .._serialize.functions import Function
from .._serialize.outcomes import Group
from .._serialize.payload import Item, Parts, Pickled, sizes_of, together
from .callbacks import Delivery, cancel, must_run_no_callbacks
from .semaphore import Lease

__all__ = ["FutureSink", "Sink", "Work"]

_ids = itertools.count(1)


class Sink(Protocol):
    """Who waits for a piece of work. No method may block or run user code, except ``cancelled``."""

    to_deliver: bool
    # The work is given up at any time: its process is killed for that. Then nobody wants it.
    revocable: bool
    revoked: bool

    def start(self) -> bool:
        """Return whether the work is still wanted; asked each time it is handed to a worker."""
        ...

    def wait_again(self, forget: Callable[[], object]) -> None:
        """Undo :meth:`start`: the worker that was given the work has begun none of it.

        Args:
            forget: takes it out of the queue, also at once if nobody wants it any more.
        """

    def full(self, work: Work) -> bool:
        """Return whether the work's results would be too much now. Takes no lock."""
        ...

    def outcome(
        self, index: int, ok: bool, body: Pickled, seconds: float | None, attempts: int
    ) -> Callable[[], None]:
        """Take the outcome of one item, still pickled; returns what lets those know that wait for it.

        Args:
            index: the item's.
            ok: it is a result, not an error.
            body: its pickle.
            seconds: how long the item ran, where that is known.
            attempts: how often it was started.
        """
        ...

    def outcomes(self, index: int, group: Group, seconds: float | None) -> Callable[[], None]:
        """Do the same with the results of items that follow each other, all of them started once.

        Args:
            index: the first item's.
            group: the results.
            seconds: how long all of them ran, where that is known.
        """
        ...

    def fail(self, index: int, error: BaseException, attempts: int) -> None:
        """Take an error that did not come from the task, and how often the task was started."""

    def break_off(self, make_error: Callable[[], BaseException]) -> None:
        """Fail whatever has no outcome yet; the state of everything else is unknown."""

    def cancelled(self, work: Work) -> None:
        """Learn that the work will never be started."""


class Work(Lease):
    """Calls of one function that travel together; often it is a single one.

    As a lease it holds its slots from when they are granted until it is in the queue, and once more when it
    was taken out of the queue and is dropped.

    Attributes:
        ident: number that an outcome is matched by.
        function: what is called.
        items: for each call, one pickle: of its arguments, or of ``(fn, args, kwargs)`` where the
            function has no pickle of its own. Or its arguments, all of them numbers.
        sizes: how many bytes each of them weighs; the function's are there once and not counted.
        sink: who waits for it.
        first: the sink's index of the first item.
        joins: it may travel together with what waits behind it.
        done: items whose outcome has arrived.
        parked: it holds no slots.
        tries: how often it has been run and cost its process.
        losses: how often its process ended for a reason that was not its own.
        refusals: how often it was given to a worker and taken back since an outcome of it came.
        error: what it fails with if it is not run once more; None for what no worker has begun.
        dropped: it was taken out of the queue by one who drops it.
    """

    __slots__ = (
        "done",
        "dropped",
        "error",
        "first",
        "function",
        "ident",
        "items",
        "joins",
        "losses",
        "parked",
        "refusals",
        "sink",
        "sizes",
        "tries",
    )

    def __init__(
        self,
        function: Function,
        items: list[Item],
        sink: Sink,
        first: int = 0,
        *,
        joins: bool = False,
        sizes: list[int] | None = None,
    ) -> None:
        self.held = None
        self.waiter = None
        self.ident = next(_ids)
        self.function = function
        self.items = items
        self.sizes = sizes_of(items) if sizes is None else sizes
        self.sink = sink
        self.first = first
        self.joins = joins
        self.done = 0
        self.parked = False
        self.tries = 0
        self.losses = 0
        self.refusals = 0
        self.error: BaseException | None = None
        self.dropped = False

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def count(self) -> int:
        return len(self.items)

    @property
    def slots(self) -> int:
        """Slots that it holds before any outcome has arrived."""
        return 0 if self.parked else len(self.items)

    def size(self, start: int, count: int = 1) -> int:
        """Bytes that some of the items weigh."""
        return sum(self.sizes[start : start + count])

    def weight(self) -> int:
        """Bytes that all of it weighs."""
        return sum(self.sizes)

    def message(self) -> bytes | Parts:
        """Return what a child is sent; unpickling it runs no code of the user's."""
        return together((self.function.body, self.function.named), self.items, self.weight())

    def number_anew(self) -> None:
        """Have nothing match it that is said of it as it was numbered before."""
        self.ident = next(_ids)

    def rest(self, start: int) -> Work:
        """Return the items from ``start`` on as work of their own, and keep those before."""
        rest = Work(
            self.function,
            self.items[start:],
            self.sink,
            self.first + start,
            joins=self.joins,
            sizes=self.sizes[start:],
        )
        rest.refusals = self.refusals
        self.items = self.items[:start]
        self.sizes = self.sizes[:start]
        return rest

    @property
    def attempts(self) -> int:
        """How often it was started and not taken back, as far as that cost a process."""
        return self.tries + self.losses

    def current(self) -> Work:
        """Return the first item without an outcome as work of its own."""
        if len(self.items) == 1:
            return self
        return Work(self.function, [self.items[self.done]], self.sink, self.first + self.done)

    def is_joined_by(self, other: Work) -> bool:
        """Return whether other work, which waits just behind it, may travel with it."""
        if not (self.joins and other.joins) or self.function is not other.function:
            return False
        if isinstance(self.sink, FutureSink):
            return type(other.sink) is type(self.sink)
        return self.sink is other.sink and other.first == self.first + len(self.items)

    def join(self, others: Sequence[Work]) -> Work:
        """Return all of it as one piece; calls have been started, and chunks follow each other."""
        works = (self, *others)
        items = [item for work in works for item in work.items]
        sizes = [size for work in works for size in work.sizes]
        if isinstance(self.sink, FutureSink):
            sinks = [work.sink for work in works if isinstance(work.sink, FutureSink)]
            joined = Work(self.function, items, Calls(sinks), joins=True, sizes=sizes)
        else:
            joined = Work(self.function, items, self.sink, self.first, joins=True, sizes=sizes)
        joined.refusals = max(work.refusals for work in works)
        return joined

    def singly(self) -> list[Work]:
        """Return each item for itself, none of which travels with others any more."""
        pieces = []
        for piece in self.apart():
            while piece.count > 1:
                rest = piece.rest(1)
                pieces.append(piece)
                piece = rest
            pieces.append(piece)
        for piece in pieces:
            piece.joins = False
        return pieces

    def apart(self) -> list[Work]:
        """Return joined calls each for itself again, with the sinks that they had."""
        if not isinstance(self.sink, Calls) or self.error is not None:
            # What has been run before is by itself already, and knows how often it was.
            return [self]
        calls = [
            Work(self.function, [item], self.sink.take(self.first + index), joins=True)
            for index, item in enumerate(self.items)
        ]
        for call in calls:
            call.refusals = self.refusals
        return calls


class FutureSink:
    """Passes the outcome of a submitted call on to its future."""

    __slots__ = ("_delivery", "_notified", "_started", "future")

    to_deliver = True
    revocable = False
    revoked = False

    def __init__(self, future: BoundedFuture[Any], delivery: Delivery) -> None:
        self.future = future
        self._delivery = delivery
        self._started = False
        self._notified = False

    def start(self) -> bool:
        if not self._started:
            self._started = True
            self.future._forget = None
            self._notified = not self.future.set_running_or_notify_cancel()
        return not self._notified

    def wait_again(self, forget: Callable[[], object]) -> None:
        self._started = False
        self.future._wait_again(forget)

    def full(self, work: Work) -> bool:
        return False

    def outcome(
        self, index: int, ok: bool, body: Pickled, seconds: float | None, attempts: int
    ) -> Callable[[], None]:
        self.future.seconds = seconds
        self.future.attempts = attempts
        return partial(self._delivery.put, self.future, ok, body)

    def outcomes(self, index: int, group: Group, seconds: float | None) -> Callable[[], None]:
        return self.outcomes_of([self], group, seconds)

    def outcomes_of(
        self, sinks: Sequence[FutureSink], group: Group, seconds: float | None
    ) -> Callable[[], None]:
        """Do the same for several sinks of the same class, this one perhaps among them."""
        share = None if seconds is None else seconds / group.count
        futures = [sink.future for sink in sinks]
        for sink in sinks:
            sink.future.seconds = share
            sink.future.attempts = 1
        return partial(self._delivery.put_group, futures, group)

    def fail(self, index: int, error: BaseException, attempts: int) -> None:
        self.future.attempts = attempts
        self._delivery.put_error(self.future, error)

    def break_off(self, make_error: Callable[[], BaseException]) -> None:
        # Also where it has had its outcome: that may not have come as far as the delivery.
        if self.start():
            self._delivery.put_fault(self.future, make_error())

    def cancelled(self, work: Work) -> None:
        # One that was taken back may be found in the queue before `wait_again` has come to it.
        self.future._wait_again(None)
        if self._notified:
            return
        self._notified = True
        if must_run_no_callbacks() and not self.future.cancelled():
            self._delivery.put_cancelled(self.future)
        else:
            # `cancel` has come first unless the executor does the cancelling.
            cancel(self.future)


class Calls:
    """Several calls that travel together, all of them started."""

    to_deliver = True
    revocable = False
    revoked = False

    def __init__(self, sinks: list[Any]) -> None:
        self.sinks = sinks

    def take(self, index: int) -> Any:
        """Return the sink of a call, and keep nothing of it while the others go on."""
        sink, self.sinks[index] = self.sinks[index], None
        return sink

    def start(self) -> bool:
        return True

    def wait_again(self, forget: Callable[[], object]) -> None:
        raise TypeError("they wait each for itself")

    def full(self, work: Work) -> bool:
        return False

    def outcome(
        self, index: int, ok: bool, body: Pickled, seconds: float | None, attempts: int
    ) -> Callable[[], None]:
        let_know: Callable[[], None] = self.sinks[index].outcome(0, ok, body, seconds, attempts)
        self.take(index)
        return let_know

    def outcomes(self, index: int, group: Group, seconds: float | None) -> Callable[[], None]:
        sinks = self.sinks[index : index + group.count]
        let_know: Callable[[], None] = sinks[0].outcomes_of(sinks, group, seconds)
        self.sinks[index : index + group.count] = [None] * group.count
        return let_know

    def fail(self, index: int, error: BaseException, attempts: int) -> None:
        self.sinks[index].fail(0, error, attempts)
        self.take(index)

    def break_off(self, make_error: Callable[[], BaseException]) -> None:
        for sink in self.sinks:
            if sink is not None:
                sink.break_off(make_error)

    def cancelled(self, work: Work) -> None:
        for index in range(work.first, work.first + work.count):
            self.take(index).cancelled(work)
