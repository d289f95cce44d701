"""Programs that block signals in all of their threads, and wait for them by ``sigwait``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_script, script_environment

HEAD = """
    import os, signal, sys, time
    import bounded_executor._worker.bootstrap
    from bounded_executor import BoundedProcessPoolExecutor, TaskTimeout, TerminatedWorkerError

    bounded_executor._worker.bootstrap.CAN_FORK = sys.argv[1] == "forked"
    ALL = set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}

    def mask():
        return signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def hang():
        time.sleep(600)

    def note_end_of_child():
        # Python's own waiting for a process needs no signal, so it has to be asked for.
        pid = os.fork()
        if not pid:
            os._exit(3)
        return signal.sigwait({signal.SIGCHLD}), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

ways = pytest.mark.parametrize("how", ["forked", "spawned"])


@ways
def test_deaths_are_noticed_at_once_and_for_what_they_are(how: str) -> None:
    """Without the signal only the end of the connection tells of it, which may have other reasons."""
    code = """
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=1) as executor:
        for _ in range(3):
            error = executor.submit(die).exception(30)
            assert isinstance(error, TerminatedWorkerError), error
            assert "was killed by SIGKILL" in str(error), error
        assert executor.submit(abs, -1).result(30) == 1
    """
    run_script(HEAD + code, how, quiet=False)


@ways
def test_workers_block_what_the_program_blocks_when_it_makes_the_executor(how: str) -> None:
    code = """
    for blocked in (ALL, {signal.SIGCHLD}, {signal.SIGINT, signal.SIGTERM}, set(), {signal.SIGUSR1}):
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        before = mask()
        # From the start, in a replacement, and after an import that is shared.
        with BoundedProcessPoolExecutor(1, max_tasks_per_child=1) as executor:
            assert executor.submit(mask).result(30) == before
            executor.submit(__import__, "xml.dom.minidom").exception(30)
            for _ in range(3):
                assert executor.submit(mask).result(30) == before
        with BoundedProcessPoolExecutor(1) as executor:
            if signal.SIGCHLD in blocked:
                assert executor.submit(note_end_of_child).result(30) == (signal.SIGCHLD, 3)
        assert mask() == before
    """
    run_script(HEAD + code, how)


def test_no_thread_of_ours_takes_a_signal_that_the_program_waits_for() -> None:
    code = """
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    with BoundedProcessPoolExecutor(1) as executor:
        assert executor.submit(abs, -1).result(30) == 1
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            os.kill(os.getpid(), number)
            assert signal.sigwait({number}) == number
    """
    run_script(HEAD + code, "forked")


@ways
def test_a_task_that_takes_too_long_is_ended_with_its_stack(how: str) -> None:
    code = """
    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    with BoundedProcessPoolExecutor(1, task_timeout=0.5) as executor:
        error = executor.submit(hang).exception(30)
        assert isinstance(error, TaskTimeout), error
        assert "in hang" in error.stack, error.stack
    """
    run_script(HEAD + code, how, quiet=False)


def test_terminate_workers_ends_tasks_all_the_same(tmp_path: Path) -> None:
    code = """
    def open_and_hang(path):
        with open(path, "w"):
            pass
        time.sleep(600)

    signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    executor = BoundedProcessPoolExecutor(1)
    os.mkfifo(sys.argv[2])
    future = executor.submit(open_and_hang, sys.argv[2])
    # Until it runs.
    with open(sys.argv[2]):
        pass
    executor.terminate_workers()
    assert isinstance(future.exception(30), TerminatedWorkerError)
    executor.shutdown()
    """
    run_script(HEAD + code, "forked", tmp_path / "pipe", quiet=False)


BLOCKS = """
import os, signal
from bounded_executor import BoundedProcessPoolExecutor

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGUSR1})

def mask():
    return signal.pthread_sigmask(signal.SIG_BLOCK, ())

def die():
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with BoundedProcessPoolExecutor(1) as executor:
        assert executor.submit(mask).result(30) == {signal.SIGCHLD, signal.SIGUSR1}
        assert "was killed by SIGKILL" in str(executor.submit(die).exception(30))
"""


def test_what_the_top_level_of_a_script_blocks_its_workers_block(tmp_path: Path) -> None:
    (tmp_path / "blocks.py").write_text(BLOCKS)
    subprocess.run([sys.executable, tmp_path / "blocks.py"], env=script_environment(), check=True, timeout=60)
