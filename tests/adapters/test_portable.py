"""The portable way, which Windows has: the queue over workers of loky's. Forced here by its setting."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import bad_tasks
import pytest
import tasks
from helpers import (
    PATIENCE,
    Gate,
    assert_all_free,
    run_script,
    script_environment,
    start_script,
    status,
    wait_until,
)

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TaskTimeout, TerminatedWorkerError

SETTING = "BOUNDED_EXECUTOR_PORTABLE"


@pytest.fixture(autouse=True)
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "1")


# What is refused


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_memory_per_child", 1 << 30),
        ("max_memory_hard", 1 << 30),
        ("max_memory_total", 1 << 30),
        ("max_memory_total", "auto"),
        ("mp_context", "fork"),
        ("mp_context", "forkserver"),
        ("mp_context", multiprocessing.get_context("fork")),
    ],
)
def test_an_option_that_cannot_work_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} cannot .* in the portable way .*{SETTING}=1"):
        BoundedProcessPoolExecutor(1, **{name: value})


@pytest.mark.parametrize("context", ["spawn", "loky", multiprocessing.get_context("spawn")])
def test_ways_to_start_a_new_interpreter_are_taken(context: Any) -> None:
    with BoundedProcessPoolExecutor(1, context) as ex:
        assert ex.submit(tasks.give, 1).result(PATIENCE) == 1


def test_a_value_of_the_setting_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SETTING, "yes")
    with pytest.raises(ValueError, match=f"{SETTING} must be 0 or 1, got 'yes'"):
        BoundedProcessPoolExecutor(1)


@pytest.mark.parametrize("value", ["0", ""])
def test_the_setting_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(SETTING, value)
    with BoundedProcessPoolExecutor(1, max_memory_per_child=1 << 34) as ex:
        assert ex.submit(tasks.give, 1).result(PATIENCE) == 1


# Processes that die


def test_a_process_that_dies_fails_its_own_task_and_is_replaced(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=20) as ex, Gate(tmp_path) as gate:
        beside = ex.submit(gate.hold, "beside")
        gate.wait_started(1)
        dying = ex.submit(tasks.kill_self)
        waiting = [ex.submit(tasks.double, number) for number in range(10)]
        error = dying.exception(PATIENCE)
        assert type(error) is TerminatedWorkerError
        assert "was killed by SIGKILL" in str(error)
        assert isinstance(error.__cause__, BrokenProcessPool)
        assert [future.result(PATIENCE) for future in waiting] == list(range(0, 20, 2))
        gate.open()
        assert beside.result(PATIENCE) == "beside"
        stats = ex.stats()
        assert (stats.children_crashed, stats.children_started) == (1, 3)
        assert_all_free(ex)


def test_a_process_that_dies_between_two_tasks_costs_nobody_anything() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        pid = ex.submit(tasks.pid).result(PATIENCE)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists() or status(pid)[0] == "Z")
        assert list(ex.map(tasks.double, range(5))) == [0, 2, 4, 6, 8]


def test_a_chunk_is_one_message_and_none_of_it_is_run_twice(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        results = ex.map(note_and_die_at_two, [log] * 4, range(4), chunksize=4)
        with pytest.raises(TerminatedWorkerError, match="of 4 tasks that travelled together"):
            next(results)
        assert tasks.notes(log) == ["0", "1", "2"]
        assert_all_free(ex)


def note_and_die_at_two(log: str, number: int) -> None:
    tasks.note(log, number)
    if number == 2:
        os._exit(1)


def test_break_breaks_the_executor(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, on_crash="break") as ex, Gate(tmp_path) as gate:
        beside = ex.submit(gate.hold)
        gate.wait_started(1)
        futures = [ex.submit(tasks.kill_self), *(ex.submit(tasks.give) for _ in range(5))]
        for future in (beside, *futures):
            assert isinstance(future.exception(PATIENCE), BrokenProcessPool)
        with pytest.raises(BrokenProcessPool, match="on_crash is 'break'"):
            ex.submit(tasks.give)


def test_retries(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, task_retries=2) as ex:
        future = ex.submit(bad_tasks.die_until, log, 2, "done")
        assert future.result(PATIENCE) == "done"
        assert ex.stats().retried == future.attempts - 1 > 0
        failed = ex.submit(tasks.hard_exit, 5)
        assert isinstance(failed.exception(PATIENCE), TerminatedWorkerError)
        assert failed.attempts == 3
        assert_all_free(ex)


def test_processes_that_die_while_they_start_break_the_executor() -> None:
    with BoundedProcessPoolExecutor(2, initializer=tasks.kill_initializer) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)
        assert "no worker process comes as far as its first task" in str(error)
        assert ex.stats().children_started <= 6


def test_an_initializer_that_raises_is_the_cause() -> None:
    with BoundedProcessPoolExecutor(2, initializer=tasks.fail_initializer) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error.__cause__, LookupError)


def test_a_preload_that_fails_is_the_cause() -> None:
    with BoundedProcessPoolExecutor(1, preload=["no_such_module"]) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)
        assert "preload=('no_such_module',)" in str(error)
        assert isinstance(error.__cause__, ModuleNotFoundError)


def test_preload_is_there_before_the_initializer() -> None:
    with BoundedProcessPoolExecutor(1, None, __import__, ("colorsys",), preload=["colorsys"]) as ex:
        assert ex.submit(tasks.has_module, "colorsys").result(PATIENCE)


def test_a_worker_that_is_shared_by_multiprocessing_with_its_parent() -> None:
    queue = multiprocessing.get_context("spawn").Queue()
    with BoundedProcessPoolExecutor(2, initializer=keep_queue, initargs=(queue, 7)) as ex:
        list(ex.map(put, range(10)))
        assert sorted(queue.get(timeout=PATIENCE) for _ in range(10)) == [(7, number) for number in range(10)]
    queue.close()
    queue.join_thread()


def keep_queue(queue: Any, value: int) -> None:
    global _kept
    _kept = queue, value


def put(number: int) -> None:
    queue, value = _kept
    queue.put((value, number))


_kept: Any = None


@pytest.mark.parametrize("kind", ["Queue", "Lock", "Event"])
def test_what_multiprocessing_made_for_fork_is_refused(kind: str) -> None:
    shared = getattr(multiprocessing.get_context("fork"), kind)()
    with pytest.raises(RuntimeError, match="made for the fork start method"):
        BoundedProcessPoolExecutor(1, initializer=tasks.initialize, initargs=(shared,))


# Time and counts


def test_a_task_that_takes_too_long_is_killed_alone(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, task_timeout=1.0) as ex:
        late = ex.submit(tasks.nap, 60)
        others = list(ex.map(tasks.double, range(5), chunksize=5))
        assert others == [0, 2, 4, 6, 8]
        error = late.exception(PATIENCE)
        assert type(error) is TaskTimeout
        assert error.stack is None
        assert ex.stats().timed_out == 1
        assert_all_free(ex)


@pytest.mark.parametrize(("jitter", "most"), [(0, 2), (1, 3)])
def test_no_process_runs_more_than_its_limit(jitter: int, most: int) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=20, max_tasks_per_child=2, max_tasks_jitter=jitter) as ex:
        counts = Counter(ex.map(tasks.identity, range(12), chunksize=3))
        assert max(counts.values()) <= most
        # All but the last ones have run as many as they may.
        assert sum(count < 2 for count in counts.values()) <= 2
        assert ex.stats().children_replaced >= 12 // most - 2


def test_a_process_that_has_run_its_tasks_ends_in_order(tmp_path: Path) -> None:
    path = str(tmp_path / "ended")
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        ex.submit(tasks.mark_at_exit, path).result(PATIENCE)
        wait_until(lambda: tasks.marks(path) == 1, "its exit handler")


def test_no_more_tasks_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=10, max_tasks_per_child=1) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold) for _ in range(6)]
        gate.wait_started(2)
        # The next ones are started ahead, and could run more.
        wait_until(lambda: ex.stats().children >= 3)
        assert gate.started == 2
        gate.open()
        for future in futures:
            future.result(PATIENCE)


def test_it_is_told_when_nothing_comes_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1, stall_warning=0.2) as ex, Gate(tmp_path) as gate:
        ex.submit(tasks.give).result(PATIENCE)
        caplog.clear()
        ex.submit(gate.hold)
        wait_until(lambda: "no outcome for" in caplog.text)
        gate.open()
    assert "Gate.hold in process" in caplog.text


# What workers are like


def test_workers_are_as_the_program_was_when_the_executor_was_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THE_PROGRAM", "first")
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        monkeypatch.setenv("OF_THE_PROGRAM", "second")
        monkeypatch.chdir("/")
        for _ in range(2):
            found = ex.submit(tasks.surroundings, "OF_THE_PROGRAM").result(PATIENCE)
            assert found["variable"] == "first"
            assert found["directory"] == str(tmp_path)
        names = ex.submit(list, os.environ).result(PATIENCE)
        assert "LOKY_MAX_MEMORY_LEAK_SIZE" not in ex.submit(environment_names).result(PATIENCE)
        assert names


def environment_names() -> list[str]:
    return list(os.environ)


def test_modules_of_the_working_directory_are_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.version_info < (3, 11):
        pytest.skip("Python 3.10 has no PYTHONSAFEPATH")
    (tmp_path / "queue.py").write_text("open('imported', 'w')\nraise ImportError('foreign')\n")
    monkeypatch.chdir(tmp_path)
    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.give, 1).result(PATIENCE) == 1
    assert not (tmp_path / "imported").exists()


def test_log_records_of_tasks_arrive_before_their_outcomes(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        seen: list[str] = []
        future = ex.submit(log, "from a task")
        future.add_done_callback(lambda _: seen.extend(record.getMessage() for record in caplog.records))
        assert future.result(PATIENCE) != os.getpid()
        wait_until(lambda: seen)
    assert "from a task" in seen


def log(message: str) -> int:
    logging.getLogger("of.a.task").info(message)
    return os.getpid()


SCRIPT = """
    import os, sys
    from bounded_executor import BoundedProcessPoolExecutor

    {top}
    table = None
    calls = 0

    class Result:
        def __init__(self, value):
            self.value = value

    def fill(rows):
        global table
        table = rows

    def use(name):
        global calls
        calls += 1
        return Result((table[name], calls, given))

    given = "by the import"

    if __name__ == "__main__":
        given = "by the program"
        with BoundedProcessPoolExecutor(1, initializer=fill, initargs=({{"a": 1}},)) as executor:
            found = [executor.submit(use, "a").result() for _ in range(3)]
            assert all(type(one) is Result for one in found)
            print([one.value for one in found])
