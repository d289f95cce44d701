"""The load of a soak run: threads that use one executor in every way, and check all that comes back."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Any

import jobs
from tally import Tally

from bounded_executor import BrokenProcessPool, QueueFull

# Nothing in a soak run takes this long, unless it hangs.
HUNG_SECONDS = 90.0


class Producer(threading.Thread):
    """One thread; ends when told to, or when its executor is shut down.

    Args:
        use: name of the method that is called again and again.
        ex: the executor.
        draw: decides what is done.
        tally: counts what comes of it.
        stop: set when it is to end.
    """

    def __init__(self, use: str, ex: Any, draw: random.Random, tally: Tally, stop: threading.Event) -> None:
        super().__init__(name=use, daemon=True)
        self._use: Callable[[], None] = getattr(self, use)
        self._ex = ex
        self._draw = draw
        self._tally = tally
        self._stop_now = stop
        self._numbers = itertools.count()

    def run(self) -> None:
        while not self._stop_now.is_set():
            try:
                self._use()
            except BrokenProcessPool as error:
                self._tally.complain("broken", str(error))
                return
            except RuntimeError as error:
                if "after shutdown" not in str(error):
                    self._tally.complain("wrong", f"{self.name}: {error!r}")
                return
            except BaseException as error:
                self._tally.complain("wrong", f"{self.name}: {error!r}")
                return

    # What a thread can do.

    def bursts(self) -> None:
        """Submit many, then look at each."""
        waiting: list[tuple[int, str, Future[Any]]] = []
        try:
            for _ in range(self._draw.randint(1, 200)):
                waiting.append(self._submit(self._ex.submit))
        finally:
            for number, kind, future in waiting:
                self._check(number, kind, future)

    def nowait(self) -> None:
        """Submit without waiting, and go away for a moment where there is no room."""
        try:
            number, kind, future = self._submit(self._ex.submit_nowait)
        except QueueFull:
            self._tally.add("full queues")
            self._stop_now.wait(0.002)
        else:
            self._check(number, kind, future)

    def cancels(self) -> None:
        """Submit some and cancel some of them."""
        waiting: list[tuple[int, str, Future[Any]]] = []
        try:
            for _ in range(self._draw.randint(1, 20)):
                waiting.append(self._submit(self._ex.submit))
        finally:
            for _, _, future in waiting:
                if self._draw.random() < 0.5:
                    future.cancel()
            for number, kind, future in waiting:
                self._check(number, kind, future, may_be_cancelled=True)

    def callbacks(self) -> None:
        """Let callbacks do the looking; each must be called once."""
        count = self._draw.randint(1, 50)
        calls: list[int] = []
        called = threading.Semaphore(0)
        accepted = 0

        def look(future: Future[Any], number: int, kind: str) -> None:
            calls.append(number)
            self._check(number, kind, future)
            called.release()

        try:
            for _ in range(count):
                number, kind, future = self._submit(self._ex.submit)
                accepted += 1
                future.add_done_callback(lambda f, n=number, k=kind: look(f, n, k))
        finally:
            for _ in range(accepted):
                if not called.acquire(timeout=HUNG_SECONDS):
                    self._tally.complain("hung", "a callback was not called")
            if len(calls) != len(set(calls)):
                self._tally.complain("wrong", "a callback was called twice")

    def ordered(self) -> None:
        self._map(unordered=False)

    def unordered(self) -> None:
        self._map(unordered=True)

    def rare(self) -> None:
        """One by one, what takes a process or much time."""
        number, kind, future = self._submit(self._ex.submit, self._draw.choice(jobs.RARE))
        self._check(number, kind, future)
        self._stop_now.wait(self._draw.uniform(0.0, 0.5))

    # How it is done, and what must come of it.

    def _submit(
        self, method: Callable[..., Future[Any]], kind: str | None = None
    ) -> tuple[int, str, Future[Any]]:
        number = next(self._numbers)
        kind = kind or self._draw.choice(jobs.COMMON)
        seconds = self._draw.choice((0.0, 0.0, 0.0, 0.001, 0.01))
        future = method(jobs.job, number, kind, seconds, jobs.argument(kind))
        self._tally.add("accepted")
        return number, kind, future

    def _check(self, number: int, kind: str, future: Future[Any], may_be_cancelled: bool = False) -> None:
        try:
            result = future.result(HUNG_SECONDS)
        except CancelledError:
            if may_be_cancelled:
                self._tally.add("cancelled")
            else:
                self._tally.complain("lost", f"a {kind} task was cancelled by nobody")
        except BaseException as error:
            if not future.done():
                self._tally.complain("hung", f"a {kind} task has no outcome")
            else:
                self._check_error(kind, error)
        else:
            if kind in jobs.ERRORS or result != jobs.answer(number, kind):
                self._tally.complain("wrong", f"a {kind} task gave {result!r:.100}")
            else:
                self._tally.add("right")

    def _check_error(self, kind: str, error: BaseException) -> None:
        name = type(error).__name__
        if name == jobs.ERRORS.get(kind):
            self._tally.add(f"expected {name}")
        elif name == "TerminatedWorkerError":
            # Whether there were enough faults for that is looked at when the executor has ended.
            self._tally.add("killed by a fault")
        elif isinstance(error, BrokenProcessPool):
            self._tally.complain("broken", str(error))
        else:
            self._tally.complain("wrong", f"a {kind} task failed with {error!r}")

    def _map(self, unordered: bool) -> None:
        count = self._draw.randint(1, 500)
        chunksize = self._draw.choice((None, None, 1, 10))
        inputs = range(count)
        got = 0
        seen = bytearray(count)
        watch = _Watch(self._tally)
        results: Iterator[Any] = self._ex.map(jobs.item, inputs, chunksize=chunksize, unordered=unordered)
        try:
            for number, value in watch.over(results):
                right = value == jobs.answer(number, "good")[1] and not seen[number]
                if not right or (not unordered and number != got):
                    self._tally.complain("wrong", f"a map gave {number, value} at place {got}")
                seen[number] = 1
                got += 1
        except BrokenProcessPool as error:
            self._check_error("good", error)
        else:
            if got != count:
                self._tally.complain("lost", f"{count - got} results of a map", count - got)
        finally:
            self._tally.add("right", got)
            self._tally.add("accepted", got)


class _Watch:
    """Says when the next item of an iterator takes too long; nothing can be done about it then."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def over(self, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            began = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            if time.monotonic() - began > HUNG_SECONDS:
                self._tally.complain("hung", "a map's result came too late")
            yield item
