"""Coroutines that are given up in the middle: by a cancellation, by a closed loop, by the executor's end."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from helpers import PATIENCE, assert_all_free, wait_until
from test_asyncio import exists, fail, heavy, increment, note_and_hang, run, until, wait_for_file

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._core.runtime import Core


def stop() -> NoReturn:
    raise StopIteration("of the task")


def stop_at(number: int) -> int:
    return number if number < 2 else stop()


class SlowToEnd:
    """An asynchronous input that takes its time to be cancelled, or does not mind it."""

    def __init__(self, items: int, *, goes_on: bool) -> None:
        self.items = items
        self.goes_on = goes_on
        self.pulled = 0
        self.waits = asyncio.Event()
        self.ending = asyncio.Event()
        self.may_end = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        if self.pulled < self.items:
            self.pulled += 1
            return self.pulled
        self.waits.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.ending.set()
            await self.may_end.wait()
            if not self.goes_on:
                raise
        self.pulled += 1
        return self.pulled


async def fetch(results: AsyncIterator[Any], fetched: list[Any]) -> None:
    async for result in results:
        fetched.append(result)


@pytest.mark.parametrize("goes_on", [False, True])
def test_amap_lets_go_of_all_though_it_is_cancelled_again_while_its_input_ends(
    tmp_path: Path, goes_on: bool
) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=10) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            inputs = SlowToEnd(4, goes_on=goes_on)
            consumer = asyncio.ensure_future(fetch(executor.amap(increment, inputs), []))
            await inputs.waits.wait()
            assert executor.stats().unfinished == 5
            consumer.cancel()
            await inputs.ending.wait()
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            assert executor.stats().unfinished == 1
            inputs.may_end.set()
            # It comes to an end, and submits nothing more.
            await until(lambda: len(asyncio.all_tasks()) <= 2)
            assert executor.stats().submitted == 5
            (tmp_path / "go").touch()
        assert executor.stats().held_bytes == 0

    run(main)


def test_amap_kills_what_runs_though_it_is_cancelled_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            inputs = SlowToEnd(0, goes_on=False)

            async def paths() -> AsyncIterator[Path]:
                yield tmp_path / "pid"
                async for _ in inputs:
                    pass

            results = executor.amap(note_and_hang, paths(), cancel_running=True)
            consumer = asyncio.ensure_future(fetch(results, []))
            await exists(tmp_path / "pid")
            await inputs.waits.wait()
            consumer.cancel()
            await inputs.ending.wait()
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            await until(lambda: executor.stats().unfinished == 0)
            inputs.may_end.set()

    run(main)


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("ticks", range(10))
def test_a_cancellation_that_comes_with_a_result_is_not_lost(ticks: int, unordered: bool) -> None:
    """``wait_for`` loses it before Python 3.12, at one of the turns of the loop."""

    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            goes_on = asyncio.Event()

            async def inputs() -> AsyncIterator[int]:
                yield 1
                await goes_on.wait()

            fetched: list[int] = []
            results = executor.amap(increment, inputs(), timeout=PATIENCE, unordered=unordered)
            consumer = asyncio.ensure_future(fetch(results, fetched))
            await until(lambda: executor.stats().submitted == 1)
            # The loop stands still until the result is on its way to it.
            wait_until(lambda: executor.stats().succeeded == 1 and not executor.stats().undelivered)
            for _ in range(ticks):
                await asyncio.sleep(0)
            consumer.cancel()
            with pytest.raises(asyncio.CancelledError):
                await consumer
            assert executor.stats().held_bytes == 0

    run(main)


def test_a_loop_that_is_closed_keeps_no_place_in_the_line(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
        loop = asyncio.new_event_loop()

        async def wait_in_vain() -> None:
            await executor.asubmit(increment, 1)

        async def main() -> asyncio.Task[None]:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            waiter = asyncio.ensure_future(wait_in_vain())
            await asyncio.sleep(0.05)
            return waiter

        waiter = loop.run_until_complete(main())
        loop.close()
        behind = concurrent.futures.ThreadPoolExecutor(1)
        late = behind.submit(executor.submit, increment, 2)
        (tmp_path / "go").touch()
        assert late.result(PATIENCE).result(PATIENCE) == 3
        assert not waiter.done()
        behind.shutdown()
        waiter._log_destroy_pending = False  # type: ignore[attr-defined]
        del waiter
        gc.collect()
        assert_all_free(executor)


def test_a_loop_that_is_closed_leaves_nothing_of_an_amap(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=100, queue_bytes=4 * 2**20) as executor:
        loop = asyncio.new_event_loop()
        results = executor.amap(heavy, range(40))

        async def begin(results: AsyncIterator[bytes]) -> None:
            await anext(results)
            await until(lambda: executor._core.dispatcher.parking)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task._log_destroy_pending = False  # type: ignore[attr-defined]

        loop.run_until_complete(begin(results))
        loop.close()
        assert executor.stats().held_bytes
        del results
        gc.collect()
        wait_until(lambda: not executor.stats().held_bytes and not executor.stats().waiting)
        assert_all_free(executor)


def test_one_executor_serves_several_loops_at_once() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=3) as executor:

        async def main() -> None:
            calls = (executor.asubmit(increment, number) for number in range(20))
            futures = [await call for call in calls]
            assert [await future for future in futures] == list(range(1, 21))
            assert [one async for one in executor.amap(increment, range(50))] == list(range(1, 51))

        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(run, main) for _ in range(4)]:
                done.result(PATIENCE)
        run(main)
        assert executor.stats().above_bound == 0
        assert_all_free(executor)


def test_a_task_that_raises_stop_iteration_is_an_error_as_others_are() -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            with pytest.raises(RuntimeError, match="StopIteration") as caught:
                await (await executor.asubmit(stop))
            assert isinstance(caught.value.__cause__, StopIteration)
            results = executor.amap(stop_at, range(5))
            assert [await anext(results), await anext(results)] == [0, 1]
            with pytest.raises(RuntimeError, match="StopIteration"):
                await anext(results)

    run(main)


def test_an_amap_whose_executor_cancels_is_not_taken_for_a_cancelled_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            await until(lambda: executor.stats().running == 1)
            fetched: list[int] = []
            consumer = asyncio.ensure_future(fetch(executor.amap(increment, range(5)), fetched))
            await until(lambda: executor.stats().waiting == 5)
            executor.shutdown(wait=False, cancel_futures=True)
            with pytest.raises(concurrent.futures.CancelledError, match="executor was shut down"):
                await consumer
            (tmp_path / "go").touch()

    run(main)


@pytest.mark.parametrize("way", ["kill", "break", "shutdown"])
def test_an_amap_whose_executor_ends_says_so(tmp_path: Path, way: str) -> None:
    async def main() -> None:
        executor = BoundedProcessPoolExecutor(1, queue_size=1)
        async with executor:
            results = executor.amap(note_and_hang, [tmp_path / "pid"] * 9, buffersize=3)
            consumer = asyncio.ensure_future(fetch(results, []))
            await exists(tmp_path / "pid")
            # Its second item waits for a slot.
            await until(lambda: len(executor._core.ledger._waiters) == 1)
            if way == "kill":
                executor.kill_workers()
            elif way == "break":
                executor._core.backend.note(lambda: executor._core.backend._break("broken by the test"))
            else:
                executor.shutdown(wait=False)
                executor._core.backend.kill(9)
            with pytest.raises(concurrent.futures.BrokenExecutor):
                await consumer
        assert executor.stats().unfinished == 0

    run(main)


def test_the_start_of_an_executor_that_nobody_waits_for_any_more_may_fail(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = threading.Event()
    started = threading.Event()

    def start(*args: object, **more: object) -> NoReturn:
        started.set()
        goes_on.wait(PATIENCE)
        raise LookupError("no process to be had")

    async def main() -> None:
        executor = BoundedProcessPoolExecutor(1)
        caller = asyncio.ensure_future(executor.asubmit(increment, 1))
        await until(started.is_set)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        goes_on.set()
        await until(lambda: not any(one.name == "bounded-blocking" for one in threading.enumerate()))
        await asyncio.sleep(0)
        monkeypatch.undo()
        executor.shutdown()

    monkeypatch.setattr(Core, "start", start)
    with caplog.at_level(logging.ERROR, "asyncio"):
        run(main)
        gc.collect()
    assert "never retrieved" not in caplog.text


def test_closing_an_amap_with_errors_that_nobody_fetched_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            with pytest.raises(ValueError, match="no 0"):
                async for _ in executor.amap(fail, range(10)):
                    pass
            results = executor.amap(fail, range(10), unordered=True)
            with pytest.raises(ValueError, match="no"):
                await anext(results)

    with caplog.at_level(logging.ERROR, "asyncio"):
        run(main)
        gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_block_that_is_cancelled_while_it_runs_a_map_to_its_end_is_cancelled() -> None:
    """Also where that map's input fails meanwhile."""
    waits = threading.Event()
    goes_on = threading.Event()

    def inputs() -> Iterator[int]:
        yield 1
        waits.set()
        goes_on.wait(PATIENCE)
        raise LookupError("no more")

    async def block() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
            executor.map(increment, inputs())

    async def main() -> None:
        task = asyncio.ensure_future(block())
        await until(waits.is_set)
        task.cancel()
        asyncio.get_running_loop().call_later(0.1, goes_on.set)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_a_slot_that_a_closed_loop_was_granted_for_an_amap_is_given_back() -> None:
    """What the executor keeps must not lead to the generator, which would never be collected."""
    with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
        loop = asyncio.new_event_loop()

        async def begin() -> None:
            results = executor.amap(increment, range(40))
            await anext(results)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            left.append(results)

        left: list[AsyncIterator[int]] = []
        loop.run_until_complete(begin())
        # The feeder has its next slot, or waits for it.
        loop.close()
        left.clear()
        gc.collect()
        wait_until(lambda: not executor.stats().unfinished and not executor.stats().held_bytes)
        assert_all_free(executor)


