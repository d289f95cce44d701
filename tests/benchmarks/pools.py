"""Contenders that are no executors."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from adapter import Call, Contender, Failed, Map, Run, Succeeded, Task, Window, bound_of, follow, whole


class Pool(Contender):
    """``multiprocessing.Pool`` and its descendant in billiard."""

    def __init__(self, *about: str, slow: bool = False) -> None:
        super().__init__(*about)
        self.slow = slow

    def make(self, workers: int, every: int | None = None) -> Any:
        """Make the pool."""
        return self.load().get_context("fork").Pool(workers, maxtasksperchild=every)

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        with self.make(workers, every) as pool:

            def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
                pool.apply_async(task, (one,), callback=succeeded, error_callback=failed)

            yield Window(submit, bound_of(workers, unfinished))

    @contextmanager
    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> Iterator[Map]:
        options = {} if chunksize is None else {"chunksize": chunksize}
        with self.make(workers) as pool:

            def run(task: Task, inputs: Iterable[Any]) -> Iterator[Any]:
                return iter(pool.imap(task, inputs, **options))

            yield run

    @contextmanager
    def caller(self, workers: int) -> Iterator[Call]:
        with self.make(workers) as pool:

            def call(task: Task, one: Any) -> Any:
                return pool.apply(task, (one,))

            yield call


class PoolImap(Pool):
    """The same by ``imap``, which takes tasks one at a time as well, but has no bound.

    Args:
        bounded: hold the inputs back all the same, until there are results.
    """

    def __init__(self, *about: str, bounded: bool = False) -> None:
        super().__init__(*about)
        self._bounded = bounded

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        with self.make(workers, every) as pool:

            def run(task: Task, inputs: Iterable[Any], keep: Callable[[Any], Any] = whole) -> list[Any]:
                if not self._bounded:
                    return [keep(one) for one in pool.imap(task, inputs, chunksize=1)]
                slots = threading.BoundedSemaphore(bound_of(workers, unfinished))
                results = []
                for one in pool.imap(task, _held_back(inputs, slots), chunksize=1):
                    slots.release()
                    results.append(keep(one))
                return results

            yield run


def _held_back(inputs: Iterable[Any], slots: threading.Semaphore) -> Iterator[Any]:
    for one in inputs:
        slots.acquire()
        yield one


class Pebble(Contender):
    """``pebble.ProcessPool``."""

    slow = True

    def make(self, workers: int, every: int | None = None) -> Any:
        """Make the pool."""
        context = multiprocessing.get_context("fork")
        return self.load().ProcessPool(workers, max_tasks=every or 0, context=context)

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        with self.make(workers, every) as pool:

            def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
                follow(pool.schedule(task, args=(one,)), succeeded, failed)

            yield Window(submit, bound_of(workers, unfinished))

    @contextmanager
    def caller(self, workers: int) -> Iterator[Call]:
        with self.make(workers) as pool:

            def call(task: Task, one: Any) -> Any:
                return pool.schedule(task, args=(one,)).result()

            yield call


class Mpire(Contender):
    """``mpire.WorkerPool``."""

    def make(self, workers: int) -> Any:
        """Make the pool."""
        # keep_alive, or else the warm-up's workers would not be those of the measurement.
        return self.load().WorkerPool(workers, start_method="fork", keep_alive=True)

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        options = {"max_tasks_active": bound_of(workers, unfinished), "worker_lifespan": every}
        with self.make(workers) as pool:

            def run(task: Task, inputs: Iterable[Any], keep: Callable[[Any], Any] = whole) -> list[Any]:
                return [keep(one) for one in pool.imap_unordered(task, inputs, chunk_size=1, **options)]

            yield run

    @contextmanager
    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> Iterator[Map]:
        with self.make(workers) as pool:

            def run(task: Task, inputs: Iterable[Any]) -> Iterator[Any]:
                results: Iterator[Any] = pool.imap(task, inputs, chunk_size=chunksize)
                return results

            yield run


class Joblib(Contender):
    """``joblib.Parallel``."""

    def missing(self, every: int | None) -> str | None:
        return "cannot replace workers" if every is not None else super().missing(every)

    @contextmanager
    def _open(self, workers: int, **options: Any) -> Iterator[Map]:
        joblib = self.load()
        with joblib.Parallel(workers, return_as="generator", **options) as parallel:

            def run(task: Task, inputs: Iterable[Any]) -> Iterator[Any]:
                delayed = joblib.delayed(task)
                results: Iterator[Any] = parallel(delayed(one) for one in inputs)
                return results

            yield run

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        with self._open(workers, batch_size=1, pre_dispatch=bound_of(workers, unfinished)) as parallel:

            def run(task: Task, inputs: Iterable[Any], keep: Callable[[Any], Any] = whole) -> list[Any]:
                return [keep(one) for one in parallel(task, inputs)]

            yield run

    @contextmanager
    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> Iterator[Map]:
        with self._open(workers, batch_size=chunksize or "auto") as run:
            yield run
