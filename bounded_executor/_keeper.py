"""Runs in a loky worker: a clean process from which the supervisors are started.

It is what stays warm between ``with`` blocks. It runs no user code and imports no user module, so
that whatever is started from it starts clean, and starting costs a fork instead of an interpreter.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import socket
from multiprocessing import reduction
from multiprocessing.connection import Connection, wait
from typing import Any

from . import _process, _supervisor

__all__ = ["QUIT", "START", "adopt", "serve"]

START = b"start"
QUIT = b"quit"
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
    _process.ignore_interrupts()
    _process.own_group()
    if parent is not None:
        _process.die_with(parent)
    _control = control


def serve(forked: bool) -> None:
    """Start supervisors as the parent asks for them; returns when it says so.

    Args:
        forked: fork the supervisors; otherwise spawn them.
    """
    control = _control
    assert control is not None
    context = _process.context(forked)
    if not forked:
        # A spawned process is told the start method of this one, and loky's means nothing to it.
        multiprocessing.set_start_method("spawn", force=True)
    gc.collect()
    with _process.ChildWatch() as watch:
        _serve(control, context, watch)


def _serve(control: Connection, context: Any, watch: _process.ChildWatch) -> None:
    supervisors: list[Any] = []
    while True:
        ready = wait([control, *watch.objects(supervisors)])
        watch.clear()
        for process in [one for one in supervisors if one.exitcode is not None]:
            supervisors.remove(process)
            process.join()
            process.close()
        if control not in ready:
            continue
        try:
            message = control.recv_bytes()
        except (EOFError, OSError):
            # The parent is gone without a word, and loky's own queue will never say so.
            for process in supervisors:
                with contextlib.suppress(OSError):
                    os.kill(process.pid, signal.SIGKILL)
            os._exit(1)
        if message == QUIT:
            for process in supervisors:
                # Their executors have ended, so one that stays is stuck in a module's import.
                process.join(PARTING_SECONDS)
                process.kill()
                process.join()
            return
        with socket.socket(fileno=reduction.recv_handle(control)) as sock:
            process = context.Process(target=_supervisor.main, args=(sock, os.getpid()))
            process.start()
        supervisors.append(process)
