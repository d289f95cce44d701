"""The one module that knows loky: it starts, watches, keeps warm and ends the keepers.

A :class:`Keeper` is one worker of a loky reusable executor. Each has a thread of its own here,
for three reasons. loky keeps its reusable executor per thread, so what a thread of ours gets is
ours alone. The kernel's order to die with the parent (``PR_SET_PDEATHSIG``) is tied to the thread
that started the process, so that thread must stay. And ending a keeper blocks, which no caller
should notice.

``_lock`` guards ``_idle``, ``_alive`` and the lease fields of every keeper (``_leased``,
``_deadline``, ``_quit``). Nothing is started, sent or joined under it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _portable takes its place")

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import get_context, reduction, util
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import BaseContext
from time import monotonic
from typing import Any

import loky

from . import _keeper, _process
from ._flag import Flag
from ._saying import Log

__all__ = ["Keeper", "at_exit", "close_idle", "is_own_thread", "lease"]

_log = Log()

# A keeper answers at once, unless it is gone.
STATUS_SECONDS = 5.0
_told_of_fork = False

_lock = threading.Lock()
_idle: list[Keeper] = []
_alive: set[Keeper] = set()
_exit_hooks: list[Callable[[], None]] = []
_exit_registered = False


class Keeper:
    """A warm process from which supervisors are started, lent to one executor at a time.

    Args:
        context: the start method of the process, or a multiprocessing context.
        forked: fork supervisors and children rather than spawn them.
    """

    def __init__(self, context: str | BaseContext | None, forked: bool) -> None:
        self.key = (context, forked)
        self.error: BaseException | None = None
        self._context = context
        self._forked = forked
        self._turn = threading.Condition(_lock)
        self._leased = True
        self._quit = False
        self._deadline: float | None = None
        self._spare: socket.socket | None = None
        self._control: Connection
        self._control, self._theirs = Pipe(duplex=True)
        self._started = Flag()
        self._thread = threading.Thread(target=self._own, name="bounded-keeper", daemon=True)
        with _lock:
            _alive.add(self)
        try:
            self._thread.start()
        except BaseException:
            with _lock:
                _alive.discard(self)
            self._control.close()
            self._theirs.close()
            raise
        try:
            # loky must have registered its exit hook before we register ours: the last one
            # registered runs first, and ours needs a loky that still works. loky registers its hook
            # anew for each keeper, and waits in it for all of them.
            self._started.wait()
            _register_exit()
        except BaseException:
            self.quit(wait=False)
            raise

    def is_usable(self) -> bool:
        """Return whether the process is there, as far as its end of the pipe tells."""
        try:
            # It never sends anything, so what there is to read is the end.
            return self.error is None and not self._control.poll()
        except OSError:
            return False

    def start_supervisor(self) -> socket.socket:
        """Start a supervisor and return our end of its socket; a broken keeper's is at its end."""
        spare, self._spare = self._spare, None
        return spare or self._start_supervisor()

    def prepare(self) -> None:
        """Have a supervisor started that the next executor takes over; it is not told anything yet."""
        if self._spare is None:
            self._spare = self._start_supervisor()

    def _start_supervisor(self) -> socket.socket:
        return self._ask(_keeper.START)

    def status_of(self, pid: int) -> int | None:
        """Return how a supervisor has ended, negative for a signal; None where that is not known."""
        with self._ask(_keeper.STATUS + str(pid).encode()) as sock:
            sock.settimeout(STATUS_SECONDS)
            try:
                return int(sock.recv(64))
            except (OSError, ValueError):
                return None

    def _ask(self, message: bytes) -> socket.socket:
        """Send a message, and one end of a socket pair; return the other."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):
            self._control.send_bytes(message)
            reduction.send_handle(self._control, theirs.fileno(), None)
        return ours

    def release(self, idle_timeout: float) -> None:
        """Give the keeper back; it stays warm for ``idle_timeout`` seconds, and 0 waits for its end."""
        with _lock:
            self._leased = False
            if idle_timeout > 0 and self.error is None and not self._quit:
                self._deadline = monotonic() + idle_timeout
                _idle.append(self)
            else:
                self._quit = True
            self._turn.notify()
            quitting = self._quit
        if quitting:
            self._drop_spare()
            self._thread.join()

    def _drop_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            # Closing alone is not enough where a forked copy of this process has it as well.
            with contextlib.suppress(OSError):
                spare.shutdown(socket.SHUT_RDWR)
            spare.close()

    def quit(self, *, wait: bool = True) -> None:
        """End the process; with ``wait``, return when it has ended."""
        with _lock:
            self._quit = True
            if self in _idle:
                _idle.remove(self)
            self._turn.notify()
        if wait:
            self._thread.join()

    def _own(self) -> None:
        if hasattr(signal, "pthread_sigmask"):
            # Inherited by the process, so that a Ctrl-C cannot hit it before it ignores it.
            _start_trackers()
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        executor = None
        try:
            executor = loky.get_reusable_executor(
                max_workers=1,
                context=_loky_context(self._context),
                timeout=None,  # pyright: ignore[reportArgumentType]
                env=_process.flags(),
                initializer=_keeper.adopt,
                initargs=(self._theirs, self._parent()),
            )
            served = executor.submit(_keeper.serve, self._forked)
            served.add_done_callback(self._ended)
        except BaseException as error:
            self.error = error
        finally:
            self._theirs.close()
            self._started.set()
        self._wait()
        self._drop_spare()
        with contextlib.suppress(OSError):
            self._control.send_bytes(_keeper.QUIT)
        self._control.close()
        if executor is not None:
            executor.shutdown(wait=True)
        with _lock:
            _alive.discard(self)

    def _parent(self) -> int | None:
        return None if _method(self._context) == "forkserver" else os.getpid()

    def _ended(self, served: Any) -> None:
        error = served.exception()
        with _lock:
            self.error = error or RuntimeError("the keeper process ended")
            if self in _idle:
                _idle.remove(self)
                self._quit = True
            self._turn.notify()

    def _wait(self) -> None:
        with _lock:
            while not self._quit:
                if self._leased or self._deadline is None:
                    self._turn.wait()
                    continue
                left = self._deadline - monotonic()
                if left > 0:
                    self._turn.wait(left)
                else:
                    _idle.remove(self)
                    self._quit = True


def lease(context: str | BaseContext | None, forked: bool, *, fresh: bool = False) -> Keeper:
    """Lend a keeper to the caller alone: a warm one unless it must be ``fresh``, or a new one."""
    context = _without_fork(context)
    with _lock:
        for keeper in reversed(_idle):
            if not fresh and keeper.key == (context, forked):
                _idle.remove(keeper)
                keeper._leased = True
                keeper._deadline = None
                return keeper
    return Keeper(context, forked)


def close_idle() -> None:
    """End every keeper that nobody has leased, and wait until they have ended."""
    with _lock:
        idle = list(_idle)
    for keeper in idle:
        keeper.quit()


def is_own_thread() -> bool:
    """Whether the caller is on a thread that the end of a keeper waits for."""
    current = threading.current_thread()
    if type(current).__module__.partition(".")[0] == "loky":
        return True
    return any(keeper._thread is current for keeper in list(_alive))


def at_exit(hook: Callable[[], None]) -> None:
    """Have ``hook`` called when the interpreter ends while there are keepers, and loky still works."""
    if hook not in _exit_hooks:
        _exit_hooks.append(hook)


def _register_exit() -> None:
    global _exit_registered
    threading._register_atexit(_at_exit)  # type: ignore[attr-defined, unused-ignore]
    if not _exit_registered:
        _exit_registered = True
        # A process of multiprocessing, as a task's is, joins its children before it comes to that one,
        # and a keeper is one of them.
        util.Finalize(None, _at_exit, exitpriority=100)


def _at_exit() -> None:
    try:
        for hook in _exit_hooks:
            hook()
    finally:
        with _lock:
            keepers = list(_alive)
        for keeper in keepers:
            keeper.quit()


def _method(context: str | BaseContext | None) -> str | None:
    return context if isinstance(context, str) or context is None else context.get_start_method()


def _without_fork(context: str | BaseContext | None) -> str | BaseContext | None:
    """Take the fork start method as the default: a keeper has to be clean, and a forked one is not."""
    global _told_of_fork
    if _method(context) != "fork":
        return context
    if not _told_of_fork:
        _told_of_fork = True
        _log.warning(
            "mp_context=%r is taken as the default: worker processes are forked, but from a clean process "
            "and not from this one. They do not see its memory: pass data through initargs.",
            context,
        )
    return None


def _loky_context(context: str | BaseContext | None) -> Any:
    if context is None:
        return get_context("loky")
    return get_context(context) if isinstance(context, str) else context


def _start_trackers() -> None:
    # Starting one unblocks the signals that the caller has blocked, so it must come first.
    from multiprocessing import resource_tracker

    from loky.backend import resource_tracker as loky_tracker

    resource_tracker.ensure_running()
    loky_tracker.ensure_running()


def _forget() -> None:
    """In a forked copy of this process there are no keepers of ours."""
    global _lock, _exit_registered
    _lock = threading.Lock()
    _exit_registered = False
    _idle.clear()
    _alive.clear()
    _exit_hooks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
