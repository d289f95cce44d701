"""Who calls ``submit``: callbacks, event loops, crowds of threads, holders of locks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, run_script

from bounded_executor import BoundedProcessPoolExecutor


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


# Callers that must never block.


def test_submitting_from_a_callback_is_admitted_above_the_bound() -> None:
    done = threading.Event()
    results: list[int] = []

    def next_one(future: Future[int]) -> None:
        results.append(future.result())
        if len(results) == 50:
            done.set()
        else:
            for _ in range(2):
                ex.submit(tasks.give, len(results))
            ex.submit(tasks.give, len(results)).add_done_callback(next_one)

    with BoundedProcessPoolExecutor(1, queue_size=1) as ex:
        ex.submit(tasks.give, 0).add_done_callback(next_one)
        assert done.wait(PATIENCE)
        assert results == list(range(50))
        assert ex.stats().above_bound > 0


def test_what_was_admitted_above_the_bound_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> list[Any]:
        futures = [ex.submit(tasks.give, number) for number in range(20)]
        return await asyncio.gather(*map(asyncio.wrap_future, futures))

    with (
        caplog.at_level(logging.WARNING, "bounded_executor"),
        BoundedProcessPoolExecutor(1, queue_size=2) as ex,
    ):
        assert asyncio.run(main()) == list(range(20))
        assert ex.stats().above_bound > 0
        assert ex.stats().above_bound <= 18
    assert len(caplog.records) == 1
    assert "queue_size=2" in caplog.text


@pytest.mark.parametrize("caller", ["coroutine", "run_in_executor", "callback"])
def test_the_record_recommends_what_fits_the_caller(
    caller: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def of_a_coroutine() -> None:
        ex.submit(tasks.give)

    async def of_the_loop() -> None:
        asyncio.get_running_loop().run_in_executor(ex, tasks.give)

    with BoundedProcessPoolExecutor(2, queue_size=2) as ex, Gate(tmp_path) as gate:
        if caller == "callback":
            other = ex.submit(tasks.give)
            ended = threading.Event()
            held = ex.submit(gate.hold)
            other.result(PATIENCE)
            ex.submit(gate.hold)

            def submit(_: Future[Any]) -> None:
                ex.submit(tasks.give)
                ended.set()

            # On the thread that runs callbacks, with both slots taken.
            with BoundedProcessPoolExecutor(1) as another:
                another.submit(tasks.give).add_done_callback(submit)
                assert ended.wait(PATIENCE)
            assert not held.done()
        else:
            for _ in range(2):
                ex.submit(gate.hold)
            asyncio.run(of_a_coroutine() if caller == "coroutine" else of_the_loop())
    (record,) = [record for record in caplog.records if "admitted above the bound" in record.getMessage()]
    assert ("Use asubmit" in record.getMessage()) == (caller != "callback")
    assert ("Submit from another thread" in record.getMessage()) == (caller == "callback")


async def gather_through_the_loop(ex: BoundedProcessPoolExecutor) -> list[int]:
    loop = asyncio.get_running_loop()
    return await asyncio.gather(*[loop.run_in_executor(ex, tasks.double, n) for n in range(30)])


def test_run_in_executor_of_asyncio() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=2) as ex:
        assert asyncio.run(gather_through_the_loop(ex)) == [2 * n for n in range(30)]
        assert ex.stats().above_bound > 0
        assert_all_free(ex)


def test_run_in_executor_of_uvloop() -> None:
    pytest.importorskip("uvloop")
    # In a process of its own: libuv keeps a pipe open until its process ends.
    code = """
        import asyncio, uvloop
        from bounded_executor import BoundedProcessPoolExecutor
        from test_callers import gather_through_the_loop

        with BoundedProcessPoolExecutor(2, queue_size=2) as ex:
            loop = uvloop.new_event_loop()
            print(loop.run_until_complete(gather_through_the_loop(ex)) == [2 * n for n in range(30)])
            print(ex.stats().above_bound > 0)
            loop.close()
    """
    assert run_script(code, quiet=False).split() == ["True", "True"]


def test_run_in_executor_of_tornado() -> None:
    ioloop = pytest.importorskip("tornado.ioloop")

    async def main() -> list[int]:
        loop = ioloop.IOLoop.current()
        return await asyncio.gather(*[loop.run_in_executor(ex, tasks.double, n) for n in range(30)])

    with BoundedProcessPoolExecutor(2, queue_size=2) as ex:
        assert asyncio.run(main()) == [2 * n for n in range(30)]
        assert ex.stats().above_bound > 0


def test_a_cell_of_a_notebook_blocks_although_a_loop_is_running() -> None:
    """A kernel executes it from a coroutine, and it may define and call functions."""
    cell = """
def submit_all():
    return [ex.submit(tasks.double, number) for number in range(20)]

