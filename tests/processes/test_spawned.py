"""The way of platforms without a safe fork: supervisors and children are spawned.

The whole suite runs that way in the tox environment ``spawned``. Here is what that way promises, for the
default run. Programs are run without what only Linux has, as in that environment.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import tasks
from batching import Batch, act, at
from helpers import PATIENCE, TESTS, Gate, assert_all_free, run_script, script_environment, status, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TerminatedWorkerError
from bounded_executor._worker import bootstrap


@pytest.fixture(autouse=True)
def no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "CAN_FORK", False)


def run_as_on_macos(code: str, *arguments: object, quiet: bool = True) -> str:
    path = os.pathsep.join([str(TESTS / "spawned"), script_environment()["PYTHONPATH"]])
    return run_script(code, *arguments, quiet=quiet, PYTHONPATH=path)


def test_limits_are_exact_and_the_initializer_runs_in_every_process() -> None:
    with BoundedProcessPoolExecutor(
        2, initializer=tasks.initialize, initargs=(7,), max_tasks_per_child=3, idle_timeout=0
    ) as ex:
        pids = Counter(ex.map(tasks.pid, range(9), chunksize=2))
        assert max(pids.values()) <= 3
        assert len(pids) >= 3
        assert ex.submit(tasks.initialized).result(PATIENCE)[0] == (7,)


def test_a_dead_process_fails_only_its_own_task_and_its_memory_is_told() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=5, idle_timeout=0) as ex:
        with pytest.raises(TerminatedWorkerError, match=r"SIGKILL; it had \d+\.\d MiB of memory at most"):
            ex.submit(tasks.kill_self).result(PATIENCE)
        assert ex.submit(lambda: "by value").result(PATIENCE) == "by value"
        assert_all_free(ex)


def test_a_supervisor_that_is_stopped_goes_on() -> None:
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as ex:
        _, supervisor, _ = ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)
        os.kill(supervisor, signal.SIGSTOP)
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


def test_a_task_that_its_process_had_not_begun_is_run_elsewhere(tmp_path: Path) -> None:
    """The processes share memory in which each notes what it begins, though they are not forked."""
    with BoundedProcessPoolExecutor(1) as ex:
        pid = ex.submit(tasks.pid).result(PATIENCE)
        # It is stopped, so that what it is given does not arrive.
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: status(pid)[0] == "T", "it is stopped")
        future = ex.submit(tasks.double, 21)
        wait_until(lambda: ex.stats().running == 1, "it has been given the task")
        os.kill(pid, signal.SIGKILL)
        assert future.result(PATIENCE) == 42
        assert future.attempts == 1


def test_a_slow_task_does_not_hold_back_those_it_was_batched_with(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        with Gate(tmp_path) as gate:
            futures = batch.submit(at(2, act(gate.hold, "held")))
            assert [future.result(PATIENCE) for future in futures[:2]] == [0, 1]
            wait_until(lambda: not any(future.running() for future in futures[3:]), "they wait again")
            assert futures[3].cancel()
            gate.open()
        assert futures[2].result(PATIENCE) == "held"
        assert [future.result(PATIENCE) for future in futures[4:]] == list(range(4, len(futures)))


def test_a_preload_that_fails_is_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raising_module.py").write_text("raise LookupError('bad')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with BoundedProcessPoolExecutor(2, preload=("raising_module",)) as ex:
        error = ex.submit(tasks.give).exception(PATIENCE)
    assert isinstance(error, BrokenProcessPool)
    assert "preload=('raising_module',) could not be imported" in str(error)
    assert isinstance(error.__cause__, LookupError)


# As on macOS: without memfd_create, prctl, process descriptors and /proc.


def test_programs_that_tasks_start_inherit_no_descriptors() -> None:
    code = """
        import subprocess, sys
        from bounded_executor import BoundedProcessPoolExecutor

        PROGRAM = '''
        import os
        for fd in os.listdir("/proc/self/fd"):
            try:
                print(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                pass  # It was that of the folder.
        '''

        def inherited():
            command = [sys.executable, "-I", "-c", PROGRAM]
            found = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True)
            return [one for one in found.stdout.splitlines() if "socket:" in one or "bounded-executor" in one]

        with BoundedProcessPoolExecutor(1, task_timeout=60) as ex:
            print(ex.submit(inherited).result())
    """
    assert run_as_on_macos(code) == "[]\n"


def test_the_tasks_of_a_lost_supervisor_do_not_go_on(tmp_path: Path) -> None:
    """No kernel kills them there, and they have been said to have failed."""
    code = """
        import os, signal, sys
        import tasks
        from helpers import PATIENCE, status, wait_until
        from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError

        if __name__ == "__main__":
            log = sys.argv[1]
            with BoundedProcessPoolExecutor(1) as ex:
                running = ex.submit(tasks.note_pid_and_nap, log, 600)
                wait_until(lambda: tasks.notes(log), "the task runs")
                pid = int(tasks.notes(log)[0])
                os.kill(status(pid)[1], signal.SIGKILL)
                assert isinstance(running.exception(PATIENCE), TerminatedWorkerError)
                wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "its process has ended")
                assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
                assert ex.stats().supervisors_lost == 1
    """
    assert run_as_on_macos(code, tmp_path / "log", quiet=False) == ""


def test_a_keeper_that_is_lost_takes_no_task_with_it(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        import tasks
        from helpers import PATIENCE, Gate, wait_until
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            for _ in range(2):
                with BoundedProcessPoolExecutor(1) as ex, Gate(Path(sys.argv[1])) as gate:
                    _, supervisor, keeper = ex.submit(tasks.ancestors, os.getpid()).result(PATIENCE)
                    running = ex.submit(gate.hold, "held")
                    gate.wait_started(1)
                    os.kill(keeper, signal.SIGKILL)
                    gate.open()
                    assert running.result(PATIENCE) == "held"
                    # It was the one that new supervisors come from.
                    os.kill(supervisor, signal.SIGKILL)
                    # A task that its worker had begun by then would fail with it.
                    wait_until(lambda: ex.stats().supervisors_lost == 1, "the loss is noticed")
                    assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
    """
    assert run_as_on_macos(code, tmp_path, quiet=False) == ""


def test_a_killed_program_leaves_no_process(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    code = """
        import os, signal, sys
        import tasks
        from helpers import wait_until
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            if os.fork():
                os.wait()
            else:
                with BoundedProcessPoolExecutor(1) as ex:
                    tasks.note(sys.argv[1], ex.submit(tasks.pid).result())
                    ex.submit(tasks.note_pid_and_nap, sys.argv[1], 600)
                    wait_until(lambda: len(tasks.notes(sys.argv[1])) == 2, "the task runs")
                    os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_as_on_macos(code, log) == ""
    pids = set(tasks.notes(log))
    assert pids
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "its processes have ended")


@pytest.mark.parametrize("what", ["task", "exit"])
def test_nothing_is_written_to_standard_error(what: str) -> None:
    """Warnings are errors there, also at the end of each process, where Python would close its sockets."""
    code = """
        import sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor

        if __name__ == "__main__":
            ex = BoundedProcessPoolExecutor(2, max_tasks_per_child=1)
            assert list(ex.map(tasks.double, range(4))) == [0, 2, 4, 6]
            if sys.argv[1] == "task":
                ex.shutdown()
    """
    assert run_as_on_macos(code, what) == ""
