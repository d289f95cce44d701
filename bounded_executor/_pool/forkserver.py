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
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import multiprocessing.process
import os
import signal
import socket
import threading
from collections.abc import Callable
from multiprocessing import get_context, reduction, resource_tracker, util
from multiprocessing.connection import Connection, Pipe
from multiprocessing.context import BaseContext, SpawnContext
from time import monotonic
from typing import Any

import loky
import loky.backend.resource_tracker as loky_tracker
from loky.backend import reduction as loky_reduction
from loky.backend.context import LokyContext
from loky.backend.process import LokyProcess

from .._flag import Flag
from .._locks import Lock
from .._log import Log
from .._worker import forkserver
from ..errors import BrokenProcessPool
from . import credentials as _credentials
from . import launch
from .crashes import describe, quote

__all__ = ["Keeper", "at_exit", "close_idle", "is_own_thread", "lease"]

# Before that version loky has one reusable executor per process, and a second keeper would wait for the end
# of the first.
if not hasattr(loky.reusable_executor, "_executor_storage"):
    raise ImportError(
        f"bounded_executor needs loky 3.7 or later, and loky {loky.__version__} is installed. "
        "Install a later one: pip install 'loky>=3.7'"
    )

_log = Log()

# A keeper answers at once, unless it is gone.
STATUS_SECONDS = 5.0
# Behind a traceback that loky hands on as text.
QUOTES = '"\n'
_told_of_fork = False

_lock = Lock()
_idle: list[Keeper] = []
_alive: set[Keeper] = set()
_exit_hooks: list[Callable[[], None]] = []
_exit_registered = False


class _Process(LokyProcess):  # type: ignore[misc]
    """The one process of loky's that we start in our own way, see ``_pool.launch``."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return launch.Popen(process_obj, _dump)


class _Context(LokyContext):  # type: ignore[misc]
    """loky's context, with another way to start a process.

    Attributes:
        process: the last that was made; None: none was.
    """

    process: _Process | None = None

    def Process(self, *args: Any, **kwargs: Any) -> _Process:
        """Return a process object, as loky asks for one."""
        self.process = _Process(*args, **kwargs)
        return self.process


def _dump(process_obj: _Process, file: Any) -> None:
    # There it need not be known how it was started.
    plain = LokyProcess.__new__(LokyProcess)
    plain.__dict__.update(process_obj.__dict__)
    loky_reduction.dump(plain._bootstrap, file)  # pyright: ignore[reportAttributeAccessIssue]


class Keeper:
    """A warm process from which supervisors are started, lent to one executor at a time.

    Args:
        context: the start method of the process, or a multiprocessing context.
        forked: fork supervisors and children rather than spawn them.

    Attributes:
        key: what it must have in common with the caller that it is lent to.
    """

    def __init__(self, context: str | BaseContext | None, forked: bool) -> None:
        self.key = (context, forked, _credentials.current())
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
        self._over = Flag()
        self._starts = _loky_context(context)
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

    def failure(self) -> str:
        """Return why the process has ended, or could not be started; empty where it is there."""
        if self.is_usable():
            return ""
        # Its end of the pipe is closed a moment before loky learns of its end.
        self._over.wait(STATUS_SECONDS)
        return str(self.error or "")

    def start_supervisor(self) -> socket.socket:
        """Start a supervisor and return our end of its socket; a broken keeper's is at its end."""
        spare, self._spare = self._spare, None
        return spare or self._start_supervisor()

    def prepare(self) -> None:
        """Have a supervisor started that the next executor takes over; it is not told anything yet."""
        if self._spare is None:
            self._spare = self._start_supervisor()

    def _start_supervisor(self) -> socket.socket:
        return self._ask(forkserver.START)

    def status_of(self, pid: int) -> int | None:
        """Return how a supervisor has ended, negative for a signal; None where that is not known."""
        with self._ask(forkserver.STATUS + str(pid).encode()) as sock:
            sock.settimeout(STATUS_SECONDS)
            try:
                return int(sock.recv(64))
            except (OSError, ValueError):
                return None

    def _ask(self, message: bytes) -> socket.socket:
        """Send a message, and one end of a socket pair; return the other."""
        ours, theirs = socket.socketpair()
        # On macOS what is sent is acknowledged, and one that is gone does not do that.
        with theirs, contextlib.suppress(OSError, RuntimeError):
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
        executor = None
        try:
            if hasattr(signal, "pthread_sigmask"):
                # Inherited by the processes, so that a Ctrl-C cannot hit one before it ignores it.
                signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            launch.ensure_trackers(resource_tracker, loky_tracker)
            executor = loky.get_reusable_executor(
                max_workers=1,
                context=self._starts,
                timeout=None,  # pyright: ignore[reportArgumentType]
                initializer=forkserver.adopt,
                initargs=(self._theirs, self._parent()),
            )
            served = executor.submit(forkserver.serve, self._forked)
            served.add_done_callback(self._ended)
        except BaseException as error:
            self.error = error
            self._over.set()
            # Without its own thread, which may be what could not be had, loky cannot end it.
            executor = None
            self._kill()
        finally:
            self._theirs.close()
            self._started.set()
        self._wait()
        self._drop_spare()
        with contextlib.suppress(OSError):
            self._control.send_bytes(forkserver.QUIT)
        self._control.close()
        if executor is not None:
            executor.shutdown(wait=True)
        popen = self._popen()
        if popen is not None:
            popen.words()
        with _lock:
            _alive.discard(self)

    def _parent(self) -> int | None:
        return None if _method(self._context) == "forkserver" else os.getpid()

    def _ended(self, served: Any) -> None:
        error = served.exception()
        if error is not None:
            how = self._kill()
            if how and isinstance(error, loky.process_executor.TerminatedWorkerError):
                error = BrokenProcessPool(f"the process that starts all others {how}")
            elif isinstance(error, BrokenProcessPool):
                # The cause is a traceback as text, whose last line says what loky lacked.
                _, _, lack = str(error.__cause__ or "").rstrip(QUOTES).rpartition("\n")
                error = BrokenProcessPool(f"{error} {lack}")
        with _lock:
            self.error = error or RuntimeError("the keeper process ended")
            if self in _idle:
                _idle.remove(self)
                self._quit = True
            self._turn.notify()
        self._over.set()

    def _popen(self) -> launch.Popen | None:
        """Return what knows the process, where it was started in our own way."""
        return getattr(getattr(self._starts, "process", None), "_popen", None)

    def _kill(self) -> str:
        """End the process, which is of no use; say how it ended, where that is known."""
        popen = self._popen()
        if popen is None:
            return ""
        # One that has ended keeps its status.
        popen.kill()
        status = popen.wait()
        words = popen.words()
        if status is None:
            return ""
        # What it has written since it came up is not recorded.
        return describe(status) + (quote(words) if words else "")

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
    """Lend a keeper to the caller alone: a warm one unless it must be ``fresh``, or a new one.

    A warm one has the rights, limits and priority of a process that the caller would start now. Those that
    have others, such as root's after the program has become another user, are ended.
    """
    context = _in_our_way(context)
    if _method(context) == "forkserver":
        _credentials.check_fork_server()
    credentials = _credentials.current()
    with _lock:
        unfit = [keeper for keeper in _idle if keeper.key[2] != credentials]
        for keeper in reversed(_idle):
            if not fresh and keeper.key == (context, forked, credentials):
                _idle.remove(keeper)
                keeper._leased = True
                keeper._deadline = None
                return keeper
    for keeper in unfit:
        keeper.quit(wait=False)
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


