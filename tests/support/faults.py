"""Ways for code to go wrong, and the moments at which it can: what workers import for the fault tests."""

from __future__ import annotations

import atexit
import ctypes
import faulthandler
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import tasks

RAISE, EXIT, HARD_EXIT, KILL, CRASH = "raise", "sys.exit", "os._exit", "SIGKILL", "SIGSEGV"
HANG, NO_MEMORY = "hang", "out of memory"

# How a process ends that dies of it, as ``subprocess`` counts, and as an error message says.
DEATHS = {
    HARD_EXIT: (3, "exit status 3"),
    KILL: (-9, "SIGKILL"),
    CRASH: (-11, "SIGSEGV"),
    NO_MEMORY: (-9, "SIGKILL"),
}
KINDS = (RAISE, EXIT, *DEATHS, HANG)

# More than a test's memory control group has.
TOO_MUCH = 256 << 20


class Fault(Exception):
    """The task's own error."""


def happen(kind: str, group: str = "") -> NoReturn:
    """Go wrong here and now.

    Args:
        kind: one of ``KINDS``.
        group: folder of the memory control group for a process that is to be out of memory.
    """
    if kind == RAISE:
        raise Fault("as told")
    if kind == EXIT:
        sys.exit(3)
    if kind == HARD_EXIT:
        os._exit(3)
    if kind == KILL:
        tasks.kill_self()
    if kind == CRASH:
        # Its report of where that was would only fill the screen.
        faulthandler.disable()
        ctypes.string_at(0)
    if kind == NO_MEMORY:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))
        b"x" * TOO_MUCH
    while kind == HANG:
        time.sleep(1000)
    raise AssertionError(f"survived {kind}")


class OnPickle:
    """Calls something when it is pickled, and becomes what that returns."""

    def __init__(self, act: Callable[..., Any], *args: Any) -> None:
        self.act, self.args = act, args

    def __reduce__(self) -> Any:
        return tasks.give, (self.act(*self.args),)


class OnUnpickle:
    """Calls something when it is unpickled, and becomes what that returns."""

    def __init__(self, act: Callable[..., Any], *args: Any) -> None:
        self.act, self.args = act, args

    def __reduce__(self) -> Any:
        return self.act, self.args


def after(gate: Any, act: Callable[..., Any], *args: Any) -> Any:
    """Call something once the gate is open."""
    gate.hold()
    return act(*args)


def at_exit(path: str, act: Callable[..., Any], *args: Any) -> str:
    """Return, and call something when the process ends; the file then has a mark more."""
    atexit.register(act, *args)
    atexit.register(tasks.mark, path)  # runs first
    return "left"


def start_well(count: int, log: str, gate: Any, act: Callable[..., Any], *args: Any) -> None:
    """As an initializer: all but the first ``count`` processes call something once the gate is open."""
    tasks.mark(log)
    if tasks.marks(log) > count:
        gate.wait()
        act(*args)


def count_run(log: str, number: int, value: Any = None) -> Any:
    """Note that the task has begun, in one write that no death can tear."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    return number if value is None else value


def work(log: str, number: int, seconds: float = 0.0, kind: str = "") -> tuple[int, int]:
    """Note the run, take some time, and go wrong or return the number and the process's id."""
    count_run(log, number)
    time.sleep(seconds)
    if kind:
        happen(kind)
    return number, os.getpid()
