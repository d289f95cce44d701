"""What an executor below is to the rest: an engine, which is handed messages and tells how they ended.

This module has the one for any ``concurrent.futures.Executor``; ``_adapters.dask`` has another.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, Protocol

from .._core.work import Work
from .._serialize.functions import Codec, Functions
from .._serialize.outcomes import Group
from .._serialize.payload import Parts, Pickled
from . import remote_worker, threads

__all__ = [
    "MESSAGES_PER_WORKER",
    "Ended",
    "Engine",
    "ExecutorEngine",
    "WorkerLost",
    "outcomes_of",
    "wire_form",
]

# As many of the shortest tasks, one in each, as keep a worker busy while others are on their way.
MESSAGES_PER_WORKER = 64

# How an item ended, or several together: whether it is a result, its pickle, and its seconds.
Outcome = tuple[bool, Pickled | Group, float | None]
# How a message ended: what its items became, from the first on, or why none became anything.
Ended = list[Outcome] | BaseException


class WorkerLost(Exception):
    """Workers ended that ran a message, and it is not tried any more."""


class Engine(Protocol):
    """Runs messages. ``submit``, ``cancel``, ``look`` and ``close`` are called by one thread.

    Attributes:
        codec: what calls become on their way.
        capacity: how many tasks it runs at once, as far as it knows now.
        counts_workers: it does know.
        batch_seconds: how long short tasks that travel together should take; None: each travels alone.
        messages_per_worker: that may be there for each worker, on their way there and back included.
        limit: tasks that a message may have, also where a map's ``chunksize`` has more together; None: any
            number.
        ahead_seconds: tasks that take less may wait behind those that run, for so long at most.
    """

    codec: Codec
    capacity: int
    counts_workers: bool
    batch_seconds: float | None
    messages_per_worker: int
    limit: int | None
    ahead_seconds: float

    def open(self, report: Callable[[int, Ended], None], changed: Callable[[], None]) -> None:
        """Begin.

        Args:
            report: told of each message's end, by any thread; never blocks.
            changed: told when ``capacity`` has changed, likewise.
        """

    def submit(self, ticket: int, work: Work) -> None:
        """Have work done; ``report`` is told by this number how it ended.

        Raises:
            Exception: nothing can be done any more.
        """

    def cancel(self, ticket: int) -> None:
        """End a message as far as that can be done; ``report`` is told in any case. Never blocks."""

    def look(self) -> None:
        """Read again how many workers there are. Never blocks."""

    def is_current(self) -> bool:
        """Whether the caller is something that this runs, in this very thread."""
        ...

    def close(self) -> None:
        """Let go of everything; all that was submitted has ended."""


def wire_form(work: Work) -> tuple[bytes | bytearray, bool]:
    """Return the message of some work in one piece, and whether it is one in parts."""
    message = work.message()
    # In one piece: not every executor takes buffers along.
    return (bytearray().join(message.body()), True) if isinstance(message, Parts) else (message, False)


def outcomes_of(found: remote_worker.Outcomes) -> list[Outcome]:
    """Return what a worker says of the items that it has run."""
    return [_outcome_of(entry) for entry in found.entries]


def _outcome_of(entry: remote_worker.Entry) -> Outcome:
    if entry.kind == remote_worker.Kind.TOGETHER:
        return True, Group(entry.body, entry.items, True), entry.seconds
    body = Parts.of_body(entry.body) if entry.kind == remote_worker.Kind.PARTS else entry.body
    return entry.kind != remote_worker.Kind.ERROR, body, entry.seconds


class ExecutorEngine:
    """Hands messages to an executor, each as one call."""

    batch_seconds: float | None = None
    messages_per_worker = MESSAGES_PER_WORKER
    limit: int | None = None
    # A call that waits there costs nothing and saves a worker the wait for this process.
    ahead_seconds = 0.02

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._direct = _has_threads(executor)
        # Not this object: the errors of tasks have it in their tracebacks.
        self._mark = object()
        self.codec: Codec = threads.Calls() if self._direct else Functions()
        self._report: Callable[[int, Ended], None]
        self._futures: dict[int, Future[Any]] = {}
        self.capacity = 1
        self.counts_workers = True
        self.look()

    def open(self, report: Callable[[int, Ended], None], changed: Callable[[], None]) -> None:
        self._report = report

    def submit(self, ticket: int, work: Work) -> None:
        if self._direct:
            calls = [item.load() for item in work.items if not isinstance(item, (tuple, bytes))]
            future: Future[Any] = self._executor.submit(threads.run, calls, self._mark)
        else:
            future = self._executor.submit(remote_worker.run, *wire_form(work), ticket)
        self._futures[ticket] = future
        future.add_done_callback(partial(self._done, ticket))

    def cancel(self, ticket: int) -> None:
        future = self._futures.get(ticket)
        if future is not None:
            future.cancel()

    def look(self) -> None:
        count = _workers_of(self._executor)
        self.counts_workers = count is not None
        self.capacity = count or os.cpu_count() or 1

    def is_current(self) -> bool:
        return threads.is_run_by(self._mark)

    def close(self) -> None:
        self._futures.clear()

    def _done(self, ticket: int, future: Future[Any]) -> None:
        self._futures.pop(ticket, None)
        ended: Ended
        try:
            failed = future.exception()
            ended = self._outcomes(future) if failed is None else failed
        except BaseException as error:
            # It was cancelled, or returned what no worker of ours returns, which nobody else would tell.
            ended = error.with_traceback(None)
        self._report(ticket, ended)

    def _outcomes(self, future: Future[Any]) -> list[Outcome]:
        found = future.result()
        if not self._direct:
            return outcomes_of(found)
        outcomes = list(found)
        # An error among them has frames in its traceback that return this list further.
        found.clear()
        return outcomes


def _has_threads(executor: Executor) -> bool:
    """Whether calls stay in this process, so that they need not be pickled, and perhaps cannot be."""
    from concurrent.futures import ThreadPoolExecutor

    # Python 3.14's InterpreterPoolExecutor is one too, but pickles.
    names = {kind.__name__ for kind in type(executor).__mro__}
    return isinstance(executor, ThreadPoolExecutor) and "InterpreterPoolExecutor" not in names


def _workers_of(executor: Executor) -> int | None:
    """Return how many workers an executor says that it has; None where it does not."""
    for name in ("_max_workers", "max_workers", "num_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    return None
