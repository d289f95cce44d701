# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What type checkers find in programs that use the package: for mypy and pyright to read, and not to be run.

Each ``type: ignore`` stands for an error that is to be found. One that is not needed is an error itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from bounded_executor import (
    BoundedExecutor,
    BoundedFuture,
    BoundedProcessPoolExecutor,
    MapIterator,
    TaskTimeout,
    TerminatedWorkerError,
)

if TYPE_CHECKING:
    from typing_extensions import assert_type


def count(text: str, *, twice: bool = False) -> int:
    return len(text) * (2 if twice else 1)


def submitted(ex: BoundedExecutor) -> None:
    future = ex.submit(count, "a", twice=True)
    assert_type(future, BoundedFuture[int])
    assert_type(future.result(), int)
    assert_type(future.exception(), BaseException | None)
    assert_type(future.seconds, float | None)
    ex.submit(count, 5)  # type: ignore[arg-type]
    ex.submit_nowait(count, thrice=True)  # type: ignore[call-arg]


def with_callbacks(future: BoundedFuture[int]) -> None:
    def told(done: BoundedFuture[int]) -> None:
        assert_type(done.attempts, int)

    def told_of_any(done: Future[int]) -> int:
        return done.result()

    def told_of_texts(done: BoundedFuture[str]) -> None: ...

    future.add_done_callback(told)
    future.add_done_callback(told_of_any)
    future.add_done_callback(lambda done: print(done.attempts))
    future.add_done_callback(told_of_texts)  # type: ignore[arg-type]


def mapped(ex: BoundedProcessPoolExecutor) -> Iterator[int]:
    results = ex.map(count, ["a", "b"], buffersize=2)
    assert_type(results, MapIterator[int])
    assert_type(len(results), int)
    assert_type(next(results), int)
    for result in results:
        assert_type(result, int)
    results.close()
    return results


async def awaited(ex: BoundedProcessPoolExecutor) -> None:
    future = await ex.asubmit(count, "a", twice=True)
    assert_type(future, asyncio.Future[int])
    assert_type(await future, int)
    assert_type(await ex.asubmit(count, "a", cancel_running=True), asyncio.Future[int])
    await ex.asubmit(count, 5)  # type: ignore[call-overload]
    await ex.asubmit(count, "a", thrice=True)  # type: ignore[call-arg]
    assert_type(ex.amap(count, ["a"]), AsyncGenerator[int, None])
    async with ex as entered:
        assert_type(entered, BoundedProcessPoolExecutor)


def failed(error: TerminatedWorkerError | TaskTimeout) -> None:
    assert_type(error.pid, int | None)
    assert_type(error.oom_killed, bool | None)
    assert_type(error.task_name, str | None)
    assert_type(error.stack, str | None)


def takes_any(ex: Executor) -> None: ...


takes_any(BoundedProcessPoolExecutor(1))
