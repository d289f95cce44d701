"""Runs in a loky worker: a clean process from which the supervisors are started.

It is what stays warm between ``with`` blocks. It runs no user code and imports no user module, so
that whatever is started from it starts clean, and starting costs a fork instead of an interpreter.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import gc
import multiprocessing
import os
import signal
import socket
from multiprocessing import reduction
from multiprocessing.connection import Connection
from time import monotonic

from .._ipc.frames import Kind, write_frame
from . import bootstrap, supervisor
from .forking import Family

__all__ = ["QUIT", "START", "STATUS", "adopt", "serve"]

START = b"start"
QUIT = b"quit"
STATUS = b"status "
# How many supervisors may have ended whose status has not been asked for.
KEPT_STATUSES = 16
PARTING_SECONDS = 5.0

_control: Connection | None = None


def adopt(control: Connection, parent: int | None) -> None:
    """Take over the pipe to the parent; the initializer of the loky worker.

    Args:
        control: the worker's end of its pipe with the parent.
        parent: process id that this worker must not outlive; None where somebody else, such as
            a forkserver, is the one that started it.
    """
    global _control
    # What this process starts by `python -c` looks for modules in the directory that it is in. Not before:
    # what starts with the process, as coverage does, takes its own paths for relative to the program's.
    os.chdir("/")
    bootstrap.ignore_interrupts()
    bootstrap.own_group()
    bootstrap.be_never_stopped_by_the_terminal()
    if parent is not None:
        bootstrap.die_with(parent)
    _control = control
    # It would measure this process, which fails without /proc, and collect garbage for that.
    sys.modules["loky.process_executor"]._USE_PSUTIL = False  # type: ignore[attr-defined, unused-ignore]


def serve(forked: bool) -> None:
    """Start supervisors as the parent asks for them; returns when it says so.

    Args:
        forked: fork the supervisors; otherwise spawn them.
    """
    control = _control
    assert control is not None
    if not forked:
        # A spawned process is told the start method of this one, and loky's means nothing to it.
        multiprocessing.set_start_method("spawn", force=True)
    # A collection would write to the pages that all other processes share with this one.
    gc.freeze()
    gc.disable()
    # Whoever stops a supervisor would stop every task that is still to come.
    family = Family(forked, control, resume=True)
    supervisors: set[int] = set()
    statuses: dict[int, int] = {}
    while True:
        asked = family.wait()
        _reap(family, supervisors, statuses)
        if not asked:
            continue
        try:
            message = control.recv_bytes()
        except (EOFError, OSError):
            # The parent is gone without a word, and loky's own queue will never say so.
            if not bootstrap.DIES_WITH_PARENT:
                # Each supervisor notices too, and kills its children. No other process does.
                _await_ends(family, supervisors, statuses)
            _kill(supervisors)
            os._exit(1)
        if message == QUIT:
            # Their executors have ended, so one that stays is stuck in a module's import.
            _await_ends(family, supervisors, statuses)
            _kill(supervisors)
            family.close()
            return
        with socket.socket(fileno=reduction.recv_handle(control)) as sock:
            if message.startswith(STATUS):
                pid = int(message[len(STATUS) :])
                while pid in supervisors and family.wait_ended(PARTING_SECONDS):
                    _reap(family, supervisors, statuses)
                with contextlib.suppress(OSError):
                    sock.sendall(str(statuses.get(pid, "")).encode())
            else:
                try:
                    supervisors.add(family.start(supervisor.main, sock, forked, os.getpid()))
                except OSError as error:
                    # There is no memory, or no further process, for the moment.
                    with contextlib.suppress(OSError):
                        write_frame(sock, Kind.NO_SUPERVISOR, body=str(error).encode())


def _reap(family: Family, supervisors: set[int], statuses: dict[int, int]) -> None:
    for pid, status, _ in family.reap():
        supervisors.discard(pid)
        statuses[pid] = status
    while len(statuses) > KEPT_STATUSES:
        del statuses[next(iter(statuses))]


def _await_ends(family: Family, supervisors: set[int], statuses: dict[int, int]) -> None:
    deadline = monotonic() + PARTING_SECONDS
    while supervisors and family.wait_ended(deadline - monotonic()):
        _reap(family, supervisors, statuses)


def _kill(pids: set[int]) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))
