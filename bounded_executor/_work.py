"""A piece of work, and who waits for it: what travels through the dispatcher."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from ._delivery import Delivery, cancel, must_run_no_callbacks

__all__ = ["BoundedFuture", "FutureSink", "Sink", "Work"]

_ids = itertools.count(1)


class Sink(Protocol):
    """Who waits for a piece of work. No method may block or run user code, except ``cancelled``."""

    to_deliver: bool

    def start(self) -> bool:
        """Return whether the work is still wanted; asked each time it is handed to a worker."""
        ...

    def full(self, work: Work) -> bool:
        """Return whether the work's results would be too much now. Takes no lock."""
        ...

    def outcome(self, index: int, ok: bool, seconds: float, body: bytes | bytearray) -> None:
        """Take the outcome of one item, still pickled."""

    def fail(self, index: int, error: BaseException) -> None:
        """Take an error that did not come from the task."""

    def cancelled(self, work: Work) -> None:
        """Learn that the work will never be started."""


class Work:
    """One call, or a chunk of a map's calls.

    Attributes:
        ident: number that an outcome is matched by.
        name: the function's name, for messages.
        body: pickle of ``(fn, args, kwargs)`` for a call, of ``fn`` for a chunk.
        items: None for a call; one pickle of the arguments per item for a chunk.
        sink: who waits for it.
        first: the sink's index of the first item.
        done: items whose outcome has arrived.
        parked: it holds no slots.
        tries: how often it has been run and cost its process.
        losses: how often its process ended for a reason that was not its own.
        error: what it fails with if it is not run once more; None for what no worker has had.
    """

    __slots__ = (
        "body",
        "done",
        "error",
        "first",
        "ident",
        "items",
        "losses",
        "name",
        "parked",
        "sink",
        "tries",
    )

    def __init__(self, name: str, body: bytes, items: list[bytes] | None, sink: Sink, first: int = 0) -> None:
        self.ident = next(_ids)
        self.name = name
        self.body = body
        self.items = items
        self.sink = sink
        self.first = first
        self.done = 0
        self.parked = False
        self.tries = 0
        self.losses = 0
        self.error: BaseException | None = None

    @property
    def count(self) -> int:
        return 1 if self.items is None else len(self.items)

    @property
    def slots(self) -> int:
        """Slots that it holds before any outcome has arrived."""
        return 0 if self.parked else self.count

    def size(self, index: int) -> int:
        """Bytes that one item weighs; those of a map's function are there once and not counted."""
        return len(self.body) if self.items is None else len(self.items[index])

    def weight(self) -> int:
        """Bytes that all of it weighs."""
        return sum(map(self.size, range(self.count)))

    def rest(self, start: int) -> Work:
        """Return the items from ``start`` on as work of their own, and keep those before."""
        assert self.items is not None
        rest = Work(self.name, self.body, self.items[start:], self.sink, self.first + start)
        self.items = self.items[:start]
        return rest

    def current(self) -> Work:
        """Return the first item without an outcome as work of its own."""
        if self.items is None or len(self.items) == 1:
            return self
        return Work(self.name, self.body, [self.items[self.done]], self.sink, self.first + self.done)


class BoundedFuture(Future[Any]):
    """A future whose ``cancel`` gives the slot back at once."""

    _forget: Callable[[], object] | None = None

    def cancel(self) -> bool:
        """Cancel the call if no worker has been given it, like the standard library's futures."""
        cancelled = super().cancel()
        forget = self._forget
        if cancelled and forget is not None:
            forget()
        return cancelled


class FutureSink:
    """Passes the outcome of a submitted call on to its future."""

    to_deliver = True

    def __init__(self, future: BoundedFuture, delivery: Delivery) -> None:
        self._future = future
        self._delivery = delivery
        self._started = False
        self._notified = False

    def start(self) -> bool:
        if not self._started:
            self._started = True
            self._future._forget = None
            self._notified = not self._future.set_running_or_notify_cancel()
        return not self._notified

    def full(self, work: Work) -> bool:
        return False

    def outcome(self, index: int, ok: bool, seconds: float, body: bytes | bytearray) -> None:
        self._delivery.put(self._future, ok, body)

    def fail(self, index: int, error: BaseException) -> None:
        self._delivery.put_error(self._future, error)

    def cancelled(self, work: Work) -> None:
        self._future._forget = None
        if self._notified:
            return
        self._notified = True
        if must_run_no_callbacks() and not self._future.cancelled():
            self._delivery.put_cancelled(self._future)
        else:
            # `cancel` has come first unless the executor does the cancelling.
            cancel(self._future)
