"""The small surface behind which every pool is measured.

A pool's package is imported only when it is measured, so that one which is missing hinders no other.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any, Protocol

Task = Callable[[Any], Any]
Map = Callable[[Task, Iterable[Any]], Iterator[Any]]
Call = Callable[[Task, Any], Any]
Succeeded = Callable[[Any], None]
Failed = Callable[[BaseException], None]
Answer = Callable[[dict[str, Any]], None]

# At most this many tasks per worker are submitted and unfinished, whoever does the limiting.
UNFINISHED_PER_WORKER = 6


def whole(result: Any) -> Any:
    """Keep the result itself."""
    return result


class Run(Protocol):
    """Runs a task on each input, one at a time, and returns what is kept of the results, in any order."""

    def __call__(
        self, task: Task, inputs: Iterable[Any], keep: Callable[[Any], Any] = whole
    ) -> list[Any]: ...


class Window:
    """Runs tasks on a pool that calls back, with at most a number of them unfinished.

    Args:
        submit: has the pool run a task and call back with its result, or with its error.
        bound: how many; None where the pool itself sees to it.
    """

    def __init__(
        self, submit: Callable[[Task, Any, Succeeded, Failed], object], bound: int | None = None
    ) -> None:
        self._submit = submit
        self._bound = bound

    def __call__(self, task: Task, inputs: Iterable[Any], keep: Callable[[Any], Any] = whole) -> list[Any]:
        slots = None if self._bound is None else threading.BoundedSemaphore(self._bound)
        results: list[Any] = []
        errors: list[BaseException] = []
        ended = threading.Event()
        expected = -1

        def arrived() -> None:
            if slots is not None:
                slots.release()
            if len(results) + len(errors) == expected:
                ended.set()

        def succeeded(result: Any) -> None:
            results.append(keep(result))
            arrived()

        def failed(error: BaseException) -> None:
            errors.append(error)
            arrived()

        count = 0
        for one in inputs:
            if slots is not None:
                slots.acquire()
            self._submit(task, one, succeeded, failed)
            count += 1
        expected = count
        # The last one may have arrived before it was known to be the last.
        if len(results) + len(errors) < count:
            ended.wait()
        if errors:
            raise errors[0]
        return results


class Contender:
    """A pool of worker processes.

    Args:
        name: what tables and the command line call it.
        about: what it is and how it is used here, in one sentence.
        module: what to import.
        distribution: the installed package it comes from; None for the standard library.
    """

    ours = False
    # So much slower where it replaces workers that it gets fewer tasks.
    slow = False

    def __init__(self, name: str, about: str, module: str, distribution: str | None = None) -> None:
        self.name = name
        self.about = about
        self.module = module
        self.distribution = distribution

    def missing(self, every: int | None) -> str | None:
        """Say why it cannot replace workers after ``every`` tasks here, if it cannot."""
        if self.distribution is not None:
            try:
                metadata.version(self.distribution)
            except metadata.PackageNotFoundError:
                return "not installed"
        return None

    def load(self) -> Any:
        """Import its package."""
        return importlib.import_module(self.module)

    def pool(
        self, workers: int, every: int | None, unfinished: int | None = None
    ) -> AbstractContextManager[Run]:
        """Open a pool, to be given tasks one at a time.

        Args:
            workers: how many tasks run at once.
            every: the number of tasks after which a worker is replaced; None: never.
            unfinished: at most so many are; None: ``UNFINISHED_PER_WORKER`` for each worker.
        """
        raise NotImplementedError

    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> AbstractContextManager[Map]:
        """Open a pool, to be given many inputs in one call that returns an iterator over the results.

        Args:
            workers: how many tasks run at once.
            chunksize: how many inputs travel together; None: the pool's default.
            queue_size: its own bound; None: the pool's default. Only ours has one.
        """
        raise TypeError(f"{self.name} has no map")

    def caller(self, workers: int) -> AbstractContextManager[Call]:
        """Open a pool, to be given one task and waited for."""
        raise TypeError(f"{self.name} is not called here")

    def executor(self, workers: int) -> AbstractContextManager[Executor]:
        """Open an executor, as its users do."""
        raise TypeError(f"{self.name} is no executor")


def bound_of(workers: int, unfinished: int | None) -> int:
    """Return how many tasks may be unfinished."""
    return UNFINISHED_PER_WORKER * workers if unfinished is None else unfinished


def follow(future: Future[Any], succeeded: Succeeded, failed: Failed) -> None:
    """Have one of the two called with what becomes of a future."""

    def done(future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            succeeded(future.result())
        else:
            failed(error)

    future.add_done_callback(done)
