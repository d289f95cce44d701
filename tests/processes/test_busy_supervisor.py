"""A supervisor that is busy with an import while a process is to be killed: no other task is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import faults
import pytest
import tasks
from helpers import PATIENCE, Gate, status, wait_until
from platforms import needs_fork, needs_pidfds

from bounded_executor import BoundedProcessPoolExecutor, TaskTimeout
from bounded_executor._pool import pidfds, timeouts, workers

# The third import is the supervisor's: the task's own comes first, and then the trial's.
BUSY = """
import os
import time

VALUE = 7


def mark(name):
    with open(os.path.join({folder!r}, name), "ab") as file:
        file.write(b"x")
        return file.tell()


if mark("imports") == 3:
    mark("busy")
    time.sleep({seconds})
    mark("idle")
"""


class Scene:
    """A module that keeps the supervisor busy, and a task that outlasts its import.

    Args:
        folder: for the module and its marks.
        seconds: how long the import takes, in the supervisor only.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self._folder = folder
        self.log = str(folder / "runs")
        (folder / "busy_module.py").write_text(BUSY.format(folder=str(folder), seconds=seconds))
        monkeypatch.syspath_prepend(str(folder))
        # The module is imported anew by each test.
        self.ex: BoundedProcessPoolExecutor

    def is_marked(self, name: str) -> bool:
        return (self._folder / name).exists()

    def keep_busy(self) -> None:
        """Have the supervisor import the module, after a task that does."""
        assert self.ex.submit(tasks.imported_value, "busy_module").result(PATIENCE) == 7
        wait_until(lambda: self.is_marked("busy"), "the supervisor imports")

    def check(self, long: Future[Any], gate: Gate) -> None:
        """Let the long task end when the supervisor is idle again: it has succeeded, and run once."""
        wait_until(lambda: self.is_marked("idle") or long.done(), "the import has ended")
        assert self.ex.stats().supervisors_lost == 0
        assert not long.done(), repr(long.exception(0))
        gate.open()
        assert long.result(PATIENCE) == "long"
        assert len(tasks.notes(self.log)) == 1
        end = threading.Thread(target=self.ex.shutdown, daemon=True)
        end.start()
        end.join(PATIENCE)
        assert not end.is_alive()
        assert self.ex.stats().supervisors_lost == 0
        assert self.ex.stats().retried == 0


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a process killed sooner, so that the import need not take long either."""
    monkeypatch.setattr(timeouts, "KILL_SECONDS", 0.4)
    monkeypatch.setattr(timeouts, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(workers, "RETIREMENT_SECONDS", 0.2)


@needs_fork("the supervisor imports nothing for others")
@pytest.mark.parametrize("retries", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_task_that_is_killed_for_its_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    """With the real times: the import takes longer than the executor waits for the supervisor."""
    scene = Scene(tmp_path, monkeypatch, timeouts.KILL_SECONDS + 1.5)
    killed = str(tmp_path / "killed")

    async def cancel() -> None:
        future = await scene.ex.asubmit(tasks.nap_after_mark, killed, 600, cancel_running=True)
        while not tasks.marks(killed):
            await asyncio.sleep(0.003)
        future.cancel()
        # Nothing runs on this loop any more that would be told.
        await asyncio.sleep(0)

    with BoundedProcessPoolExecutor(2, task_retries=retries) as scene.ex, Gate(tmp_path) as gate:
        long = scene.ex.submit(tasks.note_pid_and_hold, scene.log, gate, "long")
        gate.wait_started(1)
        scene.keep_busy()
        asyncio.run(cancel())
        scene.ex.shutdown(wait=False)
        scene.check(long, gate)
        assert tasks.marks(killed) == 1


@needs_fork("the supervisor imports nothing for others")
@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.usefixtures("short")
def test_a_task_that_ran_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int) -> None:
    scene = Scene(tmp_path, monkeypatch, 2.2)
    limit = 3.0
    killed = str(tmp_path / "killed")
    with (
        BoundedProcessPoolExecutor(2, task_retries=retries, task_timeout=limit) as scene.ex,
        Gate(tmp_path) as gate,
    ):
        late = scene.ex.submit(tasks.nap_after_mark, killed, 600)
        wait_until(lambda: tasks.marks(killed), "it runs")
        # The other is to have time left when that one has none.
        time.sleep(limit - 1.0)
        scene.keep_busy()
        long = scene.ex.submit(tasks.note_pid_and_hold, scene.log, gate, "long")
        gate.wait_started(1)
        scene.ex.shutdown(wait=False)
        wait_until(lambda: scene.is_marked("idle") or long.done(), "the import has ended")
        gate.open()
        assert long.result(PATIENCE) == "long"
        assert len(tasks.notes(scene.log)) == 1
        # It runs again, until it is late once more.
        assert isinstance(late.exception(PATIENCE), TaskTimeout)
        assert scene.ex.stats().supervisors_lost == 0
        assert scene.ex.stats().retried == retries
        assert tasks.marks(killed) == 1 + retries


@needs_fork("the supervisor imports nothing for others")
@pytest.mark.slow
@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.usefixtures("short")
def test_a_process_that_does_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, retries: int) -> None:
    scene = Scene(tmp_path, monkeypatch, 2.0)
    exits = str(tmp_path / "exits")
    with BoundedProcessPoolExecutor(2, task_retries=retries) as scene.ex, Gate(tmp_path) as gate:
        long = scene.ex.submit(tasks.note_pid_and_hold, scene.log, gate, "long")
        gate.wait_started(1)
        assert scene.ex.submit(faults.at_exit, exits, time.sleep, 600).result(PATIENCE) == "left"
        scene.keep_busy()
        scene.ex.shutdown(wait=False)
        wait_until(lambda: tasks.marks(exits), "it is told to leave")
        scene.check(long, gate)


# What the end of a lost supervisor's processes is known by.


def _start(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)


@needs_pidfds
def test_processes_that_have_not_ended_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidfds, "ENDS_SECONDS", 0.1)
    hang = "import time; time.sleep(600)"
    lives, stopped, ended, killed = _start(hang), _start(hang), _start("pass"), _start(hang)
    reaped = _start("pass")
    assert reaped.wait(PATIENCE) == 0
    try:
        os.kill(stopped.pid, signal.SIGSTOP)
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: status(stopped.pid)[0] == "T", "it is stopped")
        # Nobody has reaped them.
        wait_until(lambda: status(ended.pid)[0] == status(killed.pid)[0] == "Z", "they have ended")
        pids = [one.pid for one in (lives, stopped, ended, killed, reaped)]
        assert pidfds.await_ends(pids) == {lives.pid, stopped.pid}
        assert pidfds.await_ends([ended.pid, reaped.pid]) == set()
        assert pidfds.await_ends([]) == set()
    finally:
        for one in (lives, stopped, ended, killed):
            one.kill()
            one.wait()


@needs_pidfds
def test_the_end_of_processes_is_waited_for() -> None:
    process = _start("import time; time.sleep(600)")
    timer = threading.Timer(0.05, process.kill)
    timer.start()
    assert pidfds.await_ends([process.pid]) == set()
    timer.join()
    assert process.wait() == -signal.SIGKILL


def test_where_there_are_no_such_descriptors_connections_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert pidfds.await_ends([os.getpid()]) == {os.getpid()}
    monkeypatch.setattr(pidfds, "ENDS_SECONDS", 0.1)
    pairs = [socket.socketpair() for _ in range(3)]
    with contextlib.ExitStack() as ends:
        for pair in pairs:
            for end in pair:
                ends.enter_context(end)
        ours = {number: pair[0] for number, pair in enumerate(pairs)}
        # One has ended, one has written and not ended, and one has written and ended.
        pairs[0][1].close()
        pairs[1][1].send(b"x")
        pairs[2][1].send(b"x")
        pairs[2][1].close()
        assert pidfds.await_ends([0, 1, 2, 3], ours) == {1, 3}
        assert pairs[2][0].recv(2) == b"x"
        monkeypatch.setattr(pidfds, "ENDS_SECONDS", PATIENCE)
        timer = threading.Timer(0.05, pairs[1][1].close)
        timer.start()
        assert pidfds.await_ends([0, 1, 2], ours) == set()
        timer.join()


@needs_pidfds
def test_a_process_that_there_is_no_descriptor_for_is_not_known_to_be_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(pid: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", fail, raising=False)
    assert pidfds.await_ends([os.getpid()]) == {os.getpid()}
