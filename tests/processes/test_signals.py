"""Signals that the program itself gets: SIGTERM, with and without drain_on_sigterm, and Ctrl-C."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import threading
import uuid
from concurrent.futures import Future, wait
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, marked_processes, run_script, start_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor

# SIGTERM.


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=PATIENCE)
    finally:
        process.kill()


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    code = """
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as ex:
            for _ in range(10):
                ex.submit(tasks.nap_after_mark, sys.argv[1], 100)
            tasks.await_marks(sys.argv[1], 2)
            print("ready", flush=True)
            ex.shutdown()
    """
    with start_script(code, tmp_path / "log", TERMINATED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        _, err = finish(process)
    assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in err
    wait_until(lambda: not marked_processes("TERMINATED", mark), "the end of all processes", 5.0)


def test_a_child_is_silent_when_its_parent_dies_with_an_outcome_unread(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    code = """
        import os, signal, sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        with BoundedProcessPoolExecutor(1) as ex:
            assert ex.submit(tasks.give, 1).result() == 1
            ex.submit(tasks.note_pid_after, sys.argv[1], sys.argv[2])
    """
    go = tmp_path / "go"
    with start_script(code, log, go) as process:
        try:
            wait_until(lambda: len(tasks.notes(log)) == 1, "the task has begun")
            process.send_signal(signal.SIGSTOP)
            go.touch()
            wait_until(lambda: len(tasks.notes(log)) == 2, "the task has come to its end")
            # Asleep again, it has written its outcome and waits for the next task.
            stat = Path(f"/proc/{tasks.notes(log)[1]}/stat")
            wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S", "it waits")
        finally:
            process.kill()
        _, err = process.communicate(timeout=PATIENCE)
    wait_until(lambda: not stat.exists(), "its end")
    assert err == ""


DRAINING = """
    import signal, sys, tasks, time
    from bounded_executor import BoundedProcessPoolExecutor
    log, folder = sys.argv[1:]

    def hold(number):
        tasks.mark(log)
        tasks.await_file(folder + "/go")
        return number

    {before}
    with BoundedProcessPoolExecutor(2, queue_size={queue_size}) as ex:
        drain = ex.drain_on_sigterm()
        assert ex.drain_on_sigterm() is drain
        assert not drain.requested
        futures = {{}}

        def say():
            tasks.await_marks(log, 2)
            print("ready", flush=True)
            while not drain.requested or ex.stats().waiting:
                time.sleep(0.003)
            print("draining", flush=True)

        tasks.in_thread(say)
        {work}
    assert drain.requested
    {after}
"""

SUBMITTING = """
        try:
            for number in range(100):
                futures[ex.submit(hold, number)] = number
        except RuntimeError as error:
            assert drain.requested
            assert str(error) == "cannot schedule new futures after shutdown"
"""


def drain(code: str, folder: Path, mark: str = "", *, to_all: bool = False) -> str:
    """Run a draining program, send it SIGTERM, and let its tasks go on then; returns what it printed.

    Args:
        code: the program.
        folder: where its tasks look for the sign to go on.
        mark: what its processes have in their environment.
        to_all: send the signal to all of its processes.
    """
    with start_script(code, folder / "log", folder, DRAINED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        for pid in marked_processes("DRAINED", mark) if to_all else [process.pid]:
            # The resource trackers of the interpreter ignore it.
            os.kill(pid, signal.SIGTERM)
        assert process.stdout.readline() == "draining\n"
        (folder / "go").touch()
        out, err = finish(process)
    assert (process.returncode, err) == (0, "")
    return out


@pytest.mark.parametrize("to_all", [False, True], ids=["program", "all"])
@pytest.mark.parametrize("queue_size", [10, 200], ids=["blocked", "waiting"])
def test_a_program_drains_and_reports_what_was_not_started(
    tmp_path: Path, queue_size: int, to_all: bool
) -> None:
    """Also where the signal is sent to all processes, as systemd does."""
    mark = uuid.uuid4().hex
    after = """
    print([number for future, number in futures.items() if future.cancelled()])
    print([future.result() for future in futures if not future.cancelled()])
