"""Failures that a program never asks for are logged, once, with their number and the first traceback."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures import TimeoutError as FuturesTimeoutError
from contextlib import contextmanager
from typing import Any

import pytest
import tasks
from dask_cluster import cluster
from helpers import PATIENCE, Gate, run_script, wait_until

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor

Make = Callable[[], BoundedExecutor]


@contextmanager
def over_threads() -> Iterator[BoundedExecutor]:
    with ThreadPoolExecutor(2) as below, BoundedExecutor(below, queue_size=50) as ex:
        yield ex


@contextmanager
def over_processes() -> Iterator[BoundedExecutor]:
    with BoundedProcessPoolExecutor(2, queue_size=50) as ex:
        yield ex


@pytest.fixture(params=[over_processes, over_threads], ids=["processes", "threads"])
def opened(request: pytest.FixtureRequest) -> Any:
    return request.param


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    gc.collect()
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "never asked for" in record.getMessage()
    ]


def fail_all(ex: BoundedExecutor, count: int) -> list[Future[Any]]:
    futures: list[Future[Any]] = [ex.submit(tasks.fail, f"number {number}") for number in range(count)]
    wait(futures, PATIENCE)
    return futures


def test_dropped_failures_are_logged_at_the_end(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    with opened() as ex:
        for number in range(1_000):
            ex.submit(tasks.fail, f"number {number}")
        assert told(caplog) == []
    (text,) = told(caplog)
    assert "asked for: 1000." in text
    assert "in fail\n" in text
    assert text.count("Traceback (most recent call last)") == 1
    # One of the first that came, from whichever worker.
    assert re.fullmatch(r"ValueError: number \d{1,2}", text.splitlines()[-1])


def test_dropped_failures_on_a_cluster_are_logged_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("distributed")
    with cluster(1) as found, BoundedExecutor.for_dask(found.address) as ex:
        for number in range(100):
            ex.submit(tasks.fail, f"number {number}")
    (text,) = told(caplog)
    assert "asked for: 100." in text
    assert "in fail\n" in text


def ask_result(futures: list[Future[Any]]) -> None:
    for future in futures:
        with pytest.raises(ValueError, match="number"):
            future.result(PATIENCE)


def ask_as_completed(futures: list[Future[Any]]) -> None:
    for future in as_completed(futures, PATIENCE):
        with pytest.raises(ValueError, match="number"):
            future.result()


def ask_exception(futures: list[Future[Any]]) -> None:
    assert all(future.exception(PATIENCE) for future in futures)


def add_callback(futures: list[Future[Any]]) -> None:
    for future in futures:
        future.add_done_callback(lambda _: None)


def wrap(futures: list[Future[Any]]) -> None:
    async def look() -> None:
        found = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        assert all(isinstance(one, ValueError) for one in found)

    asyncio.run(look())


ASK = [ask_result, ask_as_completed, ask_exception, add_callback, wrap]


@pytest.mark.parametrize("after", [False, True], ids=["in the block", "after the block"])
@pytest.mark.parametrize("ask", ASK)
def test_who_asks_is_not_told(
    ask: Callable[[list[Future[Any]]], None], after: bool, opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with opened() as ex:
        futures = fail_all(ex, 20)
        if not after:
            ask(futures)
    if after:
        ask(futures)
    del futures
    assert told(caplog) == []


@pytest.mark.parametrize("ask", ASK)
def test_who_asks_before_the_outcome_is_not_told(
    ask: Callable[[list[Future[Any]]], None], tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        futures: list[Future[Any]] = [ex.submit(tasks.fail, "number")]
        asking = threading.Thread(target=ask, args=(futures,))
        asking.start()
        gate.open()
        asking.join(PATIENCE)
        del futures, asking
    assert told(caplog) == []


def test_who_asks_at_the_very_moment_of_the_failure_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    futures: list[Future[Any]] = []
    submitted = threading.Event()

    class AskingError(Exception):
        # Its text is asked for after it was seen that nothing has asked yet, and before the future holds it.
        def __str__(self) -> str:
            futures[0].add_done_callback(lambda _: None)
            return ""

    def fail() -> None:
        submitted.wait(PATIENCE)
        raise AskingError

    with over_threads() as ex:
        futures.append(ex.submit(fail))
        submitted.set()
    assert isinstance(futures[0]._exception, AskingError)  # type: ignore[attr-defined]
    del futures[:]
    assert told(caplog) == []


def test_maps_and_coroutines_are_not_counted(opened: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def look(ex: BoundedExecutor) -> None:
        future = await ex.asubmit(tasks.fail, "number")
        with pytest.raises(ValueError, match="number"):
            await future
        with pytest.raises(ValueError, match="number"):
            async for _ in ex.amap(tasks.fail, ["number"] * 3):
                pass

    with opened() as ex:
        asyncio.run(look(ex))
        with pytest.raises(ValueError, match="number"):
            list(ex.map(tasks.fail, ["number"] * 3))
    assert told(caplog) == []


def test_waiting_alone_is_not_asking(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(tasks.fail, "number")
        wait([future], PATIENCE)
        del future
    assert len(told(caplog)) == 1


def test_a_result_that_came_too_late_was_not_seen(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        future = ex.submit(tasks.fail, "number")
        with pytest.raises(FuturesTimeoutError):
            future.result(0)
        del future
    assert len(told(caplog)) == 1


def test_results_and_cancelled_tasks_are_no_failures(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        for _ in range(20):
            ex.submit(tasks.give)
        assert ex.submit(tasks.give).cancel()
        gate.wait_started(1)
        gate.open()
        ex.shutdown(cancel_futures=True)
    assert told(caplog) == []


def test_some_are_dropped_before_the_end_and_some_after(
    opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with opened() as ex:
        early, late, read = fail_all(ex, 3), fail_all(ex, 50), fail_all(ex, 4)
        early.clear()
    (text,) = told(caplog)
    assert "asked for: 3." in text
    ask_exception(read)
    while len(late) > 1:
        late.pop(0)
    # The last one may be read yet.
    assert len(told(caplog)) == 1
    late.clear()
    _, text = told(caplog)
    assert "asked for: 50." in text
    assert text.endswith("ValueError: number 0")


def test_what_a_call_that_cannot_be_pickled_fails_with_counts(caplog: pytest.LogCaptureFixture) -> None:
    ex = BoundedProcessPoolExecutor(1)
    # Nothing was started.
    ex.submit(tasks.give, threading.Lock())
    ex.shutdown()
    (text,) = told(caplog)
    assert "asked for: 1." in text and "TypeError" in text


def test_an_executor_that_was_dropped_tells_too(caplog: pytest.LogCaptureFixture) -> None:
    ex = BoundedProcessPoolExecutor(1)
    ex.submit(tasks.fail)
    del ex
    wait_until(lambda: told(caplog))
    unstarted = BoundedProcessPoolExecutor(1)
    unstarted.submit(tasks.give, threading.Lock())
    del unstarted
    assert len(told(caplog)) == 2


def test_what_breaks_the_executor_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with (
        BoundedProcessPoolExecutor(1, initializer=tasks.fail_initializer, initargs=("a reason",)) as ex,
        pytest.raises(RuntimeError),
    ):
        for _ in range(10_000):
            ex.submit(tasks.give)
    (text,) = told(caplog)
    assert "BrokenProcessPool: the initializer failed" in text
    assert "a reason" in text


@pytest.mark.parametrize("number", ["terminate_workers", "kill_workers"])
def test_tasks_that_the_program_kills_are_no_news(
    number: str, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        getattr(ex, number)()
    assert told(caplog) == []


def test_ctrl_c_is_no_news(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(tmp_path)
    with pytest.raises(KeyboardInterrupt), BoundedProcessPoolExecutor(1) as ex:
        ex.submit(gate.hold)
        gate.wait_started(1)
        raise KeyboardInterrupt
    assert told(caplog) == []


class LongError(Exception):
    def __str__(self) -> str:
        return "x" * 100_000 + " the end"


def fail_at_length() -> None:
    raise LongError


class BadError(Exception):
    def __str__(self) -> str:
        raise SystemExit("of the text")


def fail_badly() -> None:
    raise BadError


@pytest.mark.parametrize("task", [fail_at_length, fail_badly])
def test_what_is_told_is_bounded(
    task: Callable[[], None], opened: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with opened() as ex:
        ex.submit(task)
        ex.submit(tasks.give, 1).result(PATIENCE)
    (text,) = told(caplog)
    assert len(text) < 5_000


def test_no_frame_of_a_failed_task_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    held: list[weakref.ref[Any]] = []

    def fail() -> None:
        local = tasks.Tracked()
        held.append(weakref.ref(local))
        raise ValueError("of a thread")

    with over_threads() as ex:
        ex.submit(fail)
        wait_until(lambda: gc.collect() is not None and held and held[0]() is None)
    assert len(told(caplog)) == 1


def test_a_failure_is_collected_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    """A future in a cycle goes in the middle of another executor's own steps."""
    with BoundedProcessPoolExecutor(1, queue_size=2) as other:
        other.submit(tasks.give).result(PATIENCE)
        for number in range(1, 100):
            with over_threads() as ex:
                future: Any = ex.submit(tasks.fail)
                wait([future])
            future.me = future
            del future
            gc.set_threshold(number)
            try:
                other.submit(tasks.give).result(PATIENCE)
            finally:
                gc.set_threshold(700, 10, 10)
    wait_until(lambda: len(told(caplog)) == 99)


