"""What an executor says of itself and its tasks: times and attempts, counters, levels, ``repr``."""

from __future__ import annotations

import os
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, wait_until
from platforms import needs_proc

from bounded_executor import BoundedProcessPoolExecutor, Histogram, TerminatedWorkerError


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


# The histogram


def test_the_histogram_counts_every_task_of_known_time() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        ex.submit(time.sleep, 0.3).result(PATIENCE)
        assert list(ex.map(time.sleep, [0.0] * 3, chunksize=1)) == [None] * 3
        times = ex.stats().task_seconds
    assert len(times.counts) == len(times.bounds) + 1
    assert 1 <= times.count <= 4
    assert times.total_seconds >= 0.3
    assert times.mean == times.total_seconds / times.count
    assert times.quantile(0) <= times.quantile(0.5) <= times.quantile(1)
    assert times.quantile(1) >= 0.25


def test_quantiles_are_interpolated_within_their_range() -> None:
    histogram = Histogram((1.0, 2.0, 4.0), (0, 10, 0, 10), 100.0)
    assert histogram.count == 20
    assert histogram.mean == 5.0
    assert histogram.quantile(0) == 1.0
    assert histogram.quantile(0.25) == 1.5
    assert histogram.quantile(0.5) == 2.0
    assert histogram.quantile(1) == 4.0


def test_an_empty_histogram_is_all_zero() -> None:
    histogram = BoundedProcessPoolExecutor(1).stats().task_seconds
    assert (histogram.count, histogram.mean, histogram.quantile(0.9)) == (0, 0.0, 0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="q must be between 0 and 1"):
        Histogram((1.0,), (1, 0), 0.5).quantile(share)


# Levels


def test_what_runs_waits_and_has_finished(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        for _ in range(3):
            ex.submit(gate.hold)
        gate.wait_started(2)
        stats = ex.stats()
        assert (stats.running + stats.waiting, stats.finished) == (3, 0)
        assert stats.running >= 2
        text = repr(ex)
        assert text.startswith("<BoundedProcessPoolExecutor running, workers=2, running=")
        assert text.endswith("queue_size=512, finished=0, failed=0>")
    stats = ex.stats()
    assert (stats.running, stats.waiting, stats.finished, stats.succeeded) == (0, 0, 3, 3)
    assert "BoundedProcessPoolExecutor ended, workers=2" in repr(ex)


@needs_proc
def test_the_memory_of_each_process_is_told() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        pid = ex.submit(os.getpid).result(PATIENCE)
        memory = ex.stats().children_memory_bytes
        assert list(memory) == [pid]
        assert memory[pid] > 2**20
    assert ex.stats().children_memory_bytes == {}


def test_the_end_of_processes_is_told_by_reason() -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1, task_timeout=1) as ex:
        ex.submit(tasks.double, 1).result(PATIENCE)
        assert ex.submit(tasks.kill_self).exception(PATIENCE)
        assert ex.submit(time.sleep, 100).exception(PATIENCE)
        assert ex.stats().children_by_reason == {"tasks": 1, "memory": 0, "crash": 1, "timeout": 1}


def test_repr_tells_every_state() -> None:
    ex = BoundedProcessPoolExecutor(1)
    assert "not started" in repr(ex)
    ex.shutdown()
    assert "ended" in repr(ex)
    with BoundedProcessPoolExecutor(1, on_crash="break") as broken:
        assert broken.submit(tasks.kill_self).exception(PATIENCE)
        wait_until(lambda: "broken" in repr(broken), "broken")