"""


@pytest.mark.parametrize("top", ["", "if __name__ != '__main__': raise LookupError('no import')"])
def test_the_main_script_has_its_state_in_the_workers(tmp_path: Path, top: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(top=top))
    ended = subprocess.run(
        [sys.executable, str(script)], env=script_environment(), capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == (
        "[(1, 1, 'by the program'), (1, 2, 'by the program'), (1, 3, 'by the program')]\n"
    )
    assert ("could not be imported for the worker processes: LookupError" in ended.stderr) == bool(top)


# Ends


def test_kill_workers_fails_what_runs(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex, Gate(tmp_path) as gate:
        running = [ex.submit(gate.hold) for _ in range(2)]
        gate.wait_started(2)
        waiting = [ex.submit(tasks.give) for _ in range(4)]
        ex.kill_workers()
        for future in running:
            assert isinstance(future.exception(PATIENCE), TerminatedWorkerError)
        wait_until(lambda: all(future.cancelled() for future in waiting))


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = """
        import sys
        import tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(2)
        print(*{ex.submit(tasks.pid).result() for _ in range(10)}, flush=True)
        ex.submit(tasks.nap, 100)
        ex.submit(tasks.nap, 100).result()
    """
    with start_script(code) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert pids
        process.kill()
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


@pytest.mark.parametrize("limit", [None, 5])
def test_what_was_submitted_is_run_at_the_end_of_the_program(tmp_path: Path, limit: int | None) -> None:
    path = str(tmp_path / "marks")
    run_script(
        """
        import sys
        import tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(1, queue_size=50)
        for _ in range(20):
            ex.submit(tasks.mark, sys.argv[1])
        """.replace("queue_size=50", f"queue_size=50, max_tasks_per_child={limit}"),
        path,
    )
    assert tasks.marks(path) == 20


def test_the_hooks_of_the_interpreter_s_end_do_not_grow_with_the_processes() -> None:
    hooks = threading._threading_atexits  # type: ignore[attr-defined]
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        ex.submit(tasks.give).result(PATIENCE)
        before = len(hooks)
        list(ex.map(tasks.double, range(4)))
        assert ex.stats().children_started >= 5
        assert len(hooks) == before


def test_threads_of_the_program_may_all_submit() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=4) as ex:
        totals: list[int] = []

        def produce() -> None:
            futures = [ex.submit(tasks.double, number) for number in range(50)]
            totals.append(sum(future.result(PATIENCE) for future in futures))

        producers = [threading.Thread(target=produce) for _ in range(4)]
        for producer in producers:
            producer.start()
        for producer in producers:
            producer.join()
        assert totals == [2 * sum(range(50))] * 4