def test_the_interpreters_end_tells_what_is_still_held() -> None:
    code = """
        import logging, sys, tasks
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(1) as ex:
            kept = [ex.submit(tasks.fail, "held") for _ in range(3)]
        unended = BoundedProcessPoolExecutor(1)
        more = unended.submit(tasks.fail, "not ended")
        print("done")
    """
    out = run_script(code)
    first, second = out[out.index("done") :].split("WARNING ")[1:]
    assert "asked for: 3." in first and "ValueError: held" in first
    assert "asked for: 1." in second and "ValueError: not ended" in second


def test_a_forked_copy_tells_nothing() -> None:
    code = """
        import logging, os, sys, tasks
        logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
        from bounded_executor import BoundedProcessPoolExecutor
        # multiprocessing would complain of a warm process that the copy's end cannot wait for.
        with BoundedProcessPoolExecutor(1, idle_timeout=0) as ex:
            kept = [ex.submit(tasks.fail, "held") for _ in range(3)]
        pid = os.fork()
        if not pid:
            kept.clear()
            sys.exit()
        os.waitpid(pid, 0)
        print("waited", flush=True)
        for future in kept:
            future.exception()
    """
    assert run_script(code) == "waited\n"


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    code = """
        import resource, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(2) as ex:
            for number in range(100_000):
                ex.submit(tasks.fail, number)
                if number == 20_000:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024)
    """
    assert run_script(code, seconds=300, quiet=False) == "True\n"


def test_this_process_is_left_with_nothing_to_tell() -> None:
    from bounded_executor import _unretrieved

    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.fail).exception(PATIENCE)
        ex.submit(tasks.fail)
    gc.collect()
    assert not [one for one in _unretrieved._open if one._pid == os.getpid() and one._pending]
