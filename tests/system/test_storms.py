"""Processes that end one after the other before any has run a task: that must end, and end nothing else."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import bad_tasks
import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, start_script

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TaskTimeout, TerminatedWorkerError


def test_processes_that_die_at_their_start_break_the_executor_and_leave_words(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with BoundedProcessPoolExecutor(3, initializer=bad_tasks.say_and_segfault, initargs=("my last",)) as ex:
        futures = [ex.submit(tasks.give) for _ in range(10)]
        errors = [future.exception(PATIENCE) for future in futures]
        started = ex.stats().children_started
    assert all(isinstance(error, BrokenProcessPool) for error in errors)
    text = str(errors[0])
    assert "SIGSEGV" in text
    assert "my last words" in text
    assert "in say_and_segfault" in text
    assert "bounded_executor" not in text
    assert started < 10


def test_a_preload_that_crashes_breaks_the_executor_and_leaves_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "crashing_module.py").write_text(
        "import sys, ctypes\nprint('about to crash', file=sys.stderr, flush=True)\nctypes.string_at(0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with BoundedProcessPoolExecutor(1, preload=("crashing_module",)) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)
    for words in ("crashing_module", "about to crash", "Segmentation fault", "crashing_module.py"):
        assert words in str(error)


def test_a_storm_that_passes_ends_nothing(tmp_path: Path) -> None:
    code = """
        import sys, bad_tasks, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        start = {"initializer": bad_tasks.say_and_die_until, "initargs": (sys.argv[1], 3)}
        with BoundedProcessPoolExecutor(2, **start) as ex:
            assert [ex.submit(tasks.double, n).result() for n in range(20)] == list(range(0, 40, 2))
            print(ex.stats().children_crashed)
    """
    log = str(tmp_path / "log")
    with start_script(code, log) as process:
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "3\n")
    # What was recorded of the one that was watched is printed as well.
    assert err == "starting\n" * tasks.marks(log)


def test_after_a_storm_all_workers_are_there_again(tmp_path: Path) -> None:
    """As soon as a task has begun: it may last for hours."""
    log = str(tmp_path / "log")
    with (
        BoundedProcessPoolExecutor(3, initializer=bad_tasks.say_and_die_until, initargs=(log, 3)) as ex,
        Gate(tmp_path) as gate,
    ):
        held = [ex.submit(gate.hold) for _ in range(3)]
        gate.wait_started(3)
        gate.open()
        for future in held:
            future.result(PATIENCE)


def test_a_second_storm_finds_processes_started_again(tmp_path: Path) -> None:
    """The one that was watched in the first is busy for hours."""
    lives = tmp_path / "lives"
    lives.write_text("xxx")
    with (
        BoundedProcessPoolExecutor(2, initializer=bad_tasks.take_a_life, initargs=(str(lives),)) as ex,
        Gate(tmp_path) as gate,
    ):
        held = ex.submit(gate.hold)
        gate.wait_started(1)
        assert ex.stats().children_crashed == 3
        # One at a time, so that all three end before the one that is watched is started.
        lives.write_text("xxx")
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
        assert ex.stats().children_crashed == 6
        gate.open()
        held.result(PATIENCE)


def test_the_stack_of_a_process_that_was_watched_is_all_that_the_error_has(tmp_path: Path) -> None:
    """Not what its initializer wrote to standard error, which was recorded until it was ready."""
    start = {"initializer": bad_tasks.say_and_die_until, "initargs": (str(tmp_path / "log"), 3)}
    with BoundedProcessPoolExecutor(1, task_timeout=0.1, **start) as ex:
        error = ex.submit(bad_tasks.outer, 100).exception(PATIENCE)
    assert isinstance(error, TaskTimeout)
    assert "in outer" in error.stack
    assert "starting" not in error.stack


# What looks like a storm and is none: the fault of a task, which fails for it.


def test_a_function_that_ends_each_process_while_it_is_unpickled_fails_its_items_only() -> None:
    """One item after the other: more of them than a storm has processes."""
    deadly = partial(tasks.everything, bad_tasks.ExitWhenUnpickled())
    with BoundedProcessPoolExecutor(2) as ex:
        results = ex.map(deadly, range(6), chunksize=6, timeout=PATIENCE)
        with pytest.raises(TerminatedWorkerError, match="exit status 7"):
            next(results)
        assert_all_free(ex)


def test_processes_that_time_out_before_they_have_read_their_task_are_no_storm() -> None:
    """Each gets an argument that takes longer to arrive than the task may take."""
    with BoundedProcessPoolExecutor(1, task_timeout=0.001, queue_bytes=None) as ex:
        for number in range(6):
            error = ex.submit(tasks.length, bytes(2**26)).exception(PATIENCE)
            assert isinstance(error, TaskTimeout), f"the {number}. is {error!r}"
        assert ex.stats().timed_out == 6