"""
    code = DRAINING.format(queue_size=queue_size, before="", work=SUBMITTING, after=after)
    cancelled, done = map(json.loads, drain(code, tmp_path, mark, to_all=to_all).splitlines())
    assert (done, cancelled) == ([0, 1], list(range(2, min(queue_size, 100))))
    wait_until(lambda: not marked_processes("DRAINED", mark), "the end of all processes", 5.0)


@pytest.mark.parametrize("unordered", [False, True])
def test_a_map_that_is_drained_yields_what_was_finished_and_says_so(tmp_path: Path, unordered: bool) -> None:
    work = f"""
        got = []
        try:
            for number in ex.map(hold, range(1000), chunksize=1, unordered={unordered}):
                got.append(number)
        except BaseException as error:
            print(sorted(got), type(error).__name__, error, flush=True)
"""
    code = DRAINING.format(queue_size=10, before="", work=work, after="")
    out = drain(code, tmp_path)
    assert out.startswith("[0, 1] CancelledError not started: it was cancelled")


def test_a_second_sigterm_does_what_the_first_would_have_done(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    code = DRAINING.format(queue_size=10, before="", work=SUBMITTING, after="")
    with start_script(code, tmp_path / "log", tmp_path, DRAINED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.stdout.readline() == "draining\n"
        process.terminate()
        finish(process)
    assert process.returncode == -signal.SIGTERM
    wait_until(lambda: not marked_processes("DRAINED", mark), "the end of all processes", 5.0)


def test_the_program_s_own_handler_is_called_too_and_is_there_afterwards(tmp_path: Path) -> None:
    before = "signal.signal(signal.SIGTERM, lambda *_: heard.append(1)); heard = []"
    after = "signal.raise_signal(signal.SIGTERM); print(len(heard))"
    code = DRAINING.format(queue_size=10, before=before, work=SUBMITTING, after=after)
    assert drain(code, tmp_path) == "2\n"


def test_two_executors_drain_at_one_signal_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with BoundedProcessPoolExecutor(1) as outer, BoundedProcessPoolExecutor(1) as inner:
        drains = [outer.drain_on_sigterm(), inner.drain_on_sigterm()]
        for ex in (outer, inner):
            assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
        os.kill(os.getpid(), signal.SIGTERM)
        assert all(drain.requested for drain in drains)
        for ex in (outer, inner):
            with pytest.raises(RuntimeError, match="after shutdown"):
                ex.submit(tasks.give)
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_executor_that_has_not_started_drains_too() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        drain = ex.drain_on_sigterm()
        assert repr(drain) == "<drain on SIGTERM: not requested>"
        os.kill(os.getpid(), signal.SIGTERM)
        assert repr(drain) == "<drain on SIGTERM: requested>"
        with pytest.raises(RuntimeError, match="after shutdown"):
            ex.submit(tasks.give)
        with pytest.raises(RuntimeError, match="after shutdown"):
            ex.drain_on_sigterm()


def test_only_the_main_thread_may_ask_for_it() -> None:
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            ex.drain_on_sigterm()
        except ValueError as error:
            errors.append(error)

    with BoundedProcessPoolExecutor(1) as ex:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert "main thread" in str(errors[0])


@pytest.mark.parametrize(
    "make",
    [
        "ex = BoundedProcessPoolExecutor(1); ex.drain_on_sigterm(); ex.shutdown(wait=False)",
        "ex = BoundedProcessPoolExecutor(1); ex.drain_on_sigterm(); del ex",
        """for _ in range(1_100):
            ex = BoundedProcessPoolExecutor(1); ex.drain_on_sigterm(); ex.shutdown(wait=False)
        """,
    ],
    ids=["ended", "dropped", "many"],
)
def test_executors_that_ended_before_they_started_leave_sigterm_alone(make: str) -> None:
    """Also where so many were that their handlers could not call each other."""
    code = f"""
        import signal
        from bounded_executor import BoundedProcessPoolExecutor
        {make}
        signal.raise_signal(signal.SIGTERM)
        print("still there")
    """
    with start_script(code) as process:
        out, err = finish(process)
    assert (process.returncode, out, err) == (-signal.SIGTERM, "", "")


def test_a_forked_copy_of_the_program_can_be_terminated() -> None:
    code = """
        import multiprocessing, signal, tasks, time, warnings
        from bounded_executor import BoundedProcessPoolExecutor
        warnings.simplefilter("ignore", DeprecationWarning)

        def hang():
            begun.set()
            time.sleep(100)

        context = multiprocessing.get_context("fork")
        begun = context.Event()
        with BoundedProcessPoolExecutor(1) as ex:
            drain = ex.drain_on_sigterm()
            assert ex.submit(tasks.double, 21).result() == 42
            copy = context.Process(target=hang)
            copy.start()
            assert begun.wait(30)
            copy.terminate()
            copy.join(10)
            print(copy.exitcode, drain.requested)
            copy.kill()
            copy.join()
            assert ex.submit(tasks.double, 21).result() == 42
    """
    assert run_script(code) == f"{-signal.SIGTERM} False\n"


def test_a_callback_of_what_a_drain_cancels_may_do_what_callbacks_may(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs where all of them run, and not on the thread that everything else depends on."""
    on: list[threading.Thread] = []

    def note(_: object) -> None:
        on.append(threading.current_thread())

    def leave(future: Future[int]) -> None:
        note(future)
        raise SystemExit(3)

    with (
        caplog.at_level(logging.CRITICAL + 1, "concurrent.futures"),
        BoundedProcessPoolExecutor(1) as ex,
        Gate(tmp_path) as gate,
    ):
        ex.drain_on_sigterm()
        done = ex.submit(tasks.double, 21)
        done.result(PATIENCE)
        held = ex.submit(gate.hold, "held")
        held.add_done_callback(note)
        gate.wait_started(1)
        waiting = [ex.submit(tasks.double, number) for number in range(3)]
        for future in waiting:
            future.add_done_callback(leave)
        os.kill(os.getpid(), signal.SIGTERM)
        assert not wait(waiting, PATIENCE).not_done
        assert all(future.cancelled() for future in waiting)
        gate.open()
        assert held.result(PATIENCE) == "held"
        wait_until(lambda: len(on) == 4, "all callbacks")
        assert len(set(on)) == 1


