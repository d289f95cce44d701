"""Tasks that do to their process what no task should: their own matter, and nobody else's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import bad_tasks
import pytest
import tasks
from helpers import PATIENCE, assert_all_free, start_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError
from bounded_executor._pool import workers


def test_a_grandchild_that_stays_holds_nothing_up(tmp_path: Path) -> None:
    """It has a copy of the connection, so nobody may rely on the connection being closed."""
    go = str(tmp_path / "go")
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        left = [ex.submit(bad_tasks.leave_grandchild, go).result(PATIENCE) for _ in range(3)]
        assert [ex.submit(tasks.double, n).result(PATIENCE) for n in range(5)] == [0, 2, 4, 6, 8]
    assert all(os.path.exists(f"/proc/{pid}") for pid in left), "what a task leaves behind is its own matter"
    Path(go).touch()
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in left))


def test_a_process_that_dies_takes_its_grandchildren_along(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        error = ex.submit(bad_tasks.leave_grandchild_and_die, log).exception(PATIENCE)
        assert isinstance(error, TerminatedWorkerError)
        pid = tasks.notes(log)[0]
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the grandchild has ended")
        assert_all_free(ex)


def test_a_thread_that_never_ends_holds_no_executor_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # How long its process may take to leave. Five seconds show no more than half of one does.
    monkeypatch.setattr(workers, "RETIREMENT_SECONDS", 0.5)
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        ex.submit(tasks.in_thread, bad_tasks.sleep_for_ever).result(PATIENCE)
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


@pytest.mark.parametrize(
    "name",
    [
        "ignore_all_signals",
        "close_standard_streams",
        "change_its_group",
        "recurse",
        "forbid_more_files",
        "change_directory_to_one_that_goes",
        "start_thread_that_raises",
    ],
)
def test_what_a_task_does_to_its_process_harms_no_other(name: str) -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=2, idle_timeout=0) as ex:
        for _ in range(3):
            ex.submit(getattr(bad_tasks, name)).exception(PATIENCE)
        assert [ex.submit(tasks.double, n).result(PATIENCE) for n in range(5)] == [0, 2, 4, 6, 8]
        assert_all_free(ex)


def test_a_task_that_signals_its_whole_group_reaches_itself_only() -> None:
    with BoundedProcessPoolExecutor(2) as ex:
        other = ex.submit(tasks.nap, 0.5, "other")
        error = ex.submit(bad_tasks.signal_group, signal.SIGTERM).exception(PATIENCE)
        assert isinstance(error, TerminatedWorkerError)
        assert "SIGTERM" in str(error)
        assert other.result(PATIENCE) == "other"


def test_a_stopped_task_is_ended_by_kill_workers(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(bad_tasks.note_pid_and_stop, log)
        wait_until(lambda: tasks.notes(log))
        ex.kill_workers()
        assert isinstance(future.exception(PATIENCE), TerminatedWorkerError)


def test_a_task_that_says_much_says_all_of_it(tmp_path: Path) -> None:
    code = """
        import bad_tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
            assert list(ex.map(bad_tasks.say_lines, range(6), chunksize=1)) == list(range(6))
    """
    with start_script(code) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    # Processes that write at the same time may write into each other's lines.
    assert sorted(out) == sorted("".join(f"line of {number}\n" * 10_000 for number in range(6)))
