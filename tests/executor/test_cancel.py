"""Cancelling: what no worker was given goes at once, and its slot with it."""

from __future__ import annotations

from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, callers_waiting, wait_until

from bounded_executor import BoundedProcessPoolExecutor


def test_a_waiting_task_is_cancelled_at_once_and_gives_its_slot_back(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, queue_size=3) as ex, Gate(tmp_path) as gate:
        running = ex.submit(gate.hold, "running")
        gate.wait_started(1)
        waiting = [ex.submit(tasks.mark, log) for _ in range(2)]
        assert all(future.cancel() for future in waiting)
        stats = ex.stats()
        assert (stats.unfinished, stats.waiting, stats.cancelled) == (1, 0, 2)
        more = [ex.submit_nowait(tasks.give, number) for number in range(2)]
        gate.open()
        assert running.result(PATIENCE) == "running"
        assert [future.result(PATIENCE) for future in more] == [0, 1]
        for future in waiting:
            assert future.cancelled()
            with pytest.raises(CancelledError):
                future.result()
        assert_all_free(ex)
    assert tasks.marks(log) == 0


def test_cancelling_wakes_a_caller_that_waits_for_a_slot(tmp_path: Path) -> None:
    with (
        ThreadPoolExecutor(1) as thread,
        BoundedProcessPoolExecutor(1, queue_size=2) as ex,
        Gate(tmp_path) as gate,
    ):
        ex.submit(gate.hold)
        gate.wait_started(1)
        waiting = ex.submit(tasks.give)
        blocked = thread.submit(ex.submit, tasks.give, "later")
        wait_until(lambda: callers_waiting(ex) == 1)
        assert waiting.cancel()
        later = blocked.result(PATIENCE)
        gate.open()
        assert later.result(PATIENCE) == "later"


def test_what_runs_or_is_done_cannot_be_cancelled(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        running = ex.submit(gate.hold, 1)
        gate.wait_started(1)
        assert running.running()
        assert not running.cancel()
        gate.open()
        assert running.result(PATIENCE) == 1
        assert not running.cancel()
        assert ex.stats().cancelled == 0


def test_cancelling_twice_counts_once(tmp_path: Path) -> None:
    calls: list[Future[None]] = []
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        future = ex.submit(tasks.give)
        future.add_done_callback(calls.append)
        assert future.cancel()
        assert future.cancel()
        assert calls == [future]
        assert ex.stats().cancelled == 1
        gate.open()
        assert_all_free(ex)


def test_wait_and_as_completed_see_cancelled_futures(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        running = ex.submit(gate.hold)
        gate.wait_started(1)
        first, second = ex.submit(tasks.give), ex.submit(tasks.give)
        first.cancel()
        assert wait([running, first], PATIENCE, FIRST_COMPLETED).done == {first}
        second.cancel()
        assert set(as_completed([first, second], PATIENCE)) == {first, second}
        assert wait([first, second], PATIENCE, ALL_COMPLETED).not_done == set()


def test_a_waiter_is_woken_by_a_cancel(tmp_path: Path) -> None:
    with (
        ThreadPoolExecutor(3) as threads,
        BoundedProcessPoolExecutor(1) as ex,
        Gate(tmp_path) as gate,
    ):
        ex.submit(gate.hold)
        gate.wait_started(1)
        future = ex.submit(tasks.give)
        waited = threads.submit(wait, [future], PATIENCE)
        completed = threads.submit(lambda: list(as_completed([future], PATIENCE)))
        fetched = threads.submit(future.result, PATIENCE)
        wait_until(lambda: len(future._waiters) == 2)
        assert future.cancel()
        assert waited.result(PATIENCE).done == {future}
        assert completed.result(PATIENCE) == [future]
        assert isinstance(fetched.exception(PATIENCE), CancelledError)


def test_cancel_futures_cancels_all_that_waits_and_nothing_that_runs(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        running = [ex.submit(gate.hold, number) for number in range(2)]
        gate.wait_started(2)
        waiting = [ex.submit(tasks.mark, log) for _ in range(50)]
        done: list[Future[None]] = []
        for future in waiting:
            future.add_done_callback(done.append)
        ex.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in waiting)
        assert set(as_completed(waiting, PATIENCE)) == set(waiting) == set(done)
        assert ex.stats().cancelled == 50
        gate.open()
        assert [future.result(PATIENCE) for future in running] == [0, 1]
    assert tasks.marks(log) == 0
    assert ex.stats().unfinished == 0


def test_a_thousand_cancelled_tasks_leave_all_slots_free(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=100) as ex, Gate(tmp_path) as gate:
        for _ in range(2):
            ex.submit(gate.hold)
        gate.wait_started(2)
        for _ in range(1_000):
            assert ex.submit(tasks.give, bytes(1_000)).cancel()
        stats = ex.stats()
        assert (stats.cancelled, stats.unfinished, stats.waiting) == (1_000, 2, 0)
        gate.open()
        assert_all_free(ex)


def test_cancelling_while_workers_take_tasks_loses_no_slot() -> None:
    """Cancels race with workers; either side may win, and each task ends exactly once."""
    with BoundedProcessPoolExecutor(2, queue_size=8) as ex:
        ended: list[Future[int]] = []
        futures = []
        for number in range(600):
            future = ex.submit(tasks.give, number)
            future.add_done_callback(ended.append)
            futures.append(future)
            futures[number // 2].cancel()
            future.cancel() if number % 3 else None
        wait(futures, PATIENCE)
        wait_until(lambda: len(ended) == 600)
        for number, future in enumerate(futures):
            assert future.cancelled() or future.result() == number
        stats = ex.stats()
        assert stats.succeeded + stats.cancelled == 600
        assert stats.cancelled == sum(future.cancelled() for future in futures)
        assert_all_free(ex)