# Ctrl-C.


@pytest.mark.parametrize("ending", ["", "ex.shutdown()"])
def test_ctrl_c_ends_a_program_without_a_with_block(tmp_path: Path, ending: str) -> None:
    mark = uuid.uuid4().hex
    code = f"""
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(2, queue_size=50)
        futures = [ex.submit(tasks.nap_after_mark, sys.argv[1], 100) for _ in range(50)]
        tasks.in_thread(lambda: (tasks.await_marks(sys.argv[1], 2), print("ready", flush=True)))
        futures[0].result()
        {ending}
    """
    with start_script(code, tmp_path / "log", INTERRUPTED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.killpg(process.pid, signal.SIGINT)
        _, err = finish(process)
    assert process.returncode in (1, -signal.SIGINT)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1, err
    wait_until(lambda: not marked_processes("INTERRUPTED", mark), "the end of all processes", 5.0)


def test_ctrl_c_while_the_interpreter_waits_for_pending_tasks(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    code = """
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(2, queue_size=50)
        for _ in range(50):
            ex.submit(tasks.nap_after_mark, sys.argv[1], 100)
        tasks.await_marks(sys.argv[1], 2)
        print("ready", flush=True)
    """
    with start_script(code, tmp_path / "log", INTERRUPTED=mark) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # It has nothing left to do but to wait.
        wait_until(lambda: Path(f"/proc/{process.pid}/wchan").exists())
        os.killpg(process.pid, signal.SIGINT)
        _, err = finish(process)
    assert err.count("Traceback") <= 1, err
    wait_until(lambda: not marked_processes("INTERRUPTED", mark), "the end of all processes", 5.0)


def test_a_keyboard_interrupt_of_a_task_ends_nothing_else() -> None:
    with pytest.raises(KeyboardInterrupt), BoundedProcessPoolExecutor(2) as ex:
        others = [ex.submit(tasks.nap, 0.05, number) for number in range(20)]
        ex.submit(tasks.interrupt).result(PATIENCE)
    assert [future.result(PATIENCE) for future in others] == list(range(20))
