"""The supervisor: starts the task processes of one executor, and tells how each one ended.

It runs no tasks and never sees one: tasks travel between parent and child directly. What it does
is fork, kill, reap, and import: the modules that tasks have been seen to import are imported here
once, so that later children have them from the start. An import may do anything, so it is tried
in a throw-away process first; one that crashes there, or leaves threads running (a process with
threads must not fork), is left to the children for good.

A supervisor belongs to one executor and ends with it, so nothing that a task's module does at
import reaches another executor. It ends when the parent closes the socket.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import signal
import socket
import sys
from multiprocessing.connection import wait
from typing import Any

from . import _child, _process
from ._wire import Frame, Kind, read_frame, write_frame

__all__ = ["main"]

_TRIAL_THREADS = 3


def main(sock: socket.socket, parent: int) -> None:
    """Serve one executor until the parent closes the socket; the target of the process.

    Args:
        sock: the supervisor's end of its socket pair with the parent.
        parent: process id of the keeper that started this process.
    """
    _process.die_with(parent)
    _process.ignore_interrupts()
    sock.setblocking(True)
    fds: list[int] = []
    frame = read_frame(sock, fds)
    if frame is None:
        return
    config: _process.Config = pickle.loads(frame.body)
    if config.forked:
        _process.drop_descriptors({sock.fileno(), *fds})
    config.apply()
    _Supervisor(sock, config, fds).run()


class _Supervisor:
    def __init__(self, sock: socket.socket, config: _process.Config, fds: list[int]) -> None:
        self._sock = sock
        self._config = config
        self._fds = _process.Descriptors(fds)
        self._context = _process.context(config.forked)
        self._children: dict[int, Any] = {}
        self._trial: tuple[Any, list[str]] | None = None
        self._wanted: list[str] = []
        self._watch = _process.ChildWatch()

    def run(self) -> None:
        """Serve until the parent closes the socket, then kill what is left."""
        with self._watch:
            self._serve()
        for child in self._children.values():
            _kill(child, signal.SIGKILL)
        if self._trial is not None:
            _kill(self._trial[0], signal.SIGKILL)

    def _serve(self) -> None:
        # Collecting would write to pages that children share, and there is nothing to collect.
        gc.disable()
        gc.freeze()
        while True:
            processes = list(self._children.values())
            if self._trial is not None:
                processes.append(self._trial[0])
            ready = wait([self._sock, *self._watch.objects(processes)])
            self._watch.clear()
            self._reap()
            if self._sock in ready:
                fds: list[int] = []
                frame = read_frame(self._sock, fds)
                if frame is None:
                    return
                self._obey(frame, fds)

    def _obey(self, frame: Frame, fds: list[int]) -> None:
        if frame.kind == Kind.FORK:
            self._fork(frame.ident, fds[0])
        elif frame.kind == Kind.KILL and frame.ident in self._children:
            _kill(self._children[frame.ident], frame.index)
        elif frame.kind == Kind.IMPORT:
            self._wanted += bytes(frame.body).decode().split("\n")
            self._try_imports()

    def _fork(self, ident: int, fd: int) -> None:
        with socket.socket(fileno=fd) as sock:
            process = self._context.Process(
                target=_child.main, args=(sock, self._config, self._fds, os.getpid())
            )
            process.start()
        self._children[ident] = process

    def _reap(self) -> None:
        for ident, child in list(self._children.items()):
            status = child.exitcode
            if status is None:
                continue
            del self._children[ident]
            pid = child.pid
            child.join()
            child.close()
            if status < 0:
                # It did not leave by itself; what it started has nobody left.
                with contextlib.suppress(OSError):
                    os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                write_frame(self._sock, Kind.DIED, ident, pid, body=str(status).encode())
        if self._trial is not None and self._trial[0].exitcode is not None:
            self._end_trial()

    def _try_imports(self) -> None:
        if self._trial is not None or not self._wanted:
            return
        names, self._wanted = self._wanted, []
        process = self._context.Process(target=_trial, args=(names, os.getpid()))
        process.start()
        self._trial = process, names

    def _end_trial(self) -> None:
        assert self._trial is not None
        process, names = self._trial
        self._trial = None
        status = process.exitcode
        process.join()
        process.close()
        if status == 0:
            _import(names)
            gc.freeze()
        else:
            why = "leave threads running" if status == _TRIAL_THREADS else f"end with status {status}"
            write_frame(self._sock, Kind.UNSHARED, body=f"{', '.join(names)} {why}".encode())
        self._try_imports()


def _trial(names: list[str], parent: int) -> None:
    """Import in a process of its own; its exit status says whether the supervisor may as well."""
    _process.die_with(parent)
    _process.own_group()
    _process.default_signals()
    _process.drop_descriptors(set())
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _import(names)
    os._exit(_TRIAL_THREADS if len(os.listdir("/proc/self/task")) > 1 else 0)


def _import(names: list[str]) -> None:
    for name in names:
        if name not in sys.modules:
            # One that is not to be had by its name is the children's own matter.
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _kill(process: Any, number: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        # It may not have made its own group yet, or be about to.
        os.kill(process.pid, number)
