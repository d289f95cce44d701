"""The load of a soak run: threads that use one executor in every way, and check all that comes back."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jobs
from runlog import RunLog
from tally import Tally
from watchdog import HUNG_SECONDS

from bounded_executor import BrokenProcessPool, QueueFull

# A map whose items travel together crawls when it takes so many times as long as one whose items do not, and
# so many seconds more, for a machine that was busy.
CRAWLING = 5
SLACK_SECONDS = 5.0


@dataclass
class Scene:
    """What all producers of one executor share.

    Attributes:
        ex: the executor.
        tally: counts what comes of it.
        log: gives out the numbers of tasks.
        stop: set when all are to end.
        rare: what may be submitted one by one.
        drops: iterators and coroutines may be left to the collector. Not where the executor may end before
            that: it is not told then.
        most: items of a light part of a map at most.
    """

    ex: Any
    tally: Tally
    log: RunLog
    stop: threading.Event
    rare: tuple[str, ...]
    drops: bool
    most: int


class Producer(threading.Thread):
    """One thread; ends when told to, or when its executor is shut down.

    Args:
        use: name of the method that is called again and again.
        scene: what it shares with others.
        draw: decides what is done.
    """

    def __init__(self, use: str, scene: Scene, draw: random.Random) -> None:
        super().__init__(name=use, daemon=True)
        self._use: Callable[[], None] = getattr(self, use)
        self._scene = scene
        self._ex = scene.ex
        self._draw = draw
        self._tally = scene.tally
        self._stop_now = scene.stop

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
        """Iterate over maps in the order of their inputs."""
        self._map(unordered=False)

    def unordered(self) -> None:
        """Iterate over maps in any order."""
        self._map(unordered=True)

    def rare(self) -> None:
        """One by one, what takes a process or much time."""
        number, kind, future = self._submit(self._ex.submit, self._draw.choice(self._scene.rare))
        self._check(number, kind, future)
        self._stop_now.wait(self._draw.uniform(0.0, 0.5))

    def alone(self) -> None:
        """Once, where nothing else is submitted: a map that turns heavy is not slower than item by item."""
        self._stop_now.set()
        patience = HUNG_SECONDS
        for chunksize in (1, None):
            most = self._scene.most
            numbers = jobs.turning(self._scene.log.idents(jobs.most_items(most)), most)
            check = MapCheck(numbers, False, self._tally)
            began = time.monotonic()
            for result in self._ex.map(jobs.item, numbers, chunksize=chunksize):
                check.look(result)
                if time.monotonic() - began > patience:
                    what = f"{check.got} of {len(numbers)} results in {patience:.1f} seconds"
                    self._tally.complain("hung", f"a map alone, chunksize={chunksize}, crawls: {what}")
                    return
            check.end()
            patience = CRAWLING * (time.monotonic() - began) + SLACK_SECONDS

    # How it is done, and what must come of it.

    def _call(self, kind: str | None = None) -> tuple[int, str, Any]:
        """Return the arguments of a task by itself."""
        kind = kind or self._draw.choice(jobs.COMMON)
        return jobs.single(self._draw, self._scene.log.ident()), kind, jobs.argument(kind)

    def _submit(
        self, method: Callable[..., Future[Any]], kind: str | None = None
    ) -> tuple[int, str, Future[Any]]:
        number, kind, along = self._call(kind)
        future = method(jobs.job, number, kind, along)
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
            self._check_result(number, kind, result)

    def _check_result(self, number: int, kind: str, result: Any) -> None:
        if kind in jobs.ERRORS or result != jobs.answer(number):
            self._tally.complain("wrong", f"{self.name}: a {kind} task gave {result!r:.100}")
        else:
            self._tally.add("right")

    def _check_error(self, kind: str, error: BaseException) -> None:
        name = type(error).__name__
        # Whether there were enough faults for these is looked at when the executor has ended.
        if name == jobs.ERRORS.get(kind):
            self._tally.add(f"expected {name}")
        elif name == "TerminatedWorkerError":
            self._tally.add("killed by a fault")
        elif name == "TaskTimeout":
            self._tally.add("late by a fault")
        elif isinstance(error, BrokenProcessPool):
            self._tally.complain("broken", str(error))
        else:
            self._tally.complain("wrong", f"{self.name}: a {kind} task failed with {error!r}")

    def _map(self, unordered: bool) -> None:
        most = self._scene.most
        numbers = jobs.plan(self._draw, self._scene.log.idents(jobs.most_items(most)), most)
        check = MapCheck(numbers, unordered, self._tally)
        results: Iterator[Any] | None = self._ex.map(
            jobs.item,
            numbers,
            chunksize=self._draw.choice((None, None, None, 1, 10)),
            buffersize=self._draw.choice((None, None, 40)),
            unordered=unordered,
        )
        if self._scene.drops and self._draw.random() < 0.05:
            # Never begun: what was submitted is run, and only its results are dropped.
            return
        # The first result that is not wanted any more, and whether that is told.
        end = self._draw.randrange(len(numbers)) if self._draw.random() < 0.3 else None
        stall = Stall(self._draw, self._stop_now)
        watch = _Watch(self._tally)
        try:
            for result in watch.over(results):
                check.look(result)
                if check.got == end or self._stop_now.is_set():
                    break
                stall.perhaps()
        except BrokenProcessPool as error:
            self._check_error("good", error)
        except TimeoutError as error:
            # Of a task: the map has no limit of its own.
            self._check_error("good", error)
        else:
            if end is None and not self._stop_now.is_set():
                check.end()
        finally:
            if not self._scene.drops or self._draw.random() < 0.5:
                results.close()
            results = None


class MapCheck:
    """What the results of one map must be.

    Args:
        numbers: of its tasks, in the order of the inputs.
        unordered: results may come in any order.
        tally: where they are counted.

    Attributes:
        got: results so far.
        gaps: some were lost on their way to the consumer, who was interrupted.
    """

    def __init__(self, numbers: list[int], unordered: bool, tally: Tally) -> None:
        self.got = 0
        self.gaps = False
        self._tally = tally
        self._unordered = unordered
        self._count = len(numbers)
        self._places = {number: place for place, number in enumerate(numbers)}
        self._last = -1

    def look(self, result: Any) -> None:
        """Take the next result."""
        number = None
        with suppress(Exception):
            number = jobs.number_of(result)
        place = self._places.pop(number, None) if number is not None else None
        if place is None:
            self._tally.complain("wrong", f"a map gave, for the second time or not its own, {result!r:.100}")
        elif result != jobs.answer(number):
            self._tally.complain("wrong", f"a map gave {result!r:.100} for {jobs.answer(number)!r:.100}")
        elif not self._unordered and (place <= self._last if self.gaps else place != self._last + 1):
            self._tally.complain("wrong", f"a map gave result {place} after {self._last}")
        else:
            self._tally.add("right")
        if place is not None:
            self._last = place
        self._tally.add("accepted")
        self.got += 1

    def end(self) -> None:
        """Note that the map has no more results."""
        if not self.gaps and self.got != self._count:
            self._tally.complain("lost", f"{self._count - self.got} of {self._count} results of a map")


class Stall:
    """A consumer that does something else between two results, for some seconds in all at most."""

    def __init__(self, draw: random.Random, stop: threading.Event) -> None:
        self._draw = draw
        self._stop_now = stop
        self._seconds = draw.choice((0.0, 0.0, 0.002, 0.02, 0.1))
        self._left = 3.0

    def perhaps(self) -> None:
        """Take some time now, or not."""
        seconds = self.seconds()
        if seconds:
            self._stop_now.wait(seconds)

    def seconds(self) -> float:
        """Return how long to do something else now."""
        if self._left <= 0 or not self._seconds or self._draw.random() < 0.5:
            return 0.0
        seconds = self._draw.uniform(0.0, 2 * self._seconds)
        self._left -= seconds
        return seconds


class _Watch:
    """Complains when the next item of an iterator takes too long; nothing can be done about it then."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def over(self, items: Iterator[Any]) -> Iterator[Any]:
        while True:
            began = time.monotonic()
            try:
                item = next(items)
            except StopIteration:
                return
            finally:
                if time.monotonic() - began > HUNG_SECONDS:
                    self._tally.complain("hung", "a map's result came too late")
            yield item
