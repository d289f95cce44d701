"""The pools that are compared."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

from adapter import UNFINISHED_PER_WORKER, Contender, Failed, Run, Succeeded, Task, Window, follow

__all__ = ["CONTENDERS"]


class _Ours(Contender):
    ours = True

    def __init__(self, name: str, about: str, preload: tuple[str, ...] = ()) -> None:
        super().__init__(name, about, "bounded_executor", "loky-bounded-executor")
        self._options: dict[str, Any] = {"preload": preload} if preload else {}

    def load(self) -> Any:
        """Import its package, which imports the executor only when that is asked for."""
        package = super().load()
        assert package.BoundedProcessPoolExecutor
        return package

    @contextmanager
    def pool(self, workers: int, every: int | None) -> Iterator[Run]:
        executor = self.load().BoundedProcessPoolExecutor(
            workers,
            max_tasks_per_child=every,
            queue_size=UNFINISHED_PER_WORKER * workers,
            **self._options,
        )
        with executor:

            def run(task: Task, inputs: Sequence[Any]) -> list[Any]:
                futures = [executor.submit(task, one) for one in inputs]
                return [future.result() for future in futures]

            yield run

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        bound = UNFINISHED_PER_WORKER * workers
        with self.load().BoundedProcessPoolExecutor(workers, queue_size=bound) as executor:
            yield executor


class _Executor(Contender):
    """Any ``concurrent.futures.Executor`` without a bound."""

    def make(self, workers: int, every: int | None) -> Executor:
        """Make the executor."""
        raise NotImplementedError

    @contextmanager
    def pool(self, workers: int, every: int | None) -> Iterator[Run]:
        with self.make(workers, every) as executor:

            def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
                follow(executor.submit(task, one), succeeded, failed)

            yield Window(UNFINISHED_PER_WORKER * workers, submit)

    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        with self.make(workers, None) as executor:
            yield executor


class _Standard(_Executor):
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


class _Loky(_Executor):
    def make(self, workers: int, every: int | None) -> Executor:
        executor: Executor = self.load().ProcessPoolExecutor(workers)
        return executor


class _LokyReusable(_Executor):
    @contextmanager
    def executor(self, workers: int) -> Iterator[Executor]:
        # Without a `with`: leaving one would end the workers that the next call is to find.
        yield self.load().get_reusable_executor(workers)


class _Deadpool(_Executor):
    def make(self, workers: int, every: int | None) -> Executor:
        executor: Executor = self.load().Deadpool(
            max_workers=workers, max_tasks_per_child=every, mp_context="fork"
        )
        return executor


class _Pool(Contender):
    """``multiprocessing.Pool`` and its descendant in billiard."""

    def __init__(self, *about: str, slow: bool = False) -> None:
        super().__init__(*about)
        self.slow = slow

    @contextmanager
    def pool(self, workers: int, every: int | None) -> Iterator[Run]:
        context = self.load().get_context("fork")
        with context.Pool(workers, maxtasksperchild=every) as pool:

            def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
                pool.apply_async(task, (one,), callback=succeeded, error_callback=failed)

            yield Window(UNFINISHED_PER_WORKER * workers, submit)


class _Pebble(Contender):
    slow = True

    @contextmanager
    def pool(self, workers: int, every: int | None) -> Iterator[Run]:
        context = multiprocessing.get_context("fork")
        with self.load().ProcessPool(workers, max_tasks=every or 0, context=context) as pool:

            def submit(task: Task, one: Any, succeeded: Succeeded, failed: Failed) -> None:
                follow(pool.schedule(task, args=(one,)), succeeded, failed)

            yield Window(UNFINISHED_PER_WORKER * workers, submit)


class _Mpire(Contender):
    @contextmanager
    def pool(self, workers: int, every: int | None) -> Iterator[Run]:
        # keep_alive, or else the warm-up's workers would not be those of the measurement.
        with self.load().WorkerPool(workers, start_method="fork", keep_alive=True) as pool:

            def run(task: Task, inputs: Sequence[Any]) -> list[Any]:
                return list(
                    pool.imap_unordered(
                        task,
                        inputs,
                        max_tasks_active=UNFINISHED_PER_WORKER * workers,
                        chunk_size=1,
                        worker_lifespan=every,
                    )
                )

            yield run


CONTENDERS: dict[str, Contender] = {
    one.name: one
    for one in (
        _Ours(
            "ours",
            "`BoundedProcessPoolExecutor` of this project, `submit`, its own bound (`queue_size`)",
        ),
        _Ours(
            "ours-preload",
            'the same with `preload=("heavy_module",)`',
            preload=("heavy_module",),
        ),
        _Pool(
            "Pool",
            "`multiprocessing.Pool` of the standard library, forking, `apply_async`",
            "multiprocessing",
        ),
        _Standard(
            "ProcessPoolExecutor",
            "`concurrent.futures.ProcessPoolExecutor` of the standard library, `submit`; it forks, except "
            "where it replaces workers: there it refuses to fork, and spawns, and with tasks waiting it "
            "hangs in releases before the fix of CPython issue 115634",
            "fork",
        ),
        _Standard("ProcessPoolExecutor-spawn", "the same, spawning always", "spawn"),
        _Pebble("pebble", "`pebble.ProcessPool`, forking, `schedule`", "pebble", "Pebble"),
        _Mpire(
            "mpire",
            "`mpire.WorkerPool`, forking, `imap_unordered` with `chunk_size=1` and its own bound "
            "(`max_tasks_active`)",
            "mpire",
            "mpire",
        ),
        _Pool("billiard", "`billiard.Pool`, forking, `apply_async`", "billiard", "billiard", slow=True),
        _Deadpool(
            "deadpool",
            "`deadpool.Deadpool`, forking (as the others do; its default is a fork server), `submit`",
            "deadpool",
            "deadpool-executor",
        ),
        _Loky("loky", "`loky.ProcessPoolExecutor`, `submit`; it cannot replace workers", "loky", "loky"),
        _LokyReusable(
            "loky-reusable",
            "`loky.get_reusable_executor`, called again for each block",
            "loky",
            "loky",
        ),
    )
}
