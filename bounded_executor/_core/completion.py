"""What becomes of the outcomes that a backend reports: slots are given back, and those who wait are told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Literal

from .._serialize.outcomes import Group
from .._serialize.payload import Pickled
from .durations import Times
from .lifecycle import ErrorFactory
from .semaphore import Ledger
from .task_events import Events
from .work import Work

__all__ = ["Arrivals"]


class Arrivals:
    """Takes outcomes of work that a backend has.

    Args:
        ledger: where their slots go.

    Attributes:
        succeeded: items that have ended in a result.
        failed: items that have ended in an error.
        times: how long items ran.
        events: is told of what befalls items, where somebody wants to know.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.succeeded = 0
        self.failed = 0
        self.times = Times()
        self.events: Events | None = None
        self._arrived: deque[Callable[[], None]] = deque()

    def outcome(self, work: Work, index: int, ok: bool, seconds: float | None, body: Pickled) -> None:
        """Note that the next item of ``work`` has ended in a result or the task's own error.

        :meth:`deliver` is to follow. How long it ran may not be known.
        """
        if index != work.done:
            raise RuntimeError(f"outcome {index} of {work.name} came when {work.done} was due")
        self._count_done(work, 1)
        if ok:
            self.succeeded += 1
        else:
            self.failed += 1
        if seconds is not None:
            work.function.learn(seconds, len(body))
            self.times.add(seconds)
        if self.events is not None:
            error = None if ok else body
            kind: Literal["succeeded", "failed"] = "succeeded" if ok else "failed"
            self._arrived.append(partial(self.events.tell, kind, work.name, 1, seconds, error))
        self.ledger.finish(size=work.size(index), to_deliver=work.sink.to_deliver)
        self._arrived.append(work.sink.outcome(work.first + index, ok, body, seconds, work.attempts + 1))

    def outcomes(self, work: Work, group: Group, seconds: float | None) -> None:
        """Note that the next items of ``work`` have ended in results, in so many seconds if that is known.

        :meth:`deliver` is to follow.
        """
        first = work.done
        self._count_done(work, group.count)
        self.succeeded += group.count
        if seconds is not None:
            work.function.learn(seconds, group.size, group.count)
            self.times.add(seconds, group.count)
        if self.events is not None:
            self._arrived.append(partial(self.events.tell, "succeeded", work.name, group.count, seconds))
        size = work.size(first, group.count)
        self.ledger.finish(group.count, size=size, to_deliver=work.sink.to_deliver)
        self._arrived.append(work.sink.outcomes(work.first + first, group, seconds))

    def _count_done(self, work: Work, count: int) -> None:
        if work.done + count > work.count:
            raise RuntimeError(
                f"{work.name}: outcomes {work.done} to {work.done + count - 1} "
                f"came for a batch of {work.count}"
            )
        work.done += count
        work.refusals = 0

    def follow(self, let_know: Callable[[], None]) -> None:
        """Have something called by :meth:`deliver`, between what was noted before and what comes after."""
        self._arrived.append(let_know)

    def deliver(self) -> None:
        """Let those know that wait for the outcomes that have been noted.

        Workers are given their next tasks before that: whoever waits begins to run at once, and keeps the
        backend's thread from running.
        """
        arrived = self._arrived
        while arrived:
            # Taken out when it is done: an error loses none of the others.
            arrived[0]()
            arrived.popleft()

    def fail_item(self, work: Work, index: int, error: BaseException, *, attempts: int | None = None) -> None:
        """Note that an item ended in an error that is not its task's own.

        Args:
            work: what it is part of.
            index: which one.
            error: what it fails with.
            attempts: how often it was started; None: as often as it cost its process, once at least.
        """
        if attempts is None:
            attempts = max(1, work.attempts)
        self.ledger.finish(0 if work.parked else 1, size=work.size(index), to_deliver=work.sink.to_deliver)
        self._tell_failed(work, index, error, attempts)

    def _tell_failed(self, work: Work, index: int, error: BaseException, attempts: int) -> None:
        self.failed += 1
        if self.events is not None:
            self.events.tell("failed", work.name, error=error)
        work.sink.fail(work.first + index, error, attempts)

    def _fail(self, work: Work, make_error: ErrorFactory) -> None:
        """Fail all items of work that no worker has."""
        for index in range(work.count):
            self.fail_item(work, index, make_error(), attempts=work.attempts)
