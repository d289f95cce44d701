"""A process that dies costs its own task at most: isolation, retries, and the other way on request."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import CancelledError
from pathlib import Path

import bad_tasks
import cgroups
import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, script_environment, status, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TerminatedWorkerError
from bounded_executor._memory import oom

# What the error says.


def test_the_error_names_function_process_end_and_memory(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    size = 50 * 2**20
    with BoundedProcessPoolExecutor(1) as ex:
        text = str(ex.submit(bad_tasks.note_take_memory_and_die, log, size).exception(PATIENCE))
    assert "bad_tasks.note_take_memory_and_die was not finished" in text
    assert f"process {tasks.notes(log)[0]} was killed by SIGKILL" in text
    taken = float(text.partition("it had ")[2].split()[0]) * 2**20
    assert size < taken < 4 * size
    assert "out-of-memory" not in text


def test_the_error_tells_an_out_of_memory_kill() -> None:
    code = """
        import tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(1) as ex:
            assert ex.submit(tasks.double, 1).result() == 2
            print(ex.submit(tasks.take_memory, 400 * 2**20, 0).exception())
            print(ex.submit(tasks.kill_self).exception())
            print(ex.submit(tasks.double, 21).result())
    """
    with cgroups.memory_group(128 * 2**20) as group:
        command = group.command(sys.executable, "-c", textwrap.dedent(code))
        done = subprocess.run(command, env=script_environment(), capture_output=True, text=True, timeout=60)
        assert group.kills() >= 1
    lines = done.stdout.splitlines()
    assert "SIGKILL" in lines[0]
    assert "out-of-memory kill in the memory control group" in lines[0]
    assert "SIGKILL" in lines[1]
    assert "out-of-memory" not in lines[1]
    assert lines[2] == "42"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((bad_tasks.abort,), "SIGABRT"),
        ((bad_tasks.segfault,), "SIGSEGV"),
        ((bad_tasks.close_everything,), "had closed its connection"),
    ],
)
def test_each_way_of_dying_is_named(call: tuple[object, ...], words: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        error = ex.submit(*call).exception(PATIENCE)  # type: ignore[arg-type]
        assert isinstance(error, TerminatedWorkerError)
        assert words in str(error)
        assert_all_free(ex)


def test_a_signal_is_told_although_the_supervisor_hears_of_it_late() -> None:
    """The connection closes with the process, and who waits for the news in vain has it killed again."""
    with BoundedProcessPoolExecutor(1) as ex:
        _, supervisor, keeper = ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)
        # Its keeper would have it go on.
        os.kill(keeper, signal.SIGSTOP)
        os.kill(supervisor, signal.SIGSTOP)
        try:
            future = ex.submit(bad_tasks.segfault)
            # Nothing that a user sees tells that this has happened.
            roster = ex._core.backend.roster
            wait_until(lambda: any(child.condemned for child in roster), "it is to be killed")
        finally:
            os.kill(supervisor, signal.SIGCONT)
            os.kill(keeper, signal.SIGCONT)
        assert "was killed by SIGSEGV" in str(future.exception(PATIENCE))


def test_an_out_of_memory_kill_is_told_with_the_time_in_which_it_may_have_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have been somebody else's, long ago."""
    kills = 5
    monkeypatch.setattr(oom, "_counters", lambda: iter([(Path("/dev/null"), "somewhere")]))
    monkeypatch.setattr(oom, "_read", lambda file: kills)
    with BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.give).result(PATIENCE)
        kills += 1
        texts = [str(ex.submit(tasks.kill_self).exception(PATIENCE)) for _ in range(2)]
    assert re.search(r"out-of-memory kill somewhere in the last \d+ seconds", texts[0])
    assert "out-of-memory" not in texts[1]


# Retries.


def test_a_task_whose_process_died_is_run_again(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, task_retries=2) as ex:
        assert ex.submit(bad_tasks.die_until, log, 2, "third time").result(PATIENCE) == "third time"
        assert tasks.marks(log) == 3
        assert ex.stats().retried == 2
        assert ex.stats().failed == 0
        assert_all_free(ex)


def test_the_last_error_counts_the_tries(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, task_retries=2) as ex:
        error = ex.submit(bad_tasks.die_until, log, 99, None).exception(PATIENCE)
        assert isinstance(error, TerminatedWorkerError)
        assert "try 3 of 3" in str(error)
        assert tasks.marks(log) == 3
        assert_all_free(ex)


