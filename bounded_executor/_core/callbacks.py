"""The thread that resolves futures: it unpickles outcomes and runs done-callbacks.

It is apart from the one that frees slots, so that neither a slow callback nor one that waits for
a lock can hold a slot back. It runs user code and therefore holds no lock while it does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from functools import partial
from queue import SimpleQueue
from time import monotonic
from typing import Any

from .._future import BoundedFuture
from .._ipc import log_forwarding
from .._log import Log, say_through
from .._serialize import pickling
from .._serialize.outcomes import Group
from .._serialize.payload import Pickled, Remote, load
from .._unretrieved import Unretrieved
from .semaphore import Ledger

__all__ = [
    "Delivery",
    "cancel",
    "delivering",
    "load_outcome",
    "must_run_no_callbacks",
    "run_no_callbacks_here",
]

_log = Log()

# How late the ledger learns of callbacks that have completed.
TELL_SECONDS = 0.001

_local = threading.local()


def delivering() -> bool:
    """Whether this thread is one that runs done-callbacks of any executor of this package."""
    return getattr(_local, "delivering", False)


def load_outcome(ok: bool, body: Pickled) -> Any:
    """Return the result of a task, or raise its error."""
    if ok:
        return load(body)
    error = pickling.load_error(body)
    try:
        raise error
    finally:
        # It has this frame in its traceback, and what has not been pickled is the error itself.
        del error, body


def run_no_callbacks_here() -> None:
    """Have the futures that this thread cancels cancelled by the delivery thread."""
    _local.no_callbacks = True


def must_run_no_callbacks() -> bool:
    """Whether this is such a thread."""
    return getattr(_local, "no_callbacks", False)


def cancel(future: Future[Any]) -> None:
    """Cancel a future whose task is never started, whatever its callbacks do."""
    try:
        Future.cancel(future)
    except BaseException:
        _log.critical("a done-callback raised", exc_info=True)
    if future.cancelled():
        # wait() and as_completed() learn of it from this.
        future.set_running_or_notify_cancel()


class Delivery:
    """Resolves futures one after the other, in the order in which their outcomes arrived.

    Args:
        ledger: told of every outcome whose callbacks have completed.

    Attributes:
        unretrieved: counts failures that the program never asks for.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.unretrieved = Unretrieved()
        self._ledger = ledger
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; called once, before the first outcome."""
        self._thread = threading.Thread(target=self._run, name="bounded-callbacks", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            # Interrupted while it waited for the thread to run, which it may do all the same.
            self.stop()
            raise

    def put(self, future: Future[Any], ok: bool, body: Pickled) -> None:
        """Hand over an outcome as it came from the child."""
        self._queue.put(partial(self._deliver, future, ok, body))

    def put_fetched(self, future: Future[Any], result: Remote) -> None:
        """Hand over a result that is elsewhere, which is fetched first."""
        self._queue.put(partial(self._deliver, future, True, result, True))

    def put_group(self, futures: Sequence[Future[Any]], group: Group) -> None:
        """Hand over results that came together."""
        self._queue.put(partial(self._deliver_group, futures, group))

    def put_error(self, future: Future[Any], error: BaseException) -> None:
        """Hand over an error that did not come from the task."""
        self._queue.put(partial(self._deliver, future, None, error))

    def put_fault(self, future: Future[Any], error: BaseException) -> None:
        """Hand over an error for a future that has no outcome when its turn comes."""
        self._queue.put(partial(self._fail, future, error))

    def put_cancelled(self, future: Future[Any]) -> None:
        """Have a future cancelled whose task is never started, by a caller that must run no user code."""
        self._queue.put(partial(cancel, future))

    def call(self, call: Callable[[], None]) -> None:
        """Have something called that raises nothing, after what has been handed over before."""
        self._queue.put(call)

    def handle_record(self, body: bytes | bytearray) -> None:
        """Hand over a log record of a task."""
        self._queue.put(partial(log_forwarding.handle, body))

    def stop(self) -> None:
        """End the thread once everything that was handed over is delivered."""
        self._queue.put(None)

    def is_current(self) -> bool:
        """Whether the caller is a done-callback that this thread runs."""
        return self._thread is threading.current_thread()

    def join(self) -> None:
        """Wait for the end of the thread; not for its own callbacks to call."""
        thread = self._thread
        if thread is not None:
            thread.join()
            # The collector may come late to an executor that has ended; its threads go now.
            self._thread = None

    def _run(self) -> None:
        _local.delivering = True
        say_through(_call)
        while True:
            deliver = self._queue.get()
            if deliver is None:
                return
            try:
                deliver()
            except BaseException:
                # A fault of the executor's own. Other futures still want their outcomes.
                _log.critical("the thread that resolves futures failed", exc_info=True)
            del deliver

    def _deliver(self, future: Future[Any], ok: bool | None, body: Any, fetch: bool = False) -> None:
        error: BaseException | None = None
        result: Any = None
        try:
            if ok is None:
                error = body
            elif ok:
                result = body if isinstance(body, Remote) and not fetch else load(body)
            else:
                error = pickling.load_error(body)
        except BaseException as exc:
            error = exc
        # What a program has ended itself it need not look at.
        if error is not None and not (ok is None and self.unretrieved.is_killing):
            self._watch(future, error)
        _resolve(future, result, error)
        del error, result
        self._ledger.delivered()

    def _fail(self, future: Future[Any], error: BaseException) -> None:
        if not future.done():
            self._watch(future, error)
            _resolve(future, None, error)

    def _watch(self, future: Future[Any], error: BaseException) -> None:
        try:
            if isinstance(future, BoundedFuture):
                self.unretrieved.watch(future, error)
        except BaseException:
            # An error's own text may do anything.
            _log.debug("a failure could not be watched", exc_info=True)

    def _deliver_group(self, futures: Sequence[Future[Any]], group: Group) -> None:
        if not group.together:
            for future, (ok, body) in zip(futures, group.each(), strict=True):
                self._deliver(future, ok, body)
            return
        told = monotonic()
        count = 0
        for future, value in zip(futures, group.values(), strict=True):
            _resolve(future, value, None)
            count += 1
            now = monotonic()
            if now - told > TELL_SECONDS:
                self._ledger.delivered(count)
                told, count = now, 0
        if count:
            self._ledger.delivered(count)


def _call(call: Callable[[], None]) -> None:
    call()


def _resolve(future: Future[Any], result: Any, error: BaseException | None) -> None:
    try:
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
    except InvalidStateError:
        _log.error("%r was resolved by somebody else", future)
    except BaseException:
        # A callback may even raise SystemExit; the others still want their outcomes.
        _log.critical("a done-callback raised", exc_info=True)
    finally:
        del error


if hasattr(os, "register_at_fork"):
    # A process that an executor below forks from a thread of ours begins as a copy of that, and runs tasks.
    os.register_at_fork(after_in_child=lambda: _local.__dict__.clear())
