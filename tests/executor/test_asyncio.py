"""Coroutines: waits that leave the event loop free, the same bounds, and cancellation."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import SPAWNED, run_script

from bounded_executor import BoundedProcessPoolExecutor, SubmitTimeout, TerminatedWorkerError
from bounded_executor._pool import crashes

PATIENCE = 90.0 if SPAWNED else 30.0


def increment(number: int) -> int:
    return number + 1


def wait_for_file(path: Path) -> str:
    while not path.exists():
        time.sleep(0.01)
    return path.name


def note_and_hang(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(600)


def heavy(number: int) -> bytes:
    return b"x" * 2**20


def fail(number: int) -> None:
    raise ValueError(f"no {number}")


def die(number: int) -> None:
    os._exit(7)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def in_time() -> None:
        await asyncio.wait_for(main(), PATIENCE)

    asyncio.run(in_time())


async def exists(path: Path) -> None:
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.01)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_asubmit_is_awaited_for_the_slot_and_for_the_result() -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            assert await (await executor.asubmit(increment, 1)) == 2
            with pytest.raises(ValueError, match="no 3"):
                await (await executor.asubmit(fail, 3))
            with pytest.raises(TerminatedWorkerError):
                await (await executor.asubmit(die, 3))
            with pytest.raises(TypeError, match="pickle"):
                await (await executor.asubmit(increment, threading.Lock()))  # type: ignore[arg-type]

    run(main)


def test_a_coroutine_waits_for_its_slot_while_the_loop_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=2) as executor:
            held = [await executor.asubmit(wait_for_file, tmp_path / "go") for _ in range(2)]
            third = asyncio.ensure_future(executor.asubmit(increment, 1))
            await asyncio.sleep(0.1)
            assert not third.done()
            assert executor.stats().unfinished == 2
            assert executor.stats().above_bound == 0
            (tmp_path / "go").touch()
            assert await (await third) == 2
            assert await asyncio.gather(*held) == ["go", "go"]

    run(main)


def test_coroutines_and_threads_stand_in_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        order: list[str] = []
        async with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")

            async def coroutine(name: str) -> None:
                future = await executor.asubmit(increment, 1)
                order.append(name)
                await future

            def thread() -> None:
                future = executor.submit(increment, 1)
                order.append("thread")
                future.result()

            first = asyncio.ensure_future(coroutine("first"))
            await asyncio.sleep(0.1)
            second = threading.Thread(target=thread)
            second.start()
            await asyncio.sleep(0.1)
            third = asyncio.ensure_future(coroutine("third"))
            await asyncio.sleep(0.1)
            (tmp_path / "go").touch()
            await asyncio.gather(first, third)
            await asyncio.to_thread(second.join)
        assert order == ["first", "thread", "third"]

    run(main)


def test_a_caller_that_is_cancelled_in_the_line_leaves_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            gone = asyncio.ensure_future(executor.asubmit(increment, 1))
            stays = asyncio.ensure_future(executor.asubmit(increment, 2))
            await asyncio.sleep(0.05)
            gone.cancel()
            with pytest.raises(asyncio.CancelledError):
                await gone
            (tmp_path / "go").touch()
            assert await (await stays) == 3
            assert executor.stats().submitted == 2

    run(main)


def test_a_slot_granted_in_the_moment_of_cancelling_is_passed_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            gone = asyncio.ensure_future(executor.asubmit(increment, 1))
            stays = asyncio.ensure_future(executor.asubmit(increment, 2))
            await asyncio.sleep(0.05)
            (tmp_path / "go").touch()
            # The loop stands still, so the slot is granted and nobody has been told.
            while not executor.stats().succeeded:
                time.sleep(0.01)
            gone.cancel()
            assert await (await stays) == 3
            with pytest.raises(asyncio.CancelledError):
                await gone

    run(main)


def test_submit_timeout_and_shutdown_reach_those_who_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=1, submit_timeout=0.05) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            with pytest.raises(SubmitTimeout, match=r"submit_timeout=0.05"):
                await executor.asubmit(increment, 1)
            (tmp_path / "go").touch()
        async with BoundedProcessPoolExecutor(1, queue_size=1) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "later")
            waiting = asyncio.ensure_future(executor.asubmit(increment, 1))
            await asyncio.sleep(0.05)
            executor.shutdown(wait=False)
            with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
                await waiting
            (tmp_path / "later").touch()
        with pytest.raises(RuntimeError, match="after shutdown"):
            await executor.asubmit(increment, 1)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.amap(increment, [1])

    run(main)


def test_cancelling_what_waits_gives_its_slot_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=2) as executor:
            await executor.asubmit(wait_for_file, tmp_path / "go")
            waits = await executor.asubmit(increment, 1)
            waits.cancel()
            # The first has its process; the other's slot is free.
            third = await executor.asubmit(increment, 2)
            (tmp_path / "go").touch()
            assert await third == 3
            assert executor.stats().cancelled == 1

    run(main)


@pytest.mark.parametrize("on_crash", ["isolate", "break"])
def test_cancelling_what_runs_kills_it_if_wanted(tmp_path: Path, on_crash: Any) -> None:
    async def main() -> None:
        executor = BoundedProcessPoolExecutor(1, on_crash=on_crash, task_retries=3)
        async with executor:
            future = await executor.asubmit(note_and_hang, tmp_path / "pid", cancel_running=True)
            waiter = asyncio.ensure_future(asyncio.wait_for(future, None))
            await exists(tmp_path / "pid")
            waiter.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiter
            pid = int((tmp_path / "pid").read_text())
            await until(lambda: not Path(f"/proc/{pid}").exists())
            assert await (await executor.asubmit(increment, 1)) == 2
            counts = executor.stats()
        assert (counts.cancelled, counts.children_crashed, counts.retried, counts.failed) == (1, 0, 0, 0)

    run(main)


def test_cancelling_what_rests_before_it_is_run_again_gives_its_slot_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crashes, "REST_SECONDS", 600)
    monkeypatch.setattr(crashes, "LONGEST_REST_SECONDS", 600)

    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=1, task_retries=3) as executor:
            future = await executor.asubmit(die, 1, cancel_running=True)
            await until(lambda: executor.stats().retried == 1)
            future.cancel()
            assert await (await executor.asubmit(increment, 1)) == 2
            counts = executor.stats()
        assert (counts.cancelled, counts.failed, counts.above_bound) == (1, 0, 0)

    run(main)


def test_cancelling_what_waits_to_be_run_again_needs_no_free_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker has the other task before it is due.
    monkeypatch.setattr(crashes, "REST_SECONDS", 10 if SPAWNED else 2)

    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=3, task_retries=3) as executor:
            future = await executor.asubmit(die, 1, cancel_running=True)
            await until(lambda: executor.stats().retried == 1)
            await executor.asubmit(wait_for_file, tmp_path / "go")
            await until(lambda: executor.stats().running == 1 and executor.stats().waiting == 1)
            future.cancel()
            await until(lambda: executor.stats().unfinished == 1)
            assert executor.stats().waiting == 0
            (tmp_path / "go").touch()

    run(main)


def test_cancelling_what_runs_leaves_it_alone_otherwise(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            future = await executor.asubmit(wait_for_file, tmp_path / "go")
            await until(lambda: executor.stats().running == 1)
            future.cancel()
            await asyncio.sleep(0.05)
            (tmp_path / "go").touch()
            await until(lambda: executor.stats().succeeded == 1)

    run(main)


async def later(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("source", [range, later], ids=["plain", "asynchronous"])
@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("buffersize", [None, 1, 3])
def test_amap(source: Any, unordered: bool, buffersize: int | None) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(2, queue_size=8) as executor:
            results = executor.amap(increment, source(100), unordered=unordered, buffersize=buffersize)
            found = [result async for result in results]
            assert (sorted(found) if unordered else found) == list(range(1, 101))
            assert executor.stats().above_bound == 0

    run(main)


def test_amap_takes_several_inputs_and_ends_with_the_shortest() -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            assert [one async for one in executor.amap(pow, later(5), range(3))] == [1, 1, 4]
            assert [one async for one in executor.amap(increment, [])] == []
            with pytest.raises(TypeError, match="got int"):
                executor.amap(increment, 3)  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="buffersize"):
                executor.amap(increment, [3], buffersize=0)

    run(main)


def test_amap_pulls_no_further_than_its_buffer() -> None:
    async def main() -> None:
        pulled = 0

        def inputs() -> Iterator[int]:
            nonlocal pulled
            while True:
                pulled += 1
                yield pulled

        async with BoundedProcessPoolExecutor(1) as executor:
            results = executor.amap(increment, inputs(), buffersize=4)
            assert pulled == 0
            for fetched in range(1, 20):
                await anext(results)
                await asyncio.sleep(0.01)
                assert pulled <= 4 + fetched
            await results.aclose()
        assert executor.stats().unfinished == 0

    run(main)


def test_an_error_ends_amap_after_the_results_before_it() -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            results = executor.amap(increment, inputs())
            assert await anext(results) == 2
            with pytest.raises(LookupError, match="no more"):
                await anext(results)
            with pytest.raises(ValueError, match="no 0"):
                await anext(executor.amap(fail, range(10)))
            assert await (await executor.asubmit(increment, 1)) == 2

    run(main)


def test_amap_has_one_deadline(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            results = executor.amap(note_and_hang, [tmp_path / "pid"], timeout=0.5, cancel_running=True)
            with pytest.raises(
                TimeoutError if hasattr(asyncio, "timeout") else Exception, match=r"timeout=0\.5"
            ):
                await anext(results)

    run(main)


def test_unfetched_results_of_amap_are_bounded_by_bytes() -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=100, queue_bytes=4 * 2**20) as executor:
            results = executor.amap(heavy, range(40))
            await anext(results)
            settled = 0
            while settled < 20:
                before = executor.stats().succeeded
                await asyncio.sleep(0.02)
                settled = settled + 1 if executor.stats().succeeded == before else 0
            # What was running may exceed it.
            assert executor.stats().held_bytes < 8 * 2**20
            assert [len(result) async for result in results] == [2**20] * 39
            assert executor.stats().held_bytes == 0

    run(main)


def test_closing_amap_leaves_nothing_of_what_waits_for_room(tmp_path: Path) -> None:
    async def main() -> None:
        async with BoundedProcessPoolExecutor(1, queue_size=100, queue_bytes=4 * 2**20) as executor:
            results = executor.amap(heavy, range(40))
            await anext(results)
            await until(lambda: executor._core.dispatcher.parking)
            # Nobody comes by to find that they are not wanted any more.
            await executor.asubmit(wait_for_file, tmp_path / "go")
            await until(lambda: executor.stats().running == 1)
            await results.aclose()
            await asyncio.sleep(0)
            counts = executor.stats()
            assert (counts.unfinished, counts.waiting) == (1, 0)
            (tmp_path / "go").touch()

    run(main)


def test_a_cancelled_block_ends_at_once(tmp_path: Path) -> None:
    async def block() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            await (await executor.asubmit(note_and_hang, tmp_path / "pid"))

    async def main() -> None:
        task = asyncio.ensure_future(block())
        await exists(tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pid = int((tmp_path / "pid").read_text())
        assert not Path(f"/proc/{pid}").exists()

    run(main)


def test_a_block_that_waits_for_its_tasks_can_be_cancelled(tmp_path: Path) -> None:
    async def block() -> None:
        async with BoundedProcessPoolExecutor(1) as executor:
            await executor.asubmit(note_and_hang, tmp_path / "pid")

    async def main() -> None:
        task = asyncio.ensure_future(block())
        await exists(tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


INHERITED = """
import asyncio
import os
import signal
import sys
import warnings

