"""Starts processes and learns of their ends: what keeper and supervisor do for their children.

Where forking is safe a process costs one fork and nothing else: no pipes, no object of
``multiprocessing`` that lives on, no descriptor that the next process would inherit. Elsewhere
``multiprocessing`` spawns it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _portable takes its place")

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import select
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from . import _process

__all__ = ["Family"]


class Family:
    """The processes that this one has started and not reaped; to be used by the main thread.

    A process may have ended: where there is SIGCHLD we are woken by it, because end-of-file on a pipe
    is not the end of a process as long as something that it started holds the pipe. Elsewhere
    the process handles tell.

    Args:
        forked: start processes by fork; otherwise by spawn.
        partner: what this process is told its orders by. A forked process does not keep it.
        resume: have a process go on that somebody has stopped; only where they are forked.
    """

    def __init__(self, forked: bool, partner: Any, *, resume: bool = False) -> None:
        self._forked = forked
        self._resume = resume
        self._partner = partner
        self._spawned: dict[int, Any] = {}
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._lifeline: tuple[int, int] | None = None
        if hasattr(signal, "SIGCHLD"):
            self._ends = socket.socketpair()
            for end in self._ends:
                end.setblocking(False)
            self.listen()
            self._poll = select.poll()
            self._poll.register(partner.fileno(), select.POLLIN)
            self._poll.register(self._ends[0].fileno(), select.POLLIN)
        if forked:
            # Its writing end closes with this process: how multiprocessing tells a child that
            # its parent is gone.
            self._lifeline = os.pipe()

    def listen(self) -> None:
        """Be told of ends by signal; once more after code that may have changed how signals are handled."""
        if self._ends is not None:
            signal.set_wakeup_fd(self._ends[1].fileno(), warn_on_full_buffer=False)
            signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def wait(self) -> bool:
        """Wait for an order of the partner's or the end of a process; returns whether it is the former."""
        if self._ends is None:
            return self._partner in wait([self._partner, *self._handles()])
        ready = {fd for fd, _ in self._poll.poll()}
        if self._ends[0].fileno() in ready:
            self._clear()
        return self._partner.fileno() in ready

    def wait_ended(self, seconds: float) -> bool:
        """Wait for the end of a process only; returns whether there may have been one in time."""
        if seconds <= 0:
            return False
        if self._ends is None:
            return bool(wait(self._handles(), seconds))
        ended = bool(wait([self._ends[0]], seconds))
        self._clear()
        return ended

    def start(self, target: Callable[..., object], *args: Any, task: bool = False) -> int:
        """Start a process that calls ``target(*args)`` and ends; return its id.

        Args:
            target: what it runs.
            args: the arguments.
            task: user code will run there, which may ask ``multiprocessing`` about its process.
        """
        if not self._forked:
            process = multiprocessing.get_context("spawn").Process(target=target, args=args)
            with _process.passing_flags_on():
                process.start()
            assert process.pid is not None
            self._spawned[process.pid] = process
            return process.pid
        run: Any = target
        if task:
            # Made by us, so that it names us as its parent.
            context: Any = multiprocessing.get_context("fork")
            process = context.Process(target=_with_input, args=(sys.stdin, target, args))
            run = process._bootstrap
        # What is buffered would be written once more by the copy.
        _flush()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            assert self._lifeline is not None
            self._leave()
            if task:
                _prepare_exit()
                # It is the null device already, and opening that once more costs more than all else here.
                sys.stdin = None
            status = run(self._lifeline[0]) if task else run(*args) or 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            if task:
                atexit._run_exitfuncs()
            _flush()
            os._exit(status)

    def reap(self) -> list[tuple[int, int, int]]:
        """Return how each process has ended that has.

        Returns:
            Its id, its exit status (negative: the signal), and the most bytes that it ever had
            resident (0: not known).
        """
        ended = []
        if not self._forked:
            for pid, process in list(self._spawned.items()):
                if process.exitcode is not None:
                    ended.append((pid, process.exitcode, 0))
                    del self._spawned[pid]
                    process.close()
            return ended
        options = os.WNOHANG | (os.WUNTRACED if self._resume else 0)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(-1, options)
                if not pid:
                    break
                if os.WIFSTOPPED(status):
                    os.kill(pid, signal.SIGCONT)
                else:
                    ended.append((pid, os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024))
        return ended

    def close(self) -> None:
        """Stop listening for ends; for a process that goes on without this object."""
        if self._ends is not None:
            signal.set_wakeup_fd(-1)
            for end in self._ends:
                end.close()

    def _handles(self) -> list[Any]:
        return [process.sentinel for process in self._spawned.values()]

    def _clear(self) -> None:
        # The caller looks at every process after this.
        assert self._ends is not None
        with contextlib.suppress(BlockingIOError):
            self._ends[0].recv(4096)

    def _leave(self) -> None:
        """In a forked process: let go of what belongs to the one it was forked from."""
        assert self._lifeline is not None
        assert self._ends is not None
        _process.forget_children()
        for end in self._ends:
            end.close()
        os.close(self._lifeline[1])
        self._partner.close()


def _prepare_exit() -> None:
    """Have what a task registers with ``atexit`` run at the end of its process, and nothing else."""
    atexit._clear()
    if sys.version_info >= (3, 13):
        # Up to 3.12 a process of multiprocessing does so by itself.
        atexit.register(multiprocessing.util._exit_function)


def _with_input(stdin: Any, target: Callable[..., object], args: tuple[Any, ...]) -> None:
    sys.stdin = stdin
    target(*args)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
