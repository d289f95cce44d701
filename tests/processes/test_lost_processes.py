"""Processes that die outside of a task: idle children, the supervisor, the keeper."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, status, wait_until
from platforms import needs_death_signal, needs_fork

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TerminatedWorkerError
from bounded_executor._pool import spawner


def test_an_idle_process_whose_death_nobody_has_told_is_given_no_work() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex:
        pids: set[int] = set()
        deadline = time.monotonic() + PATIENCE
        while len(pids) < 2 and time.monotonic() < deadline:
            pids.update(ex.map(tasks.pid, range(10), chunksize=1))
        victim = min(pids)
        supervisor = status(victim)[1]
        keeper = status(supervisor)[1]
        # Stopped, the supervisor cannot tell; only the victim's closed socket can be seen. Its keeper
        # would have it go on.
        os.kill(keeper, signal.SIGSTOP)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: status(victim)[0] == "Z", "the victim is dead")
            # Both ends were looked at by the time the first of these comes back.
            outcomes = [ex.submit(tasks.double, number).exception(PATIENCE) for number in range(20)]
        finally:
            os.kill(supervisor, signal.SIGCONT)
            os.kill(keeper, signal.SIGCONT)
        assert sum(error is not None for error in outcomes) <= 1
        assert all(isinstance(error, TerminatedWorkerError) for error in outcomes if error is not None)
        assert_all_free(ex)


@pytest.mark.parametrize("who", ["supervisor", pytest.param("keeper", marks=needs_death_signal)])
def test_the_loss_of_a_supervisor_fails_what_runs_and_nothing_else(tmp_path: Path, who: str) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        supervisor = status(ex.submit(tasks.pid).result(PATIENCE))[1]
        held = [ex.submit(gate.hold, number) for number in range(2)]
        waiting = [ex.submit(tasks.double, number) for number in range(30)]
        gate.wait_started(2)
        os.kill(supervisor if who == "supervisor" else status(supervisor)[1], signal.SIGKILL)
        for future in held:
            with pytest.raises(TerminatedWorkerError, match="supervisor"):
                future.result(PATIENCE)
        assert [future.result(PATIENCE) for future in waiting] == [2 * number for number in range(30)]
        assert ex.stats().supervisors_lost >= 1
        assert_all_free(ex)


def test_a_warm_keeper_that_was_killed_is_no_use_and_no_harm() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        keeper = status(status(ex.submit(tasks.pid).result(PATIENCE))[1])[1]
    os.kill(keeper, signal.SIGKILL)
    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


FORK_FAILS = """
import os

forks = []
fork = os.fork


def fail():
    forks.append(1)
    if {condition}:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return fork()


if os.getpid() != {parent}:
    os.fork = fail
"""


def fork_fails(folder: Path, monkeypatch: pytest.MonkeyPatch, condition: str) -> str:
    """Make a module that lets forks of the supervisor fail, as where there are no process ids left."""
    (folder / "no_fork.py").write_text(FORK_FAILS.format(condition=condition, parent=os.getpid()))
    monkeypatch.syspath_prepend(str(folder))
    return "no_fork"


@needs_fork("no os.fork is called that could fail")
def test_a_fork_that_fails_is_tried_again_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = fork_fails(tmp_path, monkeypatch, "len(forks) in (3, 4)")
    with BoundedProcessPoolExecutor(2, preload=(module,), max_tasks_per_child=1) as ex:
        futures = [ex.submit(tasks.double, number) for number in range(10)]
        assert [future.result(PATIENCE) for future in futures] == [2 * number for number in range(10)]
        assert ex.stats().supervisors_lost == 0
        assert_all_free(ex)
    assert any("could not be started" in record.getMessage() for record in caplog.records)


@needs_fork("no os.fork is called that could fail")
def test_where_no_fork_ever_succeeds_the_executor_breaks_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = fork_fails(tmp_path, monkeypatch, "True")
    with (
        BoundedProcessPoolExecutor(2, preload=(module,)) as ex,
        pytest.raises(
            BrokenProcessPool, match=r"no worker process could be started.*temporarily unavailable"
        ),
    ):
        ex.submit(tasks.double, 1).result(PATIENCE)


@needs_fork("no os.fork is called that could fail")
def test_the_rest_after_a_fork_that_failed_ends_while_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is there that would wake the executor's thread."""
    start = spawner.Starter.start

    def start_late(self: spawner.Starter, count: int) -> None:
        rests_until = self.next()
        start(self, count)
        if rests_until is not None:
            # The thread does not run again before the rest is over.
            time.sleep(max(0.0, rests_until - time.monotonic()) + 0.001)

    monkeypatch.setattr(spawner.Starter, "start", start_late)
    module = fork_fails(tmp_path, monkeypatch, "len(forks) == 1")
    with BoundedProcessPoolExecutor(1, preload=(module,)) as ex:
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


def test_a_supervisor_that_was_killed_before_its_executor_came_breaks_nothing() -> None:
    """Nothing of the program's was lost with it, so on_crash has nothing to say."""
    with BoundedProcessPoolExecutor(1) as ex:
        _, former, keeper = ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)

    def spare() -> list[int]:
        children = map(int, Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split())
        return [pid for pid in children if pid != former and alive(pid)]

    wait_until(spare, "the one that waits for the next executor")
    (pid,) = spare()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), "its end")
    with BoundedProcessPoolExecutor(1, on_crash="break") as ex:
        assert keeper in ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)


def alive(pid: int) -> bool:
    try:
        return status(pid)[0] != "Z"
    except OSError:
        # Its keeper has reaped it.
        return False


def test_what_a_process_wrote_behind_long_results_before_it_ended_counts(tmp_path: Path) -> None:
    """The executor's thread is late, and finds all of it when it hears of the end."""
    sizes = [66_000, 66_000, 5]  # all of it fits into the socket
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=3) as ex, Gate(tmp_path) as gate:
        calls = [partial(gate.hold, "x" * size) for size in sizes]
        results = ex.map(tasks.member, [log] * 3, range(3), calls, chunksize=3)
        gate.wait_started(1)
        pid = tasks.notes(log)[0].partition(":")[2]
        late = threading.Event()
        ex._core.backend.note(lambda: late.wait(PATIENCE))
        gate.open()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process has left")
        late.set()
        assert [len(result) for result in results] == sizes
    assert ex.stats().children_crashed == 0
