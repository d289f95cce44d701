"""Executors whose workers are there on paper only, so that one process can have thousands of them.

A task says by :func:`spend` how long it takes, and returns at once. The worker that it was given to is then
busy for so long, and its future is resolved no sooner. What measures times in a worker is given that
worker's clock, by which the task did take so long. Everything else is real: what is handed over is the very
call that a process on another machine would get, and it is run here.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, InvalidStateError
from functools import partial
from time import monotonic, perf_counter
from types import FunctionType
from typing import Any

__all__ = ["HeldExecutor", "SynchronousExecutor", "VirtualExecutor", "spend"]


class _Spent(threading.local):
    seconds = 0.0
    tasks = 0


_spent = _Spent()


def spend(seconds: float, value: Any = None) -> Any:
    """Run as a task: take so long, and return ``value``."""
    _spent.seconds += seconds
    _spent.tasks += 1
    return value


def _clock() -> float:
    return perf_counter() + _spent.seconds


class _Call:
    """A call on its way, and its future."""

    __slots__ = ("_args", "_fn", "_kwargs", "future", "seconds", "tasks")

    def __init__(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.future: Future[Any] = Future()
        self._fn, self._args, self._kwargs = fn, args, kwargs
        self.seconds = 0.0
        self.tasks = 0

    def run(self) -> Callable[[], None]:
        """Make the call, and return what tells its future so."""
        seconds, tasks = _spent.seconds, _spent.tasks
        try:
            return partial(self.future.set_result, self._fn(*self._args, **self._kwargs))
        except BaseException as error:
            return partial(self.future.set_exception, error)
        finally:
            self.seconds, self.tasks = _spent.seconds - seconds, _spent.tasks - tasks
            del self._fn, self._args, self._kwargs


class _Clocked(Executor):
    """Makes calls that read the worker's clock."""

    def __init__(self, workers: int) -> None:
        self._max_workers = workers
        self._known: dict[Any, Callable[..., Any]] = {}

    def _call(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> _Call:
        known = self._known.get(fn)
        if known is None:
            # A copy, so that nothing else in this process sees that clock.
            scope = {**fn.__globals__, "perf_counter": _clock}
            known = FunctionType(fn.__code__, scope, fn.__name__, fn.__defaults__, fn.__closure__)
            self._known[fn] = known
        return _Call(known, args, kwargs)

    def resize(self, workers: int) -> None:
        """Have so many workers from now on; those that are too many finish what they have begun."""
        self._max_workers = workers


class SynchronousExecutor(_Clocked):
    """Runs a call in ``submit``, as some executors for debugging do."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = self._call(fn, args, kwargs)
        call.run()()
        return call.future


class HeldExecutor(_Clocked):
    """Runs calls at once, and keeps how they ended until the test asks for it.

    Attributes:
        tasks: in the calls that have not ended.
        most: what that was at most.
        error: what ``submit`` raises; None: nothing.
    """

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.tasks = 0
        self.most = 0
        self.error: Exception | None = None
        self._lock = threading.Lock()
        self._held: deque[tuple[_Call, Callable[[], None]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.error is not None:
            raise self.error
        call = self._call(fn, args, kwargs)
        tell = call.run()
        with self._lock:
            self._held.append((call, tell))
            self.tasks += call.tasks
            self.most = max(self.most, self.tasks)
        return call.future

    def finish(self) -> bool:
        """End the oldest call; False: there is none."""
        return self._end(lambda call, tell: tell())

    def fail(self, error: BaseException) -> bool:
        """End the oldest call by this error."""
        return self._end(lambda call, tell: call.future.set_exception(error))

    def cancel(self) -> bool:
        """Cancel the oldest call, as somebody may do who is not its owner."""
        return self._end(lambda call, tell: call.future.cancel())

    def _end(self, how: Callable[[_Call, Callable[[], None]], object]) -> bool:
        with self._lock:
            if not self._held:
                return False
            call, tell = self._held.popleft()
            # First: its end makes room for others.
            self.tasks -= call.tasks
        # Whoever has submitted it may cancel it at any moment.
        with contextlib.suppress(InvalidStateError):
            how(call, tell)
        return True


class VirtualExecutor(_Clocked):
    """Workers on a timeline.

    Args:
        workers: how many.
        latency: seconds that a call needs to a worker and its outcome back, half of it each way.

    A worker begins a call when that has arrived and it is free, and has finished it when the call's tasks
    have spent their time: by the clock, however late this process is to notice. Only what an outcome sets
    off waits for this process, as it does where the workers are real.

    Attributes:
        most: calls that it had at once, at most.
        bytes_in: size of all that was handed over, where it is bytes.

    What it does takes processor time of the thread ``virtual-workers``.
    """

    def __init__(self, workers: int, *, latency: float = 0.0) -> None:
        super().__init__(workers)
        self.most = 0
        self.bytes_in = 0
        self._way = latency / 2
        self._unfinished = 0
        self._workers = 0
        self._idle: deque[float] = deque()  # since when each has been
        self._arrived: deque[tuple[_Call, float]] = deque()  # and when
        self._starts: list[float] = []
        self._ends: list[float] = []
        self._turn = threading.Condition()
        self._due: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="virtual-workers", daemon=True)
        self.resize(workers)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = self._call(fn, args, kwargs)
        size = sum(len(one) for one in args if isinstance(one, (bytes, bytearray)))
        with self._turn:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._unfinished += 1
            self.most = max(self.most, self._unfinished)
            self.bytes_in += size
            self._at(monotonic() + self._way, partial(self._arrive, call))
        return call.future

    def resize(self, workers: int) -> None:
        with self._turn:
            super().resize(workers)
            self._at(monotonic(), self._fit)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify()
        if wait:
            self._thread.join()

    def busy_share(self, workers: int, *, skip: int = 0) -> float:
        """Return how much of their time so many workers were busy, from the first start to the last.

        What comes after the last start does not count: there is nothing left to be busy with.

        Args:
            workers: how many there were.
            skip: it begins after so many starts. With 0, the time in which the first tasks come one by one
                counts as well.
        """
        first, last = sorted(self._starts)[skip], max(self._starts)
        spans = zip(self._starts, self._ends, strict=True)
        busy = sum(max(0.0, min(end, last) - max(start, first)) for start, end in spans)
        return busy / (workers * (last - first))

    @property
    def span(self) -> float:
        """Seconds from the first start to the last."""
        return max(self._starts) - min(self._starts)

    # With the lock held.

    def _at(self, when: float, action: Callable[[float], None]) -> None:
        heapq.heappush(self._due, (when, next(self._order), action))
        if self._due[0][2] is action:
            self._turn.notify()

    # Below: on the thread.

    def _run(self) -> None:
        while (found := self._next()) is not None:
            when, action = found
            action(when)

    def _next(self) -> tuple[float, Callable[[float], None]] | None:
        with self._turn:
            while True:
                left = self._due[0][0] - monotonic() if self._due else None
                if left is None and self._closed:
                    return None
                if left is not None and left <= 0:
                    when, _, action = heapq.heappop(self._due)
                    return when, action
                self._turn.wait(left)

    def _fit(self, when: float) -> None:
        while self._workers < self._max_workers:
            self._workers += 1
            self._idle.append(when)
        while self._workers > self._max_workers and self._idle:
            self._workers -= 1
            self._idle.pop()
        self._give()

    def _arrive(self, call: _Call, when: float) -> None:
        self._arrived.append((call, when))
        self._give()

    def _free(self, when: float) -> None:
        self._idle.append(when)
        self._fit(when)

    def _give(self) -> None:
        while self._arrived and self._idle:
            call, when = self._arrived.popleft()
            if call.future.set_running_or_notify_cancel():
                self._begin(call, max(when, self._idle.popleft()))
            else:
                self._count_down()

    def _begin(self, call: _Call, start: float) -> None:
        tell = call.run()
        end = start + call.seconds
        self._starts.append(start)
        self._ends.append(end)
        with self._turn:
            self._at(end, self._free)
            self._at(end + self._way, lambda _: self._tell(tell))

    def _tell(self, tell: Callable[[], None]) -> None:
        self._count_down()
        tell()

    def _count_down(self) -> None:
        with self._turn:
            self._unfinished -= 1
