"""The small surface behind which every pool is measured.

A pool's package is imported only when it is measured, so that one which is missing hinders no other.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

Task = Callable[[Any], Any]
Run = Callable[[Task, Sequence[Any]], "list[Any]"]
Succeeded = Callable[[Any], None]
Failed = Callable[[BaseException], None]

# At most this many tasks per worker are submitted and unfinished, whoever does the limiting.
UNFINISHED_PER_WORKER = 6


class Window:
    """Keeps a pool without a bound of its own at a number of unfinished tasks.

    Args:
        bound: how many.
        submit: has the pool run a task and call back with its result, or with its error.
    """

    def __init__(
        self,
        bound: int,
        submit: Callable[[Task, Any, Succeeded, Failed], object],
    ) -> None:
        self._bound = bound
        self._submit = submit

    def __call__(self, task: Task, inputs: Sequence[Any]) -> list[Any]:
        slots = threading.Semaphore(self._bound)
        results: list[Any] = []
        errors: list[BaseException] = []

        def succeeded(result: Any) -> None:
            results.append(result)
            slots.release()

        def failed(error: BaseException) -> None:
            errors.append(error)
            slots.release()

        for one in inputs:
            slots.acquire()
            self._submit(task, one, succeeded, failed)
        # Who holds every slot knows that nothing is unfinished.
        for _ in range(self._bound):
            slots.acquire()
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

    def pool(self, workers: int, every: int | None) -> AbstractContextManager[Run]:
        """Open a pool, to be given a task and its inputs any number of times."""
        raise NotImplementedError

    def executor(self, workers: int) -> AbstractContextManager[Executor]:
        """Open an executor, as its users do."""
        raise TypeError(f"{self.name} is no executor")


def follow(future: Future[Any], succeeded: Succeeded, failed: Failed) -> None:
    """Have one of the two called with what becomes of a future."""

    def done(future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            succeeded(future.result())
        else:
            failed(error)

    future.add_done_callback(done)
