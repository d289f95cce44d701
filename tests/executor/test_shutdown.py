"""How an executor ends: asked to, dropped, interrupted, killed, forked away from."""

from __future__ import annotations

import gc
import os
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, marked_processes, run_script, start_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError

AFTER_SHUTDOWN = "^cannot schedule new futures after shutdown$"


def refuses(ex: BoundedProcessPoolExecutor) -> None:
    calls: list[Callable[[], object]] = [
        lambda: ex.submit(tasks.give),
        lambda: ex.submit_nowait(tasks.give),
        lambda: ex.map(tasks.give, range(3)),
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN) as caught:
            call()
        assert type(caught.value) is RuntimeError


# Asked to.


@pytest.mark.parametrize("used", [False, True])
def test_nothing_is_accepted_after_shutdown(used: bool) -> None:
    ex = BoundedProcessPoolExecutor(1)
    if used:
        assert ex.submit(tasks.give, 1).result(PATIENCE) == 1
    ex.shutdown()
    refuses(ex)
    ex.shutdown()
    ex.shutdown(wait=False)
    ex.shutdown(cancel_futures=True)
    refuses(ex)
    assert ex.stats().children == 0


def test_shutdown_waits_for_all_that_was_accepted() -> None:
    called: list[object] = []
    with BoundedProcessPoolExecutor(2) as ex:
        futures = [ex.submit(tasks.double, number) for number in range(100)]
        for future in futures:
            future.add_done_callback(called.append)
    assert all(future.done() for future in futures)
    assert [future.result() for future in futures] == [2 * number for number in range(100)]
    assert len(called) == 100
    assert ex.stats().children == 0


def test_shutdown_without_waiting_still_runs_what_was_accepted(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(5)]
        ex.shutdown(wait=False)
        refuses(ex)
        assert not any(future.done() for future in futures)
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == list(range(5))


@pytest.mark.parametrize("wait", [False, True])
def test_shutdown_from_a_callback(wait: bool) -> None:
    returned = threading.Event()

    def end(_: object) -> None:
        ex.shutdown(wait=wait)
        returned.set()

    with BoundedProcessPoolExecutor(1) as ex:
        futures = [ex.submit(tasks.double, number) for number in range(5)]
        futures[0].add_done_callback(end)
        assert returned.wait(PATIENCE)
        assert [future.result(PATIENCE) for future in futures] == [0, 2, 4, 6, 8]