def test_what_a_task_raises_is_not_tried_again(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_retries=5) as ex:
        assert isinstance(ex.submit(bad_tasks.mark_and_fail, log).exception(PATIENCE), ValueError)
        assert tasks.marks(log) == 1
        assert ex.stats().retried == 0


@pytest.mark.parametrize("bad", [0, 4, 9])
def test_an_item_of_a_chunk_is_run_again_alone(tmp_path: Path, bad: int) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_retries=1) as ex:
        results = ex.map(bad_tasks.die_once_at, [log] * 10, range(10), [bad] * 10, chunksize=10)
        assert list(results) == list(range(10))
        ran = tasks.notes(log)
        assert sorted(map(int, ran)) == sorted([*range(10), bad])
        assert_all_free(ex)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_task_that_a_process_never_begins_keeps_count_of_its_tries(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mapped: bool
) -> None:
    runs, go, pids = (str(tmp_path / name) for name in ("runs", "go", "pids"))
    # The third process gets ready only when the test says so, or it would be given the task.
    start = {"initializer": bad_tasks.note_pid_and_hold_after, "initargs": (pids, 2, go)}
    with (
        BoundedProcessPoolExecutor(2, task_retries=1, stall_warning=0.2, **start) as ex,
        Gate(tmp_path) as gate,
    ):
        both = [ex.submit(gate.hold) for _ in range(2)]
        gate.wait_started(2)
        gate.open()
        for future in both:
            future.result(PATIENCE)
        call = bad_tasks.stop_the_others_and_die
        if mapped:
            results = ex.map(call, [runs], [pids], timeout=PATIENCE)
        else:
            last = ex.submit(call, runs, pids)
        wait_until(lambda: tasks.marks(runs) == 1, "the first try")
        # The warning names the process that has it now, and that does not read it.
        wait_until(lambda: stuck_in(caplog, tasks.notes(pids)[:2]), "it is given to the other process")
        os.kill(stuck_in(caplog, tasks.notes(pids)[:2])[0], signal.SIGKILL)
        Path(go).touch()
        with pytest.raises(TerminatedWorkerError, match="try 2 of 2"):
            next(results) if mapped else last.result(PATIENCE)
        assert tasks.marks(runs) == 2
        assert ex.stats().retried == 1


def stuck_in(caplog: pytest.LogCaptureFixture, pids: list[str]) -> list[int]:
    texts = [record.getMessage() for record in caplog.records if "no outcome" in record.getMessage()]
    return [
        int(pid)
        for pid in pids
        if any(f"stop_the_others_and_die in process {pid} " in text for text in texts)
    ]


def test_what_is_killed_at_the_end_is_not_counted_as_run_again(tmp_path: Path) -> None:
    ex = BoundedProcessPoolExecutor(2, task_retries=3)
    gate = Gate(tmp_path)
    futures = [ex.submit(gate.hold) for _ in range(2)]
    gate.wait_started(2)
    ex.kill_workers()
    for future in futures:
        with pytest.raises(TerminatedWorkerError, match="try 1 of 4"):
            future.result(PATIENCE)
    ex.shutdown()
    assert ex.stats().retried == 0


def test_a_task_keeps_its_slot_while_it_rests(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, queue_size=1, task_retries=1) as ex, Gate(tmp_path) as gate:
        future = ex.submit(bad_tasks.die_until_then_hold, log, 1, gate)
        wait_until(lambda: ex.stats().retried == 1, "the first try has ended")
        assert ex.stats().unfinished == 1
        assert not future.cancel()
        gate.wait_started(1)
        gate.open()
        assert future.result(PATIENCE) == "held"


def test_a_task_that_has_rested_and_finds_no_worker_free_costs_no_processor_time(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_retries=1) as ex, Gate(tmp_path) as gate:
        again = ex.submit(bad_tasks.die_until, log, 1, "again")
        other = ex.submit(gate.hold)
        gate.wait_started(1)
        # Longer than any first rest.
        began = time.process_time(), time.monotonic()
        time.sleep(0.5)
        assert time.process_time() - began[0] < 0.3 * (time.monotonic() - began[1])
        gate.open()
        assert again.result(PATIENCE) == "again"
        other.result(PATIENCE)


@pytest.mark.parametrize("how", ["cancel", "kill", "wait"])
def test_shutdown_while_a_task_rests(tmp_path: Path, how: str) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_retries=30) as ex:
        future = ex.submit(bad_tasks.die_until, log, 4, "done")
        wait_until(lambda: ex.stats().retried >= 3, "it rests for longer")
        if how == "cancel":
            ex.shutdown(cancel_futures=True)
        elif how == "kill":
            ex.kill_workers()
        else:
            ex.shutdown()
        error = future.exception(PATIENCE)
        assert (error is None) == (how == "wait")
        assert error is None or isinstance(error, TerminatedWorkerError)