@pytest.mark.parametrize("waits", ["thread", "coroutine", "map"])
def test_slots_of_a_closed_loop_are_free_though_nothing_happens(waits: str) -> None:
    """A coroutine was granted the only slot, and another waits behind it, when their loop is closed."""
    with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
        loop = asyncio.new_event_loop()
        assert executor.submit(increment, 0).result(PATIENCE) == 1
        gc.disable()
        try:

            async def leave_two() -> None:
                held = await executor.asubmit(increment, 1)
                tasks = [asyncio.ensure_future(executor.asubmit(increment, 1)) for _ in range(2)]
                for task in tasks:
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                await asyncio.sleep(0)
                # The loop stands still while the first of them is granted its slot. On a slow machine it
                # may have been free before, and then that call is done too.
                wait_until(lambda: executor.stats().succeeded >= 2)
                held.cancel()

            loop.run_until_complete(leave_two())
            loop.close()
            if waits == "thread":
                assert executor.submit(increment, 2).result(PATIENCE) == 3
            elif waits == "map":
                assert list(executor.map(increment, range(3))) == [1, 2, 3]
            else:

                async def main() -> None:
                    assert await (await executor.asubmit(increment, 2)) == 3

                run(main)
        finally:
            gc.enable()
        gc.collect()
        assert_all_free(executor)


def test_an_amap_that_is_collected_after_the_end_weighs_nothing() -> None:
    executor = BoundedProcessPoolExecutor(1, queue_size=100)
    loop = asyncio.new_event_loop()

    async def begin() -> AsyncIterator[bytes]:
        results = executor.amap(heavy, range(4))
        await anext(results)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        return results

    results = loop.run_until_complete(begin())
    wait_until(lambda: not executor.stats().unfinished)
    loop.close()
    executor.shutdown()
    assert executor.stats().held_bytes
    del results
    gc.collect()
    assert not executor.stats().held_bytes