def test_shutdown_from_many_threads_at_once(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        future = ex.submit(gate.hold, 1)
        enders = [threading.Thread(target=ex.shutdown) for _ in range(8)]
        for ender in enders:
            ender.start()
        gate.open()
        for ender in enders:
            ender.join(PATIENCE)
            assert not ender.is_alive()
        assert future.result() == 1


@pytest.mark.parametrize(
    ("method", "signal_name"), [("terminate_workers", "SIGTERM"), ("kill_workers", "SIGKILL")]
)
def test_ending_the_workers(tmp_path: Path, method: str, signal_name: str) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        running = [ex.submit(gate.hold) for _ in range(2)]
        gate.wait_started(2)
        waiting = [ex.submit(tasks.give) for _ in range(10)]
        getattr(ex, method)()
        refuses(ex)
        for future in running:
            error = future.exception(PATIENCE)
            assert isinstance(error, TerminatedWorkerError)
            assert signal_name in str(error)
        assert all(future.cancelled() for future in waiting)
        wait_until(lambda: ex.stats().children == 0)
        getattr(ex, method)()


@pytest.mark.parametrize("method", ["terminate_workers", "kill_workers"])
def test_ending_the_workers_of_an_executor_that_has_none(method: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        getattr(ex, method)()
        refuses(ex)


def test_a_task_that_ignores_sigterm_is_ended_by_kill_workers(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        future = ex.submit(ignore_sigterm, gate)
        gate.wait_started(1)
        ex.terminate_workers()
        ex.kill_workers()
        assert isinstance(future.exception(PATIENCE), TerminatedWorkerError)


def ignore_sigterm(gate: Gate) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    gate.hold()


# Dropped.


def test_an_executor_dropped_without_shutdown_finishes_its_tasks_and_ends() -> None:
    ex = BoundedProcessPoolExecutor(2, idle_timeout=0)
    futures = [ex.submit(tasks.double, number) for number in range(20)]
    del ex
    gc.collect()
    assert [future.result(PATIENCE) for future in futures] == [2 * number for number in range(20)]


def test_an_executor_dropped_with_a_map_that_nobody_began_ends_too(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    ex = BoundedProcessPoolExecutor(2, idle_timeout=0)
    ex.map(tasks.mark, [log] * 20)
    del ex
    gc.collect()
    # That nothing is left behind is what every test here is checked for.
    wait_until(lambda: tasks.marks(log) == 20)


@pytest.mark.parametrize("options", ["", ", max_tasks_per_child=1"], ids=["plain", "recycling"])
@pytest.mark.parametrize("explicit", ["", "ex.shutdown(wait=False)"])
def test_the_interpreter_waits_for_pending_tasks(tmp_path: Path, explicit: str, options: str) -> None:
    log = tmp_path / "log"
    code = f"""
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(2, queue_size=60{options})
        for number in range(50):
            ex.submit(tasks.mark, sys.argv[1])
        {explicit}
    """
    run_script(code, log)
    assert tasks.marks(str(log)) == 50


def test_the_interpreter_waits_for_callbacks_also_when_all_processes_have_ended() -> None:
    code = """
        import threading, time
        from bounded_executor import BoundedProcessPoolExecutor

        def call_back(future):
            last_line.wait()
            time.sleep(0.3)
            print(future.result(), flush=True)

        last_line = threading.Event()
        ex = BoundedProcessPoolExecutor(1)
        for number in range(2):
            ex.submit(abs, -number).add_done_callback(call_back)
        ex.shutdown(wait=False)
        ex._core.backend.ended.wait()
        last_line.set()
    """
    assert run_script(code).split() == ["0", "1"]


def test_a_program_without_a_main_guard() -> None:
    code = """
        from bounded_executor import BoundedProcessPoolExecutor

        def double(value):
            return 2 * value

        with BoundedProcessPoolExecutor(2, max_tasks_per_child=2) as ex:
            print(list(ex.map(double, range(6))))
            print(ex.submit(double, 21).result())
    """
    assert run_script(code).split("\n")[:2] == ["[0, 2, 4, 6, 8, 10]", "42"]


def test_the_printed_error_after_shutdown_is_a_plain_one() -> None:
    code = """
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(1)
        ex.shutdown()
        ex.submit(print)
    """
    with start_script(code) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.endswith("\nRuntimeError: cannot schedule new futures after shutdown\n")


# Interrupted, killed.

INTERRUPTED = """
    import itertools, sys, tasks
    from bounded_executor import BoundedProcessPoolExecutor

    with BoundedProcessPoolExecutor(2, queue_size=4) as ex:
        futures = [ex.submit(tasks.nap_after_mark, sys.argv[1], 100) for _ in range(4)]
        tasks.in_thread(lambda: (tasks.await_marks(sys.argv[1], 2), print("ready", flush=True)))
        {wait}
"""


@pytest.mark.parametrize(
    "wait",
    [
        "futures[0].result()",
        "ex.submit(tasks.give)",
        "next(ex.map(tasks.nap, itertools.repeat(100)))",
        "pass",
    ],
    ids=["result", "submit", "map", "shutdown"],
)
def test_ctrl_c_ends_the_run_at_the_first_press(tmp_path: Path, wait: str) -> None:
    mark = uuid.uuid4().hex
    code = INTERRUPTED.replace("{wait}", wait)
    with start_script(code, tmp_path / "log", INTERRUPTED=mark) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            # A terminal signals the whole foreground group.
            os.killpg(process.pid, signal.SIGINT)
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode in (1, -signal.SIGINT, 128 + signal.SIGINT)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") <= 2, err
    wait_until(lambda: not marked_processes("INTERRUPTED", mark))


def test_an_interrupted_block_cancels_what_waits_and_kills_what_runs(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    with pytest.raises(KeyboardInterrupt), BoundedProcessPoolExecutor(2) as ex:
        running = [ex.submit(gate.hold) for _ in range(2)]
        waiting = [ex.submit(tasks.give) for _ in range(10)]
        gate.wait_started(2)
        raise KeyboardInterrupt
    assert all(isinstance(future.exception(0), TerminatedWorkerError) for future in running)
    assert all(future.cancelled() for future in waiting)
    assert ex.stats().unfinished == 0
    assert ex.stats().children == 0


@pytest.mark.parametrize("options", ["", ", max_tasks_per_child=1"], ids=["plain", "recycling"])
def test_a_parent_that_is_killed_leaves_no_process_behind(tmp_path: Path, options: str) -> None:
    mark = uuid.uuid4().hex
    code = f"""
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor

        with BoundedProcessPoolExecutor(3{options}) as ex:
            for _ in range(20):
                ex.submit(tasks.nap_after_mark, sys.argv[1], 100)
            tasks.await_marks(sys.argv[1], 3)
            print("ready", flush=True)
            sys.stdin.read()
    """
    with start_script(code, tmp_path / "log", KILLED=mark) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            assert len(marked_processes("KILLED", mark)) >= 5
        finally:
            process.kill()
    # Five seconds are what is promised.
    wait_until(lambda: not marked_processes("KILLED", mark), "the end of all processes", 5.0)


def test_a_warm_keeper_does_not_outlive_a_killed_parent() -> None:
    mark = uuid.uuid4().hex
    code = """
        import sys, time, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(1, idle_timeout=1000) as ex:
            ex.submit(tasks.give).result()
        print("ready", flush=True)
        time.sleep(100)
    """
    with start_script(code, KILLED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert len(marked_processes("KILLED", mark)) >= 2
        process.kill()
    wait_until(lambda: not marked_processes("KILLED", mark), "the end of all processes", 5.0)


def test_a_program_that_ends_leaves_nothing_behind() -> None:
    mark = uuid.uuid4().hex
    code = """
        import tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(2, idle_timeout=1000) as ex:
            assert list(ex.map(tasks.double, range(10))) == list(range(0, 20, 2))
    """
    with start_script(code, ENDED=mark) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    wait_until(lambda: not marked_processes("ENDED", mark), "the end of all processes", 5.0)


# Forked away from.


@pytest.mark.parametrize("used", [False, True])
def test_an_executor_inherited_through_fork_says_so(used: bool) -> None:
    code = f"""
        import os, signal, warnings, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        warnings.simplefilter("ignore", DeprecationWarning)

        with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
            if {used}:
                assert ex.submit(tasks.give, 1).result() == 1
            pid = os.fork()
            if not pid:
                signal.alarm(30)
                for call in (
                    lambda: ex.submit(tasks.give),
                    lambda: ex.submit_nowait(tasks.give),
                    lambda: ex.map(tasks.give, [1]),
                ):
                    try:
                        call()
                    except RuntimeError as error:
                        assert "fork" in str(error), error
                    else:
                        os._exit(3)
                ex.shutdown()
                del ex
                with BoundedProcessPoolExecutor(1) as own:
                    assert own.submit(tasks.give, 2).result() == 2
                os._exit(0)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            assert ex.submit(tasks.give, 1).result() == 1
    """
    run_script(code)


def test_what_a_task_registers_with_atexit_runs_at_the_end_of_its_process(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.mark_at_exit, log).result(PATIENCE)
        assert tasks.marks(log) == 0
    assert tasks.marks(log) == 1
