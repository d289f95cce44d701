"""Memory of task processes: per child, per task, and for the whole tree."""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from pathlib import Path

import bad_tasks
import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, run_script, wait_until
from platforms import needs_proc

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool
from bounded_executor._memory import cgroups, proc, throttle

pytestmark = needs_proc

MB = 1 << 20
# More than a child has before its first task, less than it has after `leak` of as much.
LIMIT = 64 * MB


# max_memory_per_child


@pytest.mark.parametrize("limit", [None, 3])
def test_a_process_that_has_taken_too_much_is_replaced_after_its_task(limit: int | None) -> None:
    with BoundedProcessPoolExecutor(1, max_memory_per_child=LIMIT, max_tasks_per_child=limit) as ex:
        pids = [ex.submit(tasks.leak, 10 * MB).result(PATIENCE) for _ in range(24)]
        stats = ex.stats()
    runs = list(Counter(pids).values())
    assert max(runs[:-1]) == min(runs[:-1])  # the same task, the same memory
    assert 1 < runs[0] <= (limit or 6)
    assert stats.children_replaced >= len(runs) - 1
    assert stats.children_crashed == 0
    assert (stats.children_over_memory > 0) is (limit is None)


def test_a_process_finishes_its_task_and_runs_at_least_one() -> None:
    with BoundedProcessPoolExecutor(2, max_memory_per_child=LIMIT) as ex:
        pids = [future.result(PATIENCE) for future in [ex.submit(tasks.leak, 70 * MB) for _ in range(8)]]
        assert len(set(pids)) == 8
        wait_until(lambda: ex.stats().children_over_memory == 8)
        assert_all_free(ex)


def test_memory_that_was_given_back_is_not_held_against_a_process() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_per_child=LIMIT) as ex:
        for number in range(5):
            assert ex.submit(tasks.take_memory, 80 * MB, 0.0, number).result(PATIENCE) == number
        assert ex.stats().children_started == 1


@pytest.mark.parametrize("chunksize", [None, 1, 10])
def test_what_is_left_of_a_chunk_is_run_by_the_next_process(chunksize: int | None) -> None:
    with BoundedProcessPoolExecutor(2, max_memory_per_child=LIMIT) as ex:
        pids = list(ex.map(tasks.leak, [20 * MB] * 40, chunksize=chunksize))
        assert len(pids) == 40
        assert max(Counter(pids).values()) <= 3
        assert ex.stats().succeeded == 40
        assert ex.stats().children_crashed == 0
        assert_all_free(ex)


def test_a_limit_below_what_a_bare_process_has_breaks_at_the_first_one() -> None:
    with BoundedProcessPoolExecutor(2, max_memory_per_child=100_000) as ex:
        with pytest.raises(BrokenProcessPool, match=r"max_memory_per_child=100000 bytes is not more than"):
            ex.submit(tasks.double, 1).result(PATIENCE)
        assert ex.stats().children_started <= 2


LEAK = """
    import os, sys, tasks
    from bounded_executor import BoundedProcessPoolExecutor
    from bounded_executor._memory import cgroups as _allowance

    MB = 2**20
    count = int(sys.argv[1])
    most = 0
    with BoundedProcessPoolExecutor(2, max_memory_per_child=64 * MB, queue_size=20) as ex:
        for number, _ in enumerate(ex.map(tasks.leak, [5 * MB] * count, chunksize=1)):
            if number % 20 == 0:
                most = max(most, _allowance.tree_allowance(0).used())
    print(most)
"""


@pytest.mark.parametrize("count", [200, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_task_that_leaks_leaves_the_memory_of_the_tree_flat(count: int) -> None:
    # Two processes of 64 MB and one task more each, their replacements, parent and helpers.
    assert int(run_script(LEAK, count, seconds=100)) < 256 * MB


# max_memory_hard


def test_a_task_that_wants_too_much_gets_a_memory_error_and_its_process_is_replaced() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=200 * MB) as ex:
        first = ex.submit(tasks.pid).result(PATIENCE)
        with pytest.raises(MemoryError) as caught:
            ex.submit(tasks.take_memory, 300 * MB, 0.0).result(PATIENCE)
        if sys.version_info >= (3, 11):
            assert "max_memory_hard=209715200" in caught.value.__notes__[0]
        assert ex.submit(tasks.pid).result(PATIENCE) != first
        assert ex.stats().children_crashed == 0
        assert ex.stats().children_over_memory == 1
        assert_all_free(ex)


def test_the_hard_ceiling_is_for_each_item_of_a_chunk() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=200 * MB) as ex:
        sizes = [MB, MB, 300 * MB, MB]
        results = ex.map(tasks.take_memory, sizes, [0.0] * 4, range(4), chunksize=4)
        assert next(results) == 0
        assert next(results) == 1
        with pytest.raises(MemoryError):
            next(results)
        assert_all_free(ex)


