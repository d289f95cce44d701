"""Contenders that are executors, ours among them."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from adapter import Call, Contender, Failed, Map, Run, Succeeded, Task, Window, bound_of, follow


def _window(executor: Executor, bound: int | None = None) -> Window:
    def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
        follow(executor.submit(task, one), succeeded, failed)

    return Window(submit, bound)


class PlainExecutor(Contender):
    """Any ``concurrent.futures.Executor``, without a bound."""

    def make(self, workers: int, every: int | None) -> Executor:
        """Make the executor."""
        raise NotImplementedError

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        with self.make(workers, every) as executor:
            yield _window(executor, bound_of(workers, unfinished))

    @contextmanager
    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> Iterator[Map]:
        options = {} if chunksize is None else {"chunksize": chunksize}
        with self.executor(workers) as executor:

            def run(task: Task, inputs: Iterable[Any]) -> Iterator[Any]:
                return executor.map(task, inputs, **options)

            yield run

    @contextmanager
    def caller(self, workers: int) -> Iterator[Call]:
        with self.executor(workers) as executor:

            def call(task: Task, one: Any) -> Any:
                return executor.submit(task, one).result()

            yield call

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        with self.make(workers, None) as executor:
            yield executor


class Ours(PlainExecutor):
    """The executor of this project, which has a bound of its own."""

    ours = True

    def __init__(self, name: str, about: str, preload: tuple[str, ...] = ()) -> None:
        super().__init__(name, about, "bounded_executor", "loky-bounded-executor")
        self._preload: dict[str, Any] = {"preload": preload} if preload else {}

    def load(self) -> Any:
        """Import its package, which imports the executor only when that is asked for."""
        package = super().load()
        assert package.BoundedProcessPoolExecutor
        return package

    def _open(self, workers: int, **options: Any) -> AbstractContextManager[Executor]:
        executor: Executor = self.load().BoundedProcessPoolExecutor(workers, **options, **self._preload)
        return executor

    @contextmanager
    def pool(self, workers: int, every: int | None, unfinished: int | None = None) -> Iterator[Run]:
        bound = bound_of(workers, unfinished)
        with self._open(workers, max_tasks_per_child=every, queue_size=bound) as executor:
            yield _window(executor)

    @contextmanager
    def mapper(
        self, workers: int, chunksize: int | None = None, queue_size: int | None = None
    ) -> Iterator[Map]:
        options = {} if chunksize is None else {"chunksize": chunksize}
        with self._open(workers, queue_size=queue_size) as executor:

            def run(task: Task, inputs: Iterable[Any]) -> Iterator[Any]:
                return executor.map(task, inputs, **options)

            yield run

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        with self._open(workers, queue_size=bound_of(workers, None)) as executor:
            yield executor


class Standard(PlainExecutor):
    """``concurrent.futures.ProcessPoolExecutor``."""

    slow = True

    def __init__(self, name: str, about: str, method: str) -> None:
        super().__init__(name, about, "concurrent.futures")
        self._method = method

    def missing(self, every: int | None) -> str | None:
        if every is not None and sys.version_info < (3, 11):
            return "cannot replace workers before Python 3.11"
        return super().missing(every)

    def make(self, workers: int, every: int | None) -> Executor:
        # It refuses to fork where it replaces workers.
        method = self._method if every is None else "spawn"
        options = {} if every is None else {"max_tasks_per_child": every}
        executor: Executor = self.load().ProcessPoolExecutor(
            workers, mp_context=multiprocessing.get_context(method), **options
        )
        return executor


class Loky(PlainExecutor):
    """``loky.ProcessPoolExecutor``."""

    def make(self, workers: int, every: int | None) -> Executor:
        executor: Executor = self.load().ProcessPoolExecutor(workers)
        return executor


class LokyReusable(PlainExecutor):
    """``loky.get_reusable_executor``."""

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        # Without a `with`: leaving one would end the workers that the next call is to find.
        yield self.load().get_reusable_executor(workers)


class Deadpool(PlainExecutor):
    """``deadpool.Deadpool``."""

    def make(self, workers: int, every: int | None) -> Executor:
        executor: Executor = self.load().Deadpool(
            max_workers=workers, max_tasks_per_child=every, mp_context="fork"
        )
        return executor