from bounded_executor import BoundedProcessPoolExecutor

warnings.simplefilter("ignore", DeprecationWarning)


async def block():
    async with BoundedProcessPoolExecutor(1) as executor:
        if USED:
            assert await (await executor.asubmit(abs, -1)) == 1
        pid = os.fork()
        if pid:
            assert os.waitpid(pid, 0)[1] == 0
            assert await (await executor.asubmit(abs, -1)) == 1
            return
        signal.alarm(30)
        try:
            await executor.asubmit(abs, -1)
        except RuntimeError as error:
            assert "fork" in str(error), error
        else:
            os._exit(3)
        if ERROR:
            raise asyncio.CancelledError


async def main():
    parent = os.getpid()
    try:
        await block()
    finally:
        if os.getpid() != parent:
            # The two share what the event loop waits by, so it must not be closed here.
            os._exit(sys.exc_info()[0] not in (None, asyncio.CancelledError))


asyncio.run(main())
"""


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("error", [False, True])
def test_a_block_that_was_inherited_through_fork_ends_at_once(used: bool, error: bool) -> None:
    run_script(INHERITED.replace("USED", str(used)).replace("ERROR", str(error)))


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupt_that_a_task_raised_is_an_error_as_others_are(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(KeyboardInterrupt):
            async with BoundedProcessPoolExecutor(1) as executor:
                interrupted = await executor.asubmit(interrupt)
                others = [await executor.asubmit(wait_for_file, tmp_path / "go") for _ in range(2)]
                try:
                    await interrupted
                finally:
                    threading.Timer(0.5, (tmp_path / "go").touch).start()
        # Nothing was killed or cancelled for it.
        assert await asyncio.gather(*others) == ["go", "go"]

    run(main)


HEARTBEAT = """
import asyncio
import time

from bounded_executor import BoundedProcessPoolExecutor


async def beat(gaps):
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.01)
        now = time.perf_counter()
        gaps.append(now - last)
        last = now


async def main():
    gaps = []
    heart = asyncio.ensure_future(beat(gaps))
    loop = asyncio.get_running_loop()
    async with BoundedProcessPoolExecutor(2, queue_size=8) as executor:
        results = await asyncio.gather(*[await executor.asubmit(abs, -n) for n in range(1700)])
        results += [result async for result in executor.amap(abs, range(1700))]
        results += await asyncio.gather(*[loop.run_in_executor(executor, abs, n) for n in range(1600)])
    assert len(results) == 5000
    heart.cancel()
    print(len(gaps), max(gaps))


asyncio.run(main())
"""


def test_the_event_loop_goes_on_beside_thousands_of_tasks() -> None:
    done = run_script(HEARTBEAT, seconds=60, quiet=False)
    assert int(done.split()[0]) > 5