def test_a_task_that_copes_with_the_ceiling_goes_on() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=200 * MB) as ex:
        first = ex.submit(tasks.pid).result(PATIENCE)
        assert ex.submit(tasks.memory_error_of, 300 * MB).result(PATIENCE) == "MemoryError"
        assert ex.submit(tasks.pid).result(PATIENCE) == first


def test_a_task_may_lower_its_own_limits() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=200 * MB) as ex:
        assert [ex.submit(tasks.lower_data_limit).result(PATIENCE) for _ in range(2)] == [200 * MB] * 2


def test_threads_do_not_count_as_the_memory_that_they_reserve() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=256 * MB) as ex:
        assert ex.submit(tasks.start_threads, 20).result(PATIENCE) == 20


def test_results_may_be_larger_than_the_ceiling_leaves_room_for() -> None:
    with BoundedProcessPoolExecutor(1, max_memory_hard=200 * MB) as ex:
        assert len(ex.submit(tasks.bytes_of, 120 * MB).result(PATIENCE)) == 120 * MB


def test_a_ceiling_below_what_a_bare_process_has_breaks_at_the_first_one() -> None:
    with (
        BoundedProcessPoolExecutor(1, max_memory_hard=4096) as ex,
        pytest.raises(BrokenProcessPool, match="max_memory_hard=4096 bytes is not more than"),
    ):
        ex.submit(tasks.double, 1).result(PATIENCE)


# max_memory_total


def grant(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the machine grant a terabyte; the test says how much of it is used, in the list returned."""
    used = [0]
    allowance = cgroups.Allowance(2**40, lambda: used[0], "what the test says")
    monkeypatch.setattr(cgroups, "granted", lambda: allowance)
    return used


def test_without_any_room_one_task_runs_at_a_time(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING, "bounded_executor"),
        BoundedProcessPoolExecutor(3, max_memory_total=1) as ex,
    ):
        for number in range(3):
            with Gate(tmp_path) as gate:
                futures = [ex.submit(gate.hold, number) for _ in range(3)]
                gate.wait_started(1)
                wait_until(lambda: caplog.records)
                assert gate.started == 1
                gate.open()
                assert [future.result(PATIENCE) for future in futures] == [number] * 3
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "1 tasks run at once instead of 3" in messages[0]
    assert "max_memory_total=1 bytes" in messages[0]
    assert "A task is assumed, until one has ended, to take" in messages[0]


def test_with_room_enough_all_workers_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(4, max_memory_total=2**40) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(8)]
        gate.wait_started(4)
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == list(range(8))
    assert caplog.records == []


def test_memory_that_becomes_free_elsewhere_lets_more_tasks_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing wakes the executor then: it looks again by itself."""
    used = grant(monkeypatch)
    used[0] = 2**40
    with BoundedProcessPoolExecutor(2, max_memory_total="auto") as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(2)]
        gate.wait_started(1)
        used[0] = 0
        gate.wait_started(2)
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == [0, 1]


def test_idle_processes_are_sent_home_when_memory_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = grant(monkeypatch)
    # No reading is used twice.
    for name in ("READING_SECONDS", "READING_PAUSE", "FRESH_SECONDS"):
        monkeypatch.setattr(throttle, name, 0)
    with BoundedProcessPoolExecutor(4, max_memory_total="auto") as ex:
        with Gate(tmp_path) as gate:
            for number in range(4):
                ex.submit(gate.hold, number)
            gate.wait_started(4)
        wait_until(lambda: ex.stats().unfinished == 0)
        assert ex.stats().children == 4
        used[0] = 2**40
        with Gate(tmp_path) as gate:
            futures = [ex.submit(gate.hold, number) for number in range(4)]
            wait_until(lambda: ex.stats().children == 2)
            gate.wait_started(1)
            gate.open()
            assert [future.result(PATIENCE) for future in futures] == list(range(4))
        assert ex.stats().children_crashed == 0


def test_auto_finds_what_the_machine_or_its_control_group_grants() -> None:
    granted = cgroups.granted()
    with open("/proc/meminfo") as file:
        machine = int(file.readline().split()[1]) * 1024
    assert 0 < granted.used() < machine
    assert 0 < granted.limit <= 0.9 * machine
    assert "90 %" in granted.source


def test_the_memory_of_the_tree_is_that_of_all_its_processes() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        before = cgroups.tree_allowance(0).used()
        ex.submit(tasks.leak, 50 * MB).result(PATIENCE)
        grown = cgroups.tree_allowance(0).used() - before
    assert 45 * MB < grown < 120 * MB
    assert proc.resident(os.getpid()) > MB


def test_tasks_that_are_run_once_more_wait_for_memory_as_others_do(tmp_path: Path) -> None:
    """All are due at nearly the same time."""
    with BoundedProcessPoolExecutor(4, max_memory_total=1, task_retries=1) as ex:
        # Longer than any first rest.
        futures = [ex.submit(bad_tasks.die_once_then_be_one_of, str(tmp_path), n, 0.2) for n in range(4)]
        assert [future.result(PATIENCE) for future in futures] == [1, 1, 1, 1]
        assert ex.stats().retried == 4
