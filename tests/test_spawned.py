"""The way of platforms without a safe fork: supervisors and children are spawned."""

from __future__ import annotations

from collections import Counter

import pytest
import tasks
from helpers import PATIENCE, assert_all_free

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError, _process


@pytest.fixture(autouse=True)
def no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_process, "CAN_FORK", False)


def test_limits_are_exact_and_the_initializer_runs_in_every_process() -> None:
    with BoundedProcessPoolExecutor(
        2, initializer=tasks.initialize, initargs=(7,), max_tasks_per_child=3, idle_timeout=0
    ) as ex:
        pids = Counter(ex.map(tasks.pid, range(9), chunksize=2))
        assert max(pids.values()) <= 3
        assert len(pids) >= 3
        assert ex.submit(tasks.initialized).result(PATIENCE)[0] == (7,)


def test_a_dead_process_fails_only_its_own_task() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=5, idle_timeout=0) as ex:
        with pytest.raises(TerminatedWorkerError, match="SIGKILL"):
            ex.submit(tasks.kill_self).result(PATIENCE)
        assert ex.submit(lambda: "by value").result(PATIENCE) == "by value"
        assert_all_free(ex)
