"""Starts processes and learns of their ends: what keeper and supervisor do for their children.

Where forking is safe a process costs one fork and nothing else: no pipes, no object of
``multiprocessing`` that lives on, no descriptor that the next process would inherit. Elsewhere
``multiprocessing`` spawns it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import atexit
import contextlib
import multiprocessing
import multiprocessing.util
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any

from .._memory import proc
from . import bootstrap

__all__ = ["Family"]


class Family:
    """The processes that this one has started and not reaped; to be used by the main thread.

    A process may have ended: where there is SIGCHLD we are woken by it, because end-of-file on a pipe
    is not the end of a process as long as something that it started holds the pipe. Elsewhere
    the process handles tell.

    Args:
        forked: start processes by fork; otherwise by spawn.
        partner: what this process is told its orders by. A forked process does not keep it.
        resume: have a process go on that somebody has stopped; only where there is SIGCHLD.
    """

    def __init__(self, forked: bool, partner: Any, *, resume: bool = False) -> None:
        self._forked = forked
        self._resume = resume
        self._partner = partner
        self._spawned: dict[int, Any] = {}
        self._ends: tuple[socket.socket, socket.socket] | None = None
        self._lifeline: tuple[int, int] | None = None
        self._blocks = False
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
            self._blocks = bootstrap.open_children()

    def stop_listening(self) -> None:
        """Block again what the program blocks, as its code expects that runs here or in a forked process."""
        if self._blocks:
            bootstrap.block_children()

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
            context: Any = multiprocessing.get_context("spawn")
            process = context.Process(target=_keep_sockets, args=(target, args))
            # Not `start`: multiprocessing would keep it in its list of children, and reap those whenever it
            # likes.
            with _at_root():
                popen = process._Popen(process)
            self._spawned[popen.pid] = popen
            return int(popen.pid)
        run: Any = target
        if task:
            # Made by us, so that it names us as its parent.
            context = multiprocessing.get_context("fork")
            process = context.Process(target=_with_input, args=(sys.stdin, target, args))
            run = process._bootstrap
        # What is buffered would be written once more by the copy.
        _flush()
        with bootstrap.keeping_trackers():
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
        if self._forked:
            return list(self._waited_for(-1))
        ended = []
        for pid, popen in list(self._spawned.items()):
            if self._ends is not None:
                # Others that this process may have started are not ours to reap.
                found = list(self._waited_for(pid))
            else:
                status = popen.poll()
                found = [] if status is None else [(pid, status, 0)]
            if found:
                ended += found
                del self._spawned[pid]
                popen.close()
        return ended

    def _waited_for(self, which: int) -> Iterator[tuple[int, int, int]]:
        """Yield how processes have ended; one that is stopped is made to go on."""
        options = os.WNOHANG | (os.WUNTRACED if self._resume else 0)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status, usage = os.wait4(which, options)
                if not pid:
                    break
                if os.WIFSTOPPED(status):
                    os.kill(pid, signal.SIGCONT)
                else:
                    yield pid, os.waitstatus_to_exitcode(status), proc.peak(usage)

    def close(self) -> None:
        """Stop listening for ends; for a process that goes on without this object."""
        if self._ends is not None:
            signal.set_wakeup_fd(-1)
            for end in self._ends:
                end.close()

    def _handles(self) -> list[Any]:
        return [popen.sentinel for popen in self._spawned.values()]

    def _clear(self) -> None:
        # The caller looks at every process after this.
        assert self._ends is not None
        with contextlib.suppress(BlockingIOError):
            self._ends[0].recv(4096)

    def _leave(self) -> None:
        """In a forked process: let go of what belongs to the one it was forked from."""
        assert self._lifeline is not None
        assert self._ends is not None
        bootstrap.forget_children()
        self.stop_listening()
        for end in self._ends:
            end.close()
        os.close(self._lifeline[1])
        self._partner.close()


def _keep_sockets(target: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Call ``target(*args)`` in a spawned process, whose sockets close with it and with nothing else."""
    sockets = [one for one in args if isinstance(one, socket.socket)]
    for one in sockets:
        # It was inherited by this process, and is not for programs that it starts.
        one.set_inheritable(False)
    try:
        target(*args)
    finally:
        for one in sockets:
            # The partner takes the end of the connection for the end of the process. The interpreter would
            # close it, with a warning, before that.
            one.detach()


@contextlib.contextmanager
def _at_root() -> Iterator[None]:
    """Be where no modules lie: an interpreter that multiprocessing starts looks for them where it is."""
    here = None
    with contextlib.suppress(OSError):
        here = os.open(".", os.O_RDONLY)
        os.chdir("/")
    try:
        yield
    finally:
        if here is not None:
            os.fchdir(here)
            os.close(here)


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