def _in_our_way(context: str | BaseContext | None) -> str | BaseContext | None:
    """Take those start methods as the default that start an interpreter, and fork.

    A keeper has to be clean, which a forked one is not. The interpreters that multiprocessing and loky start
    look for modules in the directory that the program is in. Contexts of other types are used as they are.
    """
    global _told_of_fork
    method = _method(context)
    if method != "fork":
        known = isinstance(context, str) or type(context) in (SpawnContext, LokyContext)
        return None if known and method in ("spawn", "loky") else context
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
        return _Context()
    return get_context(context) if isinstance(context, str) else context


def _forget() -> None:
    """In a forked copy of this process there are no keepers of its own, and no threads that hold a lock."""
    global _lock, _exit_registered
    _lock = Lock()
    _renew_locks()
    _exit_registered = False
    for keeper in _alive:
        # It is no child of the copy's, which multiprocessing would wait for.
        multiprocessing.process._children.discard(getattr(keeper._starts, "process", None))  # type: ignore[attr-defined, unused-ignore]
    # loky would write to its threads at the copy's exit, and the descriptor may be another file's by then.
    loky.process_executor._threads_wakeups.clear()
    _idle.clear()
    _alive.clear()
    _exit_hooks.clear()
    launch.remember_trackers()


def _renew_locks() -> None:
    """Free the locks that other threads may have held when this process was forked.

    loky holds one for as long as a thread waits for the end of a pool, and multiprocessing one while a thread
    starts its tracker. Neither makes them anew, so that a pool in the copy would wait for a thread that is
    not there. The names are private: where a version has others, this does nothing.
    """
    for module, *path in (
        ("loky.process_executor", "_global_shutdown_lock"),
        ("loky.reusable_executor", "_executor_lock"),
        ("loky.backend.resource_tracker", "_resource_tracker", "_lock"),
        ("multiprocessing.resource_tracker", "_resource_tracker", "_lock"),
    ):
        lock: Any = sys.modules.get(module)
        for name in path:
            lock = getattr(lock, name, None)
        # What the standard library does with its own.
        renew = getattr(lock, "_at_fork_reinit", None)
        if renew is not None:
            renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
