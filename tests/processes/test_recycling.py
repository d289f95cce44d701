"""Recycling: how many tasks a process runs, what replaces it, and how that can be seen."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, SPAWNED, Gate, assert_all_free, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor

# A process that is spawned takes as long to start as some hundred that are forked.
FEWER = 10 if SPAWNED else 1


def groups(identities: Iterable[Any]) -> list[int]:
    """How many tasks each process ran."""
    return list(Counter(identities).values())


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        (1, 100 // FEWER),
        (2, 200 // FEWER),
        (7, 1_400 // FEWER),
        # Ten thousand tasks all together.
        pytest.param(1, 300, marks=pytest.mark.slow),
        pytest.param(2, 700, marks=pytest.mark.slow),
        pytest.param(7, 9_000, marks=pytest.mark.slow),
    ],
)
def test_no_process_runs_more_than_its_limit(limit: int, count: int) -> None:
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=limit, queue_size=100) as ex:
        submitted = [ex.submit(tasks.identity) for _ in range(count // 10)]
        identities = [future.result(PATIENCE) for future in submitted]
        identities += ex.map(tasks.identity, range(count - count // 10))
        assert len(identities) == count
        assert max(groups(identities)) <= limit
        assert ex.stats().children_started >= count // limit
        assert ex.stats().children_crashed == 0
        assert_all_free(ex)


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_every_process_runs_all_that_it_may(limit: int) -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=limit) as ex:
        identities = [ex.submit(tasks.identity).result(PATIENCE) for _ in range(6 * limit)]
    assert groups(identities) == [limit] * 6


@pytest.mark.parametrize("chunksize", [None, 1, 2, 10, 100])
def test_the_items_of_a_chunk_count_one_each(chunksize: int | None) -> None:
    count = 30 if SPAWNED else 100
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=3) as ex:
        identities = list(ex.map(tasks.identity, range(count), chunksize=chunksize))
    assert len(identities) == count
    assert max(groups(identities)) <= 3


def test_results_stay_right_when_chunks_are_split_by_the_limit() -> None:
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=3) as ex:
        assert list(ex.map(tasks.double, range(60), chunksize=10)) == [2 * n for n in range(60)]


def test_jitter_gives_each_process_a_limit_of_its_own() -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=2, max_tasks_jitter=3) as ex:
        counts = groups(ex.map(tasks.identity, range(30 if SPAWNED else 150), chunksize=1))
    # The last process may have had no more to do.
    assert all(2 <= count <= 5 for count in counts[:-1])
    assert 1 <= counts[-1] <= 5
    assert len(set(counts[:-1])) > 1


def test_without_a_limit_no_process_is_replaced() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert len(set(ex.map(tasks.identity, range(300)))) == 1
        assert ex.stats().children_started == 1
        assert ex.stats().children_replaced == 0


def test_failed_tasks_count() -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=2) as ex:
        identities = []
        for _ in range(5):
            identities.append(ex.submit(tasks.identity).result(PATIENCE))
            assert ex.submit(tasks.fail).exception(PATIENCE) is not None
    assert groups(identities) == [1] * 5


def test_the_initializer_runs_once_in_every_fresh_process(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, None, tasks.initialize_with_mark, (log,), max_tasks_per_child=2) as ex:
        futures = [ex.submit(tasks.initialized) for _ in range(30)]
        assert {future.result(PATIENCE) for future in futures} == {((log,), True)}
        wait_until(lambda: tasks.marks(log) == ex.stats().children_started)
        assert tasks.marks(log) >= 15


def test_replacements_are_visible_in_the_statistics_and_silent(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        caplog.at_level(logging.DEBUG, "bounded_executor"),
        BoundedProcessPoolExecutor(1, max_tasks_per_child=2) as ex,
    ):
        identities = [ex.submit(tasks.identity).result(PATIENCE) for _ in range(20)]
        wait_until(lambda: ex.stats().children_replaced == 10)
        stats = ex.stats()
        assert len(set(identities)) == 10
        assert stats.children_started in (10, 11)
        assert stats.children_crashed == 0
        assert stats.succeeded == 20
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    assert any(record.levelno == logging.DEBUG for record in caplog.records)


def test_the_replacement_is_ready_before_the_old_process_has_gone(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with (
        BoundedProcessPoolExecutor(1, None, tasks.initialize_with_mark, (log,), max_tasks_per_child=1) as ex,
        Gate(tmp_path) as gate,
    ):
        ex.submit(gate.hold)
        gate.wait_started(1)
        after = ex.submit(tasks.give, "after")
        # The last task of the old process still runs while the new one initializes.
        wait_until(lambda: tasks.marks(log) == 2)
        assert ex.stats().children == 2
        assert not after.done()
        gate.open()
        assert after.result(PATIENCE) == "after"


def test_no_more_tasks_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(8)]
        gate.wait_started(2)
        wait_until(lambda: ex.stats().children >= 4)
        assert gate.started == 2
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == list(range(8))


REPLACEMENTS = """
    import os, sys, threading, tasks
    from bounded_executor import BoundedProcessPoolExecutor
    from bounded_executor._memory import proc as _memory

    def parents():
        found = {}
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as stat:
                    state, parent = stat.read().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            found[int(name)] = int(parent), state
        return found

    def zombies():
        # Only those that stay: each child is one for a moment, until it is reaped.
        def now():
            known = parents()
            below = {os.getpid()}
            for pid in sorted(known):
                if known[pid][0] in below:
                    below.add(pid)
            return {pid for pid in below if known.get(pid, (0, ""))[1] == "Z"}
        found = now()
        for _ in range(200):
            found &= now()
            if not found:
                break
            threading.Event().wait(0.01)
        return len(found)

    def state():
        return _memory.resident(), len(os.listdir("/proc/self/fd")), threading.active_count(), zombies()

    count = int(sys.argv[1])
    with BoundedProcessPoolExecutor(8, max_tasks_per_child=1, queue_size=100) as ex:
        for number, _ in enumerate(ex.map(tasks.give, range(count), buffersize=100)):
            if number == count // 5:
                before = state()
        after = state()
        assert ex.stats().children_replaced >= count - 1, ex.stats()
        assert ex.stats().children_crashed == 0, ex.stats()
    print(*before)
    print(*after)
"""


@pytest.mark.parametrize("count", [500 // FEWER, pytest.param(100_000, marks=pytest.mark.slow)])
def test_replacing_processes_leaves_nothing_in_the_parent(count: int) -> None:
    printed = run_script(REPLACEMENTS, count, seconds=1_000)
    before, after = ([int(word) for word in line.split()] for line in printed.splitlines())
    assert after[0] - before[0] < 2**20
    # A child that is just being started or reaped has a socket here.
    assert after[1] <= before[1] + 16
    assert after[2] == before[2]
    assert after[3] == before[3] == 0