# A process that dies with a task on its way to it.


def test_a_task_that_was_not_begun_is_run_elsewhere(tmp_path: Path) -> None:
    """Its process is stopped while idle, is given a task, and then killed."""
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        pid = ex.submit(tasks.pid).result(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        futures = [ex.submit(tasks.mark, log, number) for number in range(5)]
        mapped = ex.map(tasks.mark, [log] * 5, range(5), chunksize=5)
        wait_until(lambda: futures[0].running(), "the task was handed out")
        os.kill(pid, signal.SIGKILL)
        assert [future.result(PATIENCE) for future in futures] == list(range(5))
        assert list(mapped) == list(range(5))
        assert tasks.marks(log) == 10
        assert ex.stats().failed == 0
        assert_all_free(ex)


def test_shutdown_with_cancel_cancels_a_task_that_was_handed_out_and_not_begun(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        pid = ex.submit(tasks.pid).result(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        future = ex.submit(tasks.give)
        wait_until(future.running, "the task was handed out")
        ex.shutdown(wait=False, cancel_futures=True)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CancelledError):
            future.result(PATIENCE)


# Death of the supervisor.


def test_a_task_lost_with_its_supervisor_is_run_again_uncharged(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, task_retries=1) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(tasks.note_pid_and_hold, log, gate, number) for number in range(2)]
        for times in (1, 2):
            gate.wait_started(2 * times)
            os.kill(status(int(tasks.notes(log)[-1]))[1], signal.SIGKILL)
            wait_until(lambda count=times: ex.stats().supervisors_lost == count)  # type: ignore[misc]
        # More often than task_retries, and still: it was not theirs.
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == [0, 1]
        assert_all_free(ex)


def test_a_task_that_kills_every_supervisor_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(2, task_retries=2) as ex:
        killer = ex.submit(bad_tasks.kill_parent)
        others = [ex.submit(tasks.nap, 0.05, number) for number in range(30)]
        error = killer.exception(PATIENCE)
        assert isinstance(error, TerminatedWorkerError)
        assert "no other task beside it" in str(error)
        assert "try 3 of 3" in str(error)
        assert [future.result(PATIENCE) for future in others] == list(range(30))
        assert_all_free(ex)


def test_a_supervisor_that_is_stopped_goes_on() -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        for number in range(3):
            _, supervisor, _ = ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)
            os.kill(supervisor, signal.SIGSTOP)
            assert ex.submit(tasks.double, number).result(PATIENCE) == 2 * number


# The standard library's way.


@pytest.mark.parametrize("victim", ["running", "idle", "supervisor"])
def test_on_crash_break_breaks_everything(tmp_path: Path, victim: str) -> None:
    with BoundedProcessPoolExecutor(2, on_crash="break", task_retries=3) as ex, Gate(tmp_path) as gate:
        idle = ex.submit(tasks.pid).result(PATIENCE)
        held = ex.submit(gate.hold)
        gate.wait_started(1)
        if victim == "running":
            ex.submit(tasks.kill_self)
        waiting = [ex.submit(gate.hold) for _ in range(20)]
        if victim == "idle":
            os.kill(idle, signal.SIGKILL)
        elif victim == "supervisor":
            os.kill(status(idle)[1], signal.SIGKILL)
        errors = [future.exception(PATIENCE) for future in [held, *waiting]]
        assert all(isinstance(error, BrokenProcessPool) for error in errors)
        assert len({id(error) for error in errors}) == 21
        assert "terminated abruptly" in str(errors[-1]) or "supervisor" in str(errors[-1])
        for method in (ex.submit, ex.submit_nowait):
            with pytest.raises(BrokenProcessPool):
                method(tasks.give)
        wait_until(lambda: ex.stats().unfinished == 0)


def test_on_crash_break_wakes_who_waits_for_a_slot(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, on_crash="break", queue_size=1) as ex:
        ex.submit(bad_tasks.nap_and_die, 0.2)
        with pytest.raises(BrokenProcessPool):
            ex.submit(tasks.give)


def test_retries_are_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = str(tmp_path / "log")
    with (
        caplog.at_level(logging.INFO, "bounded_executor"),
        BoundedProcessPoolExecutor(1, task_retries=1) as ex,
    ):
        ex.submit(bad_tasks.die_until, log, 1, None).result(PATIENCE)
    assert any("is run once more" in record.getMessage() for record in caplog.records)
