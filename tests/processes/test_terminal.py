"""Tasks that use the program's terminal: what is allowed works, the rest is an error, and nothing stops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers import run_script, script_environment

pytest.importorskip("termios")

# The script is the leader of its session, so that it can take a terminal for its own.
SCRIPT = """
    import fcntl, getpass, os, signal, subprocess, sys, termios
    import bounded_executor._worker.bootstrap
    from bounded_executor import BoundedProcessPoolExecutor

    def open_terminal():
        return os.open("/dev/tty", os.O_RDWR)

    def write(stops_writers):
        terminal = open_terminal()
        attributes = termios.tcgetattr(terminal)
        attributes[3] = attributes[3] & ~termios.TOSTOP | (termios.TOSTOP if stops_writers else 0)
        termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
        assert (termios.tcgetattr(terminal)[3] & termios.TOSTOP != 0) == stops_writers
        return os.write(terminal, b"from a task")

    def run_stty():
        return subprocess.run(["stty", "-echo"], stdin=open_terminal()).returncode

    def read():
        try:
            os.read(open_terminal(), 1)
        except OSError as error:
            return type(error).__name__

    def ask():
        try:
            getpass.getpass("")
        except OSError as error:
            return type(error).__name__

    def write_from_a_program():
        return subprocess.run(["sh", "-c", "echo written > /dev/tty"]).returncode

    bounded_executor._worker.bootstrap.CAN_FORK = sys.argv[1] == "forked"
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    assert os.tcgetpgrp(slave) == os.getpgrp()
    calls = [(write, False), (write, True), (run_stty,), (write_from_a_program,), (read,), (ask,)]
    # A task that is stopped is ended by this, and its result is no more what is expected.
    with BoundedProcessPoolExecutor(1, task_timeout=30) as executor:
        print([future.result() for future in [executor.submit(*call) for call in calls]])
    assert os.read(master, 1000).startswith(b"from a task")
    assert os.tcgetpgrp(slave) == os.getpgrp()
    assert signal.getsignal(signal.SIGTTOU) == signal.getsignal(signal.SIGTTIN) == signal.SIG_DFL
"""


@pytest.mark.parametrize("how", ["forked", "spawned"])
def test_a_task_that_uses_the_terminal_is_not_stopped(how: str) -> None:
    assert run_script(SCRIPT, how, quiet=False) == "[11, 11, 0, 0, 'OSError', 'OSError']\n"


ASKS = """
import fcntl, os, termios
from bounded_executor import BoundedProcessPoolExecutor

if __name__ == "__main__":
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    os.write(master, b"y\\n")

with open("/dev/tty", "rb", buffering=0) as terminal:
    answer = terminal.readline()

def work():
    return answer

if __name__ == "__main__":
    with BoundedProcessPoolExecutor(1) as executor:
        assert executor.submit(work).result() == b"y\\n"
"""


def test_a_script_whose_top_level_asks_something_is_not_stopped(tmp_path: Path) -> None:
    """Its import by the workers gets an error, and it goes by value."""
    (tmp_path / "asks.py").write_text(ASKS)
    done = subprocess.run(
        [sys.executable, tmp_path / "asks.py"],
        start_new_session=True,
        capture_output=True,
        text=True,
        env=script_environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "could not be imported for the worker processes: OSError" in done.stderr
