"""What an executor says of itself and its tasks: times and attempts, counters, levels, ``repr``."""

from __future__ import annotations

import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError


def test_a_future_knows_how_long_its_task_ran_and_that_it_ran_once() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(time.sleep, 0.2)
        assert future.result(PATIENCE) is None
        assert future.seconds is not None
        assert 0.2 <= future.seconds < PATIENCE
        assert future.attempts == 1


def test_a_done_callback_finds_seconds_and_attempts() -> None:
    seen: list[tuple[float | None, int]] = []
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(tasks.double, 1)
        future.add_done_callback(lambda one: seen.append((one.seconds, one.attempts)))
    assert seen == [(future.seconds, 1)]
    assert future.seconds is not None


def test_a_task_that_raised_has_its_time() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(int, "no number")
        assert isinstance(future.exception(PATIENCE), ValueError)
    assert future.seconds is not None
    assert future.seconds > 0
    assert future.attempts == 1


def test_short_tasks_that_come_together_have_a_time_and_one_attempt_each() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        futures = [ex.submit(abs, -number) for number in range(2000)]
    assert all(future.attempts == 1 for future in futures)
    known = [future.seconds for future in futures if future.seconds is not None]
    # Results that were left behind on the board come without a time; those are few.
    assert len(known) > 1000
    assert all(seconds > 0 for seconds in known)


def test_attempts_count_every_start_and_a_crash_has_no_time() -> None:
    with BoundedProcessPoolExecutor(1, task_retries=2) as ex:
        future = ex.submit(tasks.kill_self)
        assert isinstance(future.exception(PATIENCE), TerminatedWorkerError)
    assert future.attempts == 3
    assert future.seconds is None


def test_what_was_never_started_has_no_attempt(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        future = ex.submit(tasks.double, 1)
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(PATIENCE)
        assert (future.attempts, future.seconds) == (0, None)
