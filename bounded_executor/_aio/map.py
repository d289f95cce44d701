"""The running side of one ``amap``: a task pulls and submits, and the generator yields.

Results weigh in an account of the ledger from their arrival, on the backend's thread, until they are
fetched, on the event loop's. The account is settled when the map is over, and takes nothing after that.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from concurrent.futures import CancelledError
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from .._core.callbacks import Delivery
from .._core.lifecycle import late_map
from .._core.runtime import Core
from .._core.semaphore import Account
from .._core.work import FutureSink, Work
from .._future import BoundedFuture
from .._serialize.outcomes import Group
from .._serialize.payload import Pickled, Remote
from .waiting import retrieve

__all__ = ["AsyncMap", "AsyncSink", "AwaitedFuture", "Source", "fit_for_asyncio"]

T = TypeVar("T")

# Inputs that are taken one after the other before the event loop gets its turn.
INPUTS_IN_A_ROW = 16


def fit_for_asyncio(error: BaseException) -> BaseException:
    """Return an error that a coroutine may be given; before Python 3.12 it would wait for ever."""
    if not isinstance(error, StopIteration):
        return error
    fit = RuntimeError("a task raised StopIteration")
    fit.__cause__ = error
    return fit


class AwaitedFuture(BoundedFuture[T]):
    """A future that a coroutine waits for."""

    def set_exception(self, exception: BaseException | None) -> None:
        super().set_exception(None if exception is None else fit_for_asyncio(exception))


class AsyncSink(FutureSink):
    """Passes an outcome on, and knows what it weighs until it is fetched."""

    def __init__(
        self, future: BoundedFuture[Any], delivery: Delivery, run: AsyncMap | None, revocable: bool
    ) -> None:
        super().__init__(future, delivery)
        self.revocable = revocable
        self.revoked = False
        self.weight = 0
        self._run = run

    def start(self) -> bool:
        return super().start() and not self.revoked

    def full(self, work: Work) -> bool:
        return self._run is not None and self._run.full(work)

    def outcome(
        self, index: int, ok: bool, body: Pickled, seconds: float | None, attempts: int
    ) -> Callable[[], None]:
        if self._run is not None:
            self._run.weigh(self, len(body))
        if isinstance(body, Remote):
            # Whoever awaits the result is on an event loop, which must not wait for it once more.
            self.future.seconds, self.future.attempts = seconds, attempts
            return partial(self._delivery.put_fetched, self.future, body)
        return super().outcome(index, ok, body, seconds, attempts)

    def outcomes_of(
        self, sinks: Sequence[FutureSink], group: Group, seconds: float | None
    ) -> Callable[[], None]:
        for sink in sinks:
            if isinstance(sink, AsyncSink) and sink._run is not None:
                sink._run.weigh(sink, group.size // group.count)
        return super().outcomes_of(sinks, group, seconds)


class _End(Exception):
    """An input has no more items; a ``StopIteration`` could not leave a coroutine."""


class Source:
    """One of the inputs, plain or asynchronous."""

    def __init__(self, iterable: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._later: AsyncIterator[Any] | None = None
        self._now: Iterator[Any] = iter(())
        if isinstance(iterable, AsyncIterable):
            self._later = aiter(iterable)
            return
        try:
            self._now = iter(iterable)
        except TypeError:
            kind = type(iterable).__name__
            raise TypeError(f"amap takes iterables and asynchronous iterables, got {kind}") from None

    async def next(self) -> Any:
        """Return the next item, or raise ``_End``."""
        try:
            return next(self._now) if self._later is None else await anext(self._later)
        except (StopIteration, StopAsyncIteration):
            raise _End from None


class AsyncMap:
    """One ``amap``: a task pulls and submits, and the generator yields."""

    def __init__(self, core: Core, buffersize: int, *, unordered: bool) -> None:
        self._core = core
        self._room = asyncio.Semaphore(buffersize)
        self._unordered = unordered
        # Futures in the order in which they are yielded; None: there is something new to look at.
        self._queue: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self._outstanding: set[asyncio.Future[Any]] = set()
        self._fetched = 0
        self._news = asyncio.Event()
        self.submitted = 0
        self.weights: dict[asyncio.Future[Any], AsyncSink] = {}
        self._account = Account()  # of results that were not fetched
        self._closed = False

    def settle(self) -> Callable[[], None]:
        """Return a call that gives back what unfetched results weigh; it holds nothing of this."""
        return partial(self._core.ledger.settle, self._account)

    def full(self, work: Work) -> bool:
        """Say whether results would be too much now; never of the oldest, which are waited for."""
        if self._closed or work.first < self._fetched + self._core.backend.capacity:
            return False
        return self._core.ledger.room() == 0

    def weigh(self, sink: AsyncSink, size: int) -> None:
        """Count a result that has arrived as unfetched."""
        sink.weight = size
        self._core.ledger.weigh(self._account, size)

    def _lift(self, result: asyncio.Future[Any]) -> None:
        sink = self.weights.pop(result, None)
        if sink is not None and sink.weight:
            self._core.ledger.weigh(self._account, -sink.weight)

    async def results(
        self,
        fn: Callable[..., Any],
        sources: list[Source],
        submit: Callable[..., Any],
        timeout: float | None,
    ) -> AsyncGenerator[Any, None]:
        """Yield the results."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else monotonic() + timeout
        feeder = asyncio.ensure_future(self._feed(fn, sources, submit))
        feeder.add_done_callback(lambda _: self._queue.put_nowait(None))
        # Not `wait_for`: before Python 3.12 it loses a cancellation that comes together with a result.
        late: asyncio.Future[Any] = loop.create_future()
        alarm = None if timeout is None else loop.call_later(timeout, self._queue.put_nowait, late)
        try:
            while not (feeder.done() and self._fetched == self.submitted):
                result = await self._queue.get()
                if result is None:
                    continue
                if result is not late and not result.done():
                    left = None if deadline is None else max(0.0, deadline - monotonic())
                    await asyncio.wait([result], timeout=left)
                if not result.done():
                    raise _late(timeout, self._fetched, self.submitted - self._fetched)
                self._outstanding.discard(result)
                self._fetched += 1
                self._lift(result)
                self._room.release()
                self._news.set()
                if self._core.dispatcher.parking:
                    self._core.dispatcher.wake()
                if result.cancelled():
                    # Nobody has cancelled the task that this runs in.
                    raise CancelledError("not started: it was cancelled, because the executor was shut down")
                yield result.result()
            feeder.result()
        finally:
            if alarm is not None:
                alarm.cancel()
            await self._end(feeder)

    async def _feed(self, fn: Callable[..., Any], sources: list[Source], submit: Callable[..., Any]) -> None:
        while sources:
            await self._room.acquire()
            while self._fetched + self._core.backend.capacity <= self.submitted:
                if self._core.ledger.room() != 0:
                    break
                self._news.clear()
                await self._news.wait()
            try:
                args = [await source.next() for source in sources]
            except _End:
                return
            if self._closed:
                # An input may have taken the cancellation for its own matter.
                return
            result = await submit(fn, tuple(args), {})
            self.submitted += 1
            self._outstanding.add(result)
            if self._unordered:
                result.add_done_callback(self._queue.put_nowait)
            else:
                self._queue.put_nowait(result)
            if self.submitted % INPUTS_IN_A_ROW == 0:
                await asyncio.sleep(0)

    async def _end(self, feeder: asyncio.Future[None]) -> None:
        # All that must be done comes before the wait: that may be cancelled, and then an input that takes
        # its time is left to end alone.
        feeder.add_done_callback(retrieve)
        for result in self._outstanding:
            if not result.cancel():
                retrieve(result)
        self.close()
        feeder.cancel()
        if not feeder.done():
            await asyncio.wait([feeder])

    def close(self) -> None:
        """Cancel what has not started, and hold nothing any more; for any thread to call."""
        self._closed = True
        for sink in list(self.weights.values()):
            sink.future.cancel()
        self.weights.clear()
        self._core.ledger.settle(self._account)
        if self._core.dispatcher.parking:
            self._core.dispatcher.wake()


def _late(timeout: float | None, yielded: int, outstanding: int) -> Exception:
    error = late_map("amap", timeout, yielded, outstanding)
    if sys.version_info >= (3, 11):
        return error
    # There are three of that name, and this is to be caught by each.
    kinds = (type(error), asyncio.TimeoutError, TimeoutError)
    return type("TimeoutError", kinds, {})(str(error))  # type: ignore[no-any-return]
