"""A task that runs for too long is ended with all that it started, and says where it was."""

from __future__ import annotations

import functools
import logging
import os
import pickle
import signal
from functools import partial
from pathlib import Path

import bad_tasks
import pytest
import tasks
from helpers import PATIENCE, SPAWNED, Gate, assert_all_free, marked_processes, wait_until

from bounded_executor import BoundedProcessPoolExecutor, TaskTimeout
from bounded_executor._memory import proc

SHORT = 0.5
# Longer than processes take to start on a busy machine.
STALL = 15.0 if SPAWNED else SHORT


def test_a_task_that_runs_too_long_fails_and_nothing_else(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, task_timeout=SHORT) as ex:
        late = ex.submit(tasks.nap, 100)
        others = [ex.submit(tasks.nap, 0.01, number) for number in range(40)]
        error = late.exception(PATIENCE)
        assert isinstance(error, TaskTimeout)
        assert isinstance(error, TimeoutError)
        assert f"tasks.nap ran longer than task_timeout={SHORT} seconds" in str(error)
        assert [future.result(PATIENCE) for future in others] == list(range(40))
        assert ex.stats().timed_out == 1
        assert ex.stats().children_crashed == 0
        assert_all_free(ex)


def test_the_error_carries_the_stack_that_the_task_was_at() -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        error = ex.submit(bad_tasks.outer, 100).exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    names = [line.rpartition(" ")[2] for line in error.stack.splitlines() if line.startswith("  File")]
    assert names == ["nap", "inner", "outer"]
    assert error.stack in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.stack) == (str(error), error.stack)


def test_the_stacks_of_all_threads_are_there() -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        error = ex.submit(bad_tasks.join_a_thread_that_naps, 100).exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    assert "in nap" in error.stack
    assert "in join_a_thread_that_naps" in error.stack


@pytest.mark.parametrize("name", ["stop_self", "hold_on_to_life", "close_all_but_the_connection"])
def test_a_task_that_is_hard_to_end_ends_all_the_same(name: str) -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        error = ex.submit(getattr(bad_tasks, name)).exception(PATIENCE)
        assert isinstance(error, TaskTimeout)
        # Only these two can leave none.
        assert bool(error.stack) == (name == "stop_self")
        assert_all_free(ex)


@pytest.mark.parametrize("where", ["unpickle", "result"])
def test_unpickling_and_pickling_count(where: str) -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        slow = {"unpickle": (tasks.give, bad_tasks.SlowToUnpickle()), "result": (bad_tasks.SlowToPickle,)}
        error = ex.submit(*slow[where]).exception(PATIENCE)
        assert isinstance(error, TaskTimeout)
        assert "in nap" in error.stack
        assert_all_free(ex)


def test_a_map_s_function_that_hangs_while_it_is_unpickled_is_the_first_item_s_matter() -> None:
    hanging = partial(tasks.everything, bad_tasks.SlowToUnpickle())
    with BoundedProcessPoolExecutor(1, task_timeout=0.1) as ex:
        results = ex.map(hanging, range(2), chunksize=2, timeout=PATIENCE)
        with pytest.raises(TaskTimeout) as caught:
            next(results)
        assert "in nap" in caught.value.stack
        assert_all_free(ex)


def test_a_task_that_an_idle_process_never_reads_times_out_too() -> None:
    """The time counts from the moment a process is given the task, begun or not."""
    with BoundedProcessPoolExecutor(1, task_timeout=0.1) as ex:
        os.kill(ex.submit(tasks.pid).result(PATIENCE), signal.SIGSTOP)
        assert isinstance(ex.submit(tasks.give).exception(PATIENCE), TaskTimeout)
        assert_all_free(ex)
        assert ex.stats().children_crashed == 0


