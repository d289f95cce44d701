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

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import gc
import importlib
import multiprocessing
import multiprocessing.util
import os
import pickle
import signal
import socket
from collections.abc import Iterable
from typing import Any

from .._ipc import scoreboard
from .._ipc.crash_report import STACK_SIGNAL, Recording
from .._ipc.frames import Frame, Kind, MainOutcome, Order, read_frame, write_frame
from .._serialize import main_module, namespace, pickling
from . import bootstrap, loop
from .forking import Family

__all__ = ["main"]

_TRIAL_THREADS = 3


def main(sock: socket.socket, forked: bool, parent: int) -> None:
    """Serve one executor until the parent closes the socket; the target of the process.

    Args:
        sock: the supervisor's end of its socket pair with the parent.
        forked: this process and its children are forked.
        parent: process id of the keeper that started this process.
    """
    bootstrap.die_with(parent)
    bootstrap.ignore_interrupts()
    sock.setblocking(True)
    if forked:
        bootstrap.drop_descriptors({sock.fileno()})
    fds: list[int] = []
    frame = read_frame(sock, fds)
    if frame is None:
        return
    config: bootstrap.Config = pickle.loads(frame.body)
    config.apply()
    _Supervisor(sock, config, fds).run()


class _Supervisor:
    def __init__(self, sock: socket.socket, config: bootstrap.Config, fds: list[int]) -> None:
        self._sock = sock
        self._config = config
        self._board: Any = None
        if config.has_board:
            fd = fds.pop(0)
            # One that is spawned opens it for itself.
            self._board = scoreboard.open_board(fd) if config.forked else bootstrap.Descriptors([fd])
        self._report = fds.pop(0) if config.watched else None
        self._store = fds[0]
        self._fds = bootstrap.Descriptors(fds)
        self._has_main = False
        self._inherited: loop.Inherited | None = None
        self._family = Family(config.forked, sock)
        self._children: dict[int, int] = {}  # process id -> number by which the parent knows it
        self._trial: tuple[int, list[str]] | None = None
        self._wanted: list[str] = []

    def run(self) -> None:
        """Serve until the parent closes the socket, then kill what is left."""
        # Collecting would write to pages that children share, and there is nothing to collect.
        gc.disable()
        self._family.stop_listening()
        if self._import_watched():
            self._settle()
            self._serve()
        self._family.close()
        for pid in self._children:
            _kill(pid, signal.SIGKILL)
        if self._trial is not None:
            _kill(self._trial[0], signal.SIGKILL)
        if self._config.try_main:
            # Semaphores that the main module has made here would else be found to have leaked.
            for process in multiprocessing.active_children():
                process.kill()
            multiprocessing.util._run_finalizers()  # type: ignore[attr-defined, unused-ignore]

    def _import_watched(self) -> bool:
        if self._report is None:
            return self._import_ahead()
        recording = Recording(self._report)
        fit = False
        try:
            fit = self._import_ahead()
        finally:
            # The last words of one that ends here are the parent's to pass on.
            if fit:
                recording.stop()
            os.close(self._report)
        return fit

    def _import_ahead(self) -> bool:
        """Import what every child will need; False when this process is not fit to fork after that."""
        config = self._config
        if config.share_preload:
            try:
                for name in config.preload:
                    importlib.import_module(name)
            except BaseException as error:
                self._tell(Kind.PRELOAD_ERROR, body=pickling.dump_error(error))
                return False
            if self._has_threads_of(config.preload):
                return False
        if not self._set_up_main():
            return False
        _import(config.first)
        return not self._has_threads_of(config.first)

    def _set_up_main(self) -> bool:
        """Have the main module for all children; False when this process is not fit to fork after that."""
        config = self._config
        # Values of its globals may refer to descriptors.
        namespace.open_store(self._store, config.sender)
        pickling.receive_descriptors(self._fds.numbers[1:])
        if config.try_main:
            self._tell(Kind.MAIN, MainOutcome.BEGUN, os.getpid())
            handlers = bootstrap.handlers()
            previous = sys.modules.get("__main__")
            # What the top level makes is to be of the kind that it has in the parent.
            multiprocessing.set_start_method(config.start_method, force=True)
            gc.enable()
            try:
                with config.at_start():
                    main_module.set_up(config.main)
            except BaseException as error:
                print(pickling.text_of(error), end="", file=sys.stderr)
                self._tell(Kind.MAIN, MainOutcome.FAILED, body=pickling.summary(error).encode())
                return False
            changed = {
                number: now for number, now in bootstrap.handlers().items() if now is not handlers[number]
            }
            if config.forked and (changed or not gc.isenabled()):
                self._inherited = loop.Inherited(gc.isenabled(), changed)
            gc.disable()
            if config.share_main and not bootstrap.can_fork():
                self._tell(Kind.MAIN, MainOutcome.LEFT_THREADS)
                return False
            if not config.forked:
                main_module.forget(previous)
                multiprocessing.set_start_method("spawn", force=True)
            self._tell(Kind.MAIN, MainOutcome.IMPORTED)
        elif config.share_main:
            main_module.set_up(config.main)
        if config.share_main:
            # What cannot be unpickled fails the tasks that use it.
            with contextlib.suppress(Exception):
                namespace.apply_log_setup(config.log_setup)
                namespace.apply(config.manifest)
                self._has_main = True
            return not self._has_threads_of(("globals of the main module",))
        return True

    def _has_threads_of(self, names: tuple[str, ...]) -> bool:
        if not names or not self._config.forked or bootstrap.can_fork():
            return False
        self._tell(Kind.UNSHARED, 1, body=f"{', '.join(names)} leave threads running".encode())
        return True

    def _settle(self) -> None:
        """Be ready to start children again after an import, which may have done anything."""
        # A child's own collections leave alone what was there before.
        gc.freeze()
        bootstrap.ignore_interrupts()
        self._family.listen()

    def _serve(self) -> None:
        while True:
            ordered = self._family.wait()
            self._reap()
            if ordered:
                fds: list[int] = []
                frame = read_frame(self._sock, fds)
                if frame is None:
                    return
                self._obey(frame, fds)

    def _obey(self, frame: Frame, fds: list[int]) -> None:
        if frame.kind == Kind.FORK:
            self._start_child(frame.ident, pickle.loads(frame.body), fds)
        elif frame.kind == Kind.KILL:
            for pid in [pid for pid, ident in self._children.items() if ident == frame.ident]:
                if frame.index == STACK_SIGNAL:
                    _ask_for_stack(pid)
                else:
                    _kill(pid, frame.index)
        elif frame.kind == Kind.IMPORT:
            self._wanted += bytes(frame.body).decode().split("\n")
            self._try_imports()

    def _start_child(self, ident: int, order: Order, fds: list[int]) -> None:
        if not fds:
            self._tell(Kind.NOT_STARTED, ident, body=b"the supervisor has no file descriptors left")
            return
        report = bootstrap.Descriptors(fds[1:])
        with socket.socket(self._sock.family, self._sock.type, fileno=fds[0]) as sock:
            plan = loop.Plan(
                self._config,
                self._fds,
                order,
                self._board,
                report,
                os.getpid(),
                self._has_main,
                self._inherited,
            )
            try:
                pid = self._family.start(loop.main, sock, plan, task=True)
            except OSError as error:
                # There is no memory, or no further process, for the moment.
                self._tell(Kind.NOT_STARTED, ident, body=str(error).encode())
            else:
                self._children[pid] = ident
        for fd in report.numbers:
            os.close(fd)

    def _reap(self) -> None:
        for pid, status, peak in self._family.reap():
            ident = self._children.pop(pid, None)
            if ident is not None:
                if status < 0:
                    # It did not leave by itself; what it started has nobody left.
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
                self._tell(Kind.DIED, ident, pid, f"{status} {peak}".encode())
            elif self._trial is not None and pid == self._trial[0]:
                self._end_trial(status)

    def _try_imports(self) -> None:
        if self._trial is None and self._wanted:
            names, self._wanted = self._wanted, []
            with contextlib.suppress(OSError):
                self._trial = self._family.start(_trial, names, os.getpid()), names

    def _end_trial(self, status: int) -> None:
        assert self._trial is not None
        _, names = self._trial
        self._trial = None
        if status == 0:
            self._family.stop_listening()
            _import(names)
            self._settle()
        else:
            why = "leave threads running" if status == _TRIAL_THREADS else f"end with status {status}"
            self._tell(Kind.UNSHARED, body=f"{', '.join(names)} {why}".encode())
        self._try_imports()

    def _tell(self, kind: int, ident: int = 0, index: int = 0, body: bytes = b"") -> None:
        # A parent that is gone is noticed by the next wait.
        with contextlib.suppress(OSError):
            write_frame(self._sock, kind, ident, index, body=body)


def _trial(names: list[str], parent: int) -> int:
    """Import in a process of its own; its exit status says whether the supervisor may as well."""
    bootstrap.die_with(parent)
    bootstrap.own_group()
    bootstrap.default_signals(deaf=False)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _import(names)
    return 0 if bootstrap.can_fork() else _TRIAL_THREADS


def _import(names: Iterable[str]) -> None:
    for name in names:
        if name not in sys.modules:
            # One that is not to be had by its name is the children's own matter.
            with contextlib.suppress(Exception, SystemExit):
                importlib.import_module(name)


def _ask_for_stack(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, STACK_SIGNAL)
        # One that was stopped could not do it.
        os.kill(pid, signal.SIGCONT)


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            # On macOS a group in which all have ended is not for us to kill.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, number)
        # It may not have made its own group yet, or be about to.
        os.kill(pid, number)
