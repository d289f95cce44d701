"""Failures that a program never asks for, counted and logged when their executor ends.

A future that fails is given a :class:`Failure`, which it drops when its outcome is asked for. What is not
asked for is known when the future is garbage, for only then can nothing ask any more. A program that keeps
its futures and reads them after the ``with`` block is therefore in time.

``__del__`` runs wherever the collector does, perhaps in the middle of one of these methods: the lock is
reentrant, and what it guards are steps in which the collector cannot run. Handlers of log records are user
code and run outside of it.
"""

from __future__ import annotations

import atexit
import os
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._locks import RLock
from ._log import Log
from ._serialize.pickling import remote_traceback, text_of

if TYPE_CHECKING:
    from ._future import BoundedFuture

__all__ = ["Failure", "Unretrieved"]

_log = Log()

# What the log shows of a traceback: its end, which has the error.
TRACEBACK_CHARACTERS = 4000
TRACEBACK_FRAMES = 50

# A traceback, or what one is made of; neither holds a frame.
Traceback = str | traceback.TracebackException

# Those that may still have something to log at the interpreter's end, in the order of their first failures.
_open: dict[Unretrieved, None] = {}


class Failure:
    """What a failed future holds until its outcome is asked for.

    Attributes:
        retrieved: it was.
    """

    __slots__ = ("_unretrieved", "retrieved")

    def __init__(self, unretrieved: Unretrieved) -> None:
        self.retrieved = False
        self._unretrieved = unretrieved

    def __del__(self) -> None:
        self._unretrieved.settle(self)


class Unretrieved:
    """Counts one executor's failed futures that were dropped without having been asked for their outcome.

    Any thread may use it, ``__del__`` methods included. ``_lock`` guards all but ``is_killing``.

    Attributes:
        is_killing: the program ends what runs, and knows that it fails.
    """

    def __init__(self) -> None:
        self.is_killing = False
        self._lock = RLock()
        self._pid = os.getpid()
        # Of the failed futures that exist and were not asked yet.
        self._pending: dict[int, Traceback] = {}
        self._count = 0  # those that were dropped and not logged yet
        self._first: Traceback | None = None
        # Set when the executor has ended: calls something, not in the middle of a step of ours.
        self._call: Callable[[Callable[[], None]], None] | None = None

    def watch(self, future: BoundedFuture[Any], error: BaseException) -> None:
        """Note that a future fails; comes before waiters and callbacks learn of it. May run user code.

        Args:
            future: the future.
            error: what it fails with.
        """
        if future.is_asked_for():
            return
        text = _traceback_of(error)
        failure = Failure(self)
        with self._lock:
            self._pending[id(failure)] = text
            _open[self] = None
        future.hold(failure)

    def settle(self, failure: Failure) -> None:
        """Note that a failure is gone: it was asked for, or its future was dropped."""
        with self._lock:
            text = self._pending.pop(id(failure), None)
            if text is not None and not failure.retrieved:
                self._count += 1
                if self._first is None:
                    self._first = text
            call = None if self._pending else self._call
        if call is not None:
            # One record for all that were kept until now, and not one for each.
            call(self._tell_rest)

    def end(self, call: Callable[[Callable[[], None]], None]) -> None:
        """Log what was dropped; what still exists is logged when the last of it has gone.

        Args:
            call: calls something, here or, where this thread is in the middle of a step of ours, elsewhere.
        """
        with self._lock:
            self._call = call
        call(self._tell_rest)

    def finish(self) -> None:
        """Log everything now: nothing will ask any more."""
        with self._lock:
            self._count += len(self._pending)
            if self._first is None:
                self._first = next(iter(self._pending.values()), None)
            self._pending.clear()
        self._tell_rest()

    def _tell_rest(self) -> None:
        with self._lock:
            count, first = self._count, self._first
            self._count, self._first = 0, None
            if self._call is not None and not self._pending:
                _open.pop(self, None)
        # A forked copy of the process has copies of its futures.
        if count and first is not None and os.getpid() == self._pid:
            _log.warning(
                "failed tasks whose outcome was never asked for: %d. Call result() or exception() of each "
                "future, or add a done-callback. The first one failed with:\n%s",
                count,
                _format(first),
            )

    def begin_in_copy(self) -> None:
        """In a forked process: have a lock that no thread of the parent holds, and tell nothing."""
        self._lock = RLock()
        self._call = None


def _traceback_of(error: BaseException) -> Traceback:
    try:
        # The worker's is text already.
        return remote_traceback(error) or traceback.TracebackException(
            type(error), error, error.__traceback__, limit=-TRACEBACK_FRAMES, lookup_lines=False, compact=True
        )
    except Exception:
        # It has attributes that raise.
        return text_of(error)


def _format(first: Traceback) -> str:
    text = first if isinstance(first, str) else "".join(first.format())
    text = text.strip()
    if len(text) > TRACEBACK_CHARACTERS:
        text = f"…{text[-TRACEBACK_CHARACTERS:]}"
    return text


def _finish_all() -> None:
    # After executors have ended, and before logging has: that was imported, and so registered, earlier.
    for unretrieved in list(_open):
        unretrieved.finish()
    _open.clear()


def _begin_in_copy() -> None:
    for unretrieved in list(_open):
        unretrieved.begin_in_copy()
    _open.clear()


atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_copy)