def test_what_the_task_has_started_ends_with_it(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        assert isinstance(
            ex.submit(bad_tasks.run_program, "TIMED_OUT", "yes").exception(PATIENCE), TaskTimeout
        )
        wait_until(lambda: not marked_processes("TIMED_OUT", "yes"), "the program has ended")


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_each_item_of_a_chunk_has_the_time_for_itself(bad: int) -> None:
    naps = [0.3 * SHORT] * 5
    naps[bad] = 100
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        results = ex.map(tasks.nap, naps, range(5), chunksize=5)
        assert [next(results) for _ in range(bad)] == list(range(bad))
        with pytest.raises(TaskTimeout):
            next(results)
        assert_all_free(ex)


def test_the_items_of_a_chunk_may_together_take_longer_than_one_may() -> None:
    naps = [0.3 * SHORT] * 5
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        assert list(ex.map(tasks.nap, naps, range(5), chunksize=5)) == list(range(5))


def test_one_that_ends_too_late_does_not_have_the_next_begun_there(tmp_path: Path) -> None:
    """They are run elsewhere, and its process is to be killed."""
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_timeout=0.2) as ex:
        call = functools.partial(bad_tasks.note_and_be_late_once, log, late=1, seconds=0.5)
        assert list(ex.map(call, range(4), chunksize=4)) == [0, 1, 2, 3]
    assert sorted(tasks.notes(log)) == ["0", "1", "2", "3"]


def test_a_task_that_timed_out_is_run_again(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT, task_retries=1) as ex:
        assert ex.submit(bad_tasks.hang_until, log, 1, "second time").result(PATIENCE) == "second time"
        error = ex.submit(bad_tasks.hang_until, log, 99, None).exception(PATIENCE)
        assert isinstance(error, TaskTimeout)
        assert "try 2 of 2" in str(error)
        assert_all_free(ex)


def test_waiting_in_the_queue_does_not_count() -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT) as ex:
        futures = [ex.submit(tasks.nap, 0.3 * SHORT, number) for number in range(5)]
        assert [future.result(PATIENCE) for future in futures] == list(range(5))


def test_with_break_a_timeout_still_fails_one_task() -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=SHORT, on_crash="break") as ex:
        assert isinstance(ex.submit(tasks.nap, 100).exception(PATIENCE), TaskTimeout)
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


def test_a_task_that_prints_without_end_to_somebody_who_does_not_read() -> None:
    read, write = os.pipe()
    with BoundedProcessPoolExecutor(
        1, task_timeout=SHORT, initializer=bad_tasks.print_to, initargs=(bad_tasks.Inherited(write),)
    ) as ex:
        error = ex.submit(bad_tasks.print_without_end).exception(PATIENCE)
        assert isinstance(error, TaskTimeout)
        assert "print_without_end" in error.stack
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
    os.close(read)
    os.close(write)


# Stalls.


def test_a_run_that_is_stuck_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, stall_warning=STALL) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(tasks.note_pid_and_hold, log, gate, number) for number in range(2)]
        gate.wait_started(2)
        wait_until(lambda: stalls(caplog), "the record is there")
        (text,) = stalls(caplog)
        assert "tasks running: 2" in text
        for pid in tasks.notes(log):
            assert f"tasks.note_pid_and_hold in process {pid} for " in text
        if proc.CAN_MEASURE:
            assert float(text.rpartition(" MiB")[0].rpartition(" ")[2]) > 1
        else:
            assert "MiB" not in text
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == [0, 1]
    assert len(stalls(caplog)) == 1


def test_a_start_that_is_stuck_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(tmp_path)
    with BoundedProcessPoolExecutor(1, stall_warning=STALL, initializer=gate.hold) as ex, gate:
        future = ex.submit(tasks.double, 21)
        wait_until(lambda: stalls(caplog), "the record is there")
        assert "still starting: 1" in stalls(caplog)[0]
        gate.open()
        assert future.result(PATIENCE) == 42


def test_what_comes_back_or_does_not_run_is_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1, stall_warning=STALL) as ex:
        for _ in range(5):
            ex.submit(tasks.nap, 0.4 * STALL).result(PATIENCE)
        tasks.nap(1.5 * STALL)
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
    assert not stalls(caplog)


def stalls(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "bounded_executor"
        and record.levelno == logging.WARNING
        and "no outcome" in record.getMessage()
    ]