futures = submit_all() + [ex.submit(tasks.double, number) for number in range(20, 30)]
"""

    async def main() -> list[int]:
        namespace: dict[str, Any] = {"ex": ex, "tasks": tasks}
        exec(cell, namespace)
        return [future.result(PATIENCE) for future in namespace["futures"]]

    with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
        assert asyncio.run(main()) == [2 * n for n in range(30)]
        assert ex.stats().above_bound == 0


def test_a_plain_function_that_a_coroutine_calls_does_not_stop_the_loop(tmp_path: Path) -> None:
    """At any depth, in a generator, a method or a comprehension, and from a class body."""

    def deep(depth: int) -> list[Future[int]]:
        if depth:
            return deep(depth - 1)

        class Holder:
            futures = tuple(ex.submit(tasks.double, number) for number in range(10))

        return [*Holder.futures, *(ex.submit(tasks.double, number) for number in range(10, 20))]

    async def main() -> list[int]:
        with Gate(tmp_path) as gate:
            # Nothing ends before this function is through.
            ex.submit_nowait(gate.hold)
            futures = await asyncio.wait_for(asyncio.ensure_future(call(deep, 5)), PATIENCE)
        return [future.result(PATIENCE) for future in futures]

    async def call(function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
        assert asyncio.run(main()) == [2 * n for n in range(20)]
        assert ex.stats().above_bound > 0


# Many callers, locks, callbacks.


def test_fifty_threads_submit_at_once(threads: ThreadPoolExecutor) -> None:
    start = threading.Barrier(50)

    def produce(number: int) -> list[int]:
        start.wait(PATIENCE)
        futures = [ex.submit(tasks.add, number, step) for step in range(10)]
        assert ex.stats().unfinished <= 3
        return [future.result(PATIENCE) for future in futures]

    with BoundedProcessPoolExecutor(2, queue_size=3) as ex:
        for number, results in enumerate(threads.map(produce, range(50))):
            assert results == [number + step for step in range(10)]
        assert ex.stats().above_bound == 0
        assert_all_free(ex)


@pytest.mark.parametrize("producers", [1, 20])
def test_a_lock_held_in_submit_and_taken_by_the_callback(threads: ThreadPoolExecutor, producers: int) -> None:
    lock = threading.RLock()
    done: list[int] = []

    def note(future: Future[int]) -> None:
        with lock:
            done.append(future.result())

    def produce(number: int) -> None:
        for step in range(20 // producers):
            with lock:
                ex.submit(tasks.give, (number, step)).add_done_callback(note)

    with BoundedProcessPoolExecutor(2, queue_size=4) as ex:
        list(threads.map(produce, range(producers)))
    assert sorted(done) == sorted((n, s) for n in range(producers) for s in range(20 // producers))


def test_a_stuck_callback_does_not_stop_the_producer() -> None:
    go = threading.Event()
    with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
        try:
            ex.submit(tasks.give).add_done_callback(lambda _: go.wait(PATIENCE))
            for _ in range(5):
                ex.submit(tasks.give)
            assert not go.is_set()
        finally:
            go.set()


def test_slow_callbacks_hold_the_producer_back() -> None:
    pause = threading.Event()
    with BoundedProcessPoolExecutor(2, queue_size=20) as ex:
        for _ in range(1_000):
            ex.submit(tasks.give).add_done_callback(lambda _: pause.wait(0.001))
            counts = ex.stats()
            assert counts.undelivered + counts.unfinished <= 2 * 20 + counts.above_bound
        assert ex.stats().above_bound < 50


def test_a_callback_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def bad(_: object) -> None:
        raise LookupError("callback")

    with (
        caplog.at_level(logging.CRITICAL + 1, "concurrent.futures"),
        BoundedProcessPoolExecutor(1, queue_size=2) as ex,
    ):
        for _ in range(10):
            ex.submit(tasks.give).add_done_callback(bad)
        assert_all_free(ex)


SLOW_CALLBACKS = """
    import sys, time
    from bounded_executor import BoundedProcessPoolExecutor
    import tasks

    def peak():
        with open("/proc/self/status") as status:
            return int(next(line for line in status if line.startswith("VmHWM")).split()[1])

    def callback(_):
        global calls
        calls += 1
        time.sleep(0.001)

    calls, count = 0, int(sys.argv[1])
    with BoundedProcessPoolExecutor(2) as ex:
        for number in range(count):
            ex.submit(tasks.give, number).add_done_callback(callback)
            if number == count // 20:
                early = peak()
    assert calls == count, calls
    print(peak() - early)
"""


@pytest.mark.slow
def test_memory_is_flat_under_two_hundred_thousand_slow_callbacks() -> None:
    grown = int(run_script(SLOW_CALLBACKS, 200_000, seconds=1500))
    assert grown < 5_000, f"peak memory grew by {grown} kB"
