"""What an executor consists of, without the object that the user holds.

They are apart so that an executor which is dropped without shutdown can be noticed: the threads know
this object, and not the user's.

``_lock`` guards ``_unbegun`` and ``_map_runner``. ``_pool.spawner`` guards ``_started`` and lets one
thread do the starting while others wait for it, which may take as long as a process needs to be
launched; nothing else is done under it, and no code of the user's.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from .._flag import Flag
from .._locks import RLock
from .._log import Log
from .._options import Bounds
from .._sigterm import Drain
from ..stats import ExecutorStats
from .backend import KILL, Backend
from .dispatcher import Dispatcher
from .lifecycle import broken
from .semaphore import Ledger
from .task_events import Events
from .usage import log_summary

__all__ = ["Core"]

_log = Log()

# Executors that have started and not ended: what the end of the interpreter has to wait for.
_running: set[Core] = set()


class Unfinished(Protocol):
    """A map, as what an executor runs to its end has to be: see ``_map.run``."""

    @property
    def submitted(self) -> bool:
        """Whether all its inputs have been submitted."""
        ...

    @property
    def dropped(self) -> bool:
        """Whether its iterator is gone."""
        ...

    def hand_over(self) -> None:
        """Have the executor run it, and not its iterator."""
        ...

    def run_on(self) -> BaseException | None:
        """Run it as far as that goes; return the error that stopped it."""
        ...

    def hand_back(self) -> None:
        """Leave it to its iterator again."""
        ...

    def kept_bytes(self) -> int:
        """Return what its results weigh that nothing has fetched."""
        ...


class Core:
    """One executor's parts, and the order in which they start and end.

    Args:
        bounds: the executor's checked parameters.
        workers: tasks that run at once, as far as is known now.
        make_backend: makes what runs the tasks, for this dispatcher; it is to call the second argument when
            all has ended.
    """

    def __init__(
        self,
        bounds: Bounds,
        workers: int,
        make_backend: Callable[[Dispatcher, Callable[[], None]], Backend],
    ) -> None:
        self.bounds = bounds
        self.ledger = Ledger(bounds.queue_size, bounds.queue_bytes, floor=workers)
        self.dispatcher = Dispatcher(self.ledger)
        if bounds.on_event is not None:
            self.dispatcher.events = Events(bounds.on_event, self.dispatcher.delivery)
        self.backend = make_backend(self.dispatcher, self._end)
        self.dispatcher.wake = self.backend.wake
        self._lock = RLock()
        self._starting = RLock()
        self._started = False
        self._began = 0.0
        self._drain_at_sigterm: Drain | None = None
        self._unbegun: set[Unfinished] = set()
        self._map_runner: int | None = None
        self._maps_done = Flag()

    def start(self, fn: Callable[..., Any], *, wait: bool = True) -> None:
        """Start the threads and what is below; once, by whoever comes first with a task of ``fn``.

        Args:
            fn: what it needs is imported first.
            wait: until there is something to run tasks on. Without it, if there is none the executor breaks
                later.
        """
        if self._started:
            return
        # Before the lock: it may pickle, and so run code of the user's.
        needs = self.backend.needs(fn)
        with self._starting:
            if self._started:
                return
            try:
                self.dispatcher.delivery.start()
                # Before it is so, because this thread may be interrupted in the middle of it.
                self._started = True
                self._began = monotonic()
                _running.add(self)
                self.backend.at_exit(_at_exit)
                self.backend.start(needs)
            except BaseException as error:
                make = broken(f"the executor could not be started: {error!r}", error)
                if not self.backend.launched:
                    # Interrupted, or no thread or no descriptor can be had, as at the interpreter's end.
                    self._started = False
                    _running.discard(self)
                    self.dispatcher.delivery.stop()
                    self.dispatcher.break_(make)
                if isinstance(error, Exception):
                    raise make() from error
                raise
        if wait:
            self.backend.wait_until_started()

    @property
    def started(self) -> bool:
        """Whether :meth:`start` has nothing more to do."""
        return self._started

    def add_map(self, run: Unfinished) -> None:
        """Remember a map that is to be run to its end if nobody begins it."""
        with self._lock:
            self._unbegun.add(run)

    def begin_map(self, run: Unfinished) -> None:
        """Forget a map that somebody has begun."""
        with self._lock:
            self._unbegun.discard(run)

    def shutdown(self, wait: bool, *, cancel: bool = False, run_maps: bool = False) -> None:
        """End in order: no new tasks, maps that nobody began, what waits, what runs, processes."""
        if self._is_mine():
            # The collector runs a ``__del__`` in the middle of one of our own steps.
            self.backend.note(lambda: self.shutdown(False, cancel=cancel))
            return
        self.dispatcher.close()
        error = None
        try:
            if cancel:
                self._cancel_waiting()
            if run_maps:
                error = self._run_maps()
            self._drain()
            if wait:
                self._join()
        except KeyboardInterrupt:
            self.abort()
            raise
        if not self._started:
            # No thread will. A call that could not be pickled has failed all the same.
            self.dispatcher.delivery.unretrieved.end(_call_outside)
        if error is not None:
            raise error

    def abort(self) -> None:
        """End now: cancel what waits, kill what runs, and wait for the processes to be gone."""
        self.dispatcher.delivery.unretrieved.is_killing = True
        self.dispatcher.close()
        self._cancel_waiting()
        self._drain()
        self.backend.kill(KILL)
        self._join()

    def stats(self) -> ExecutorStats:
        """Return the counters as they are now."""
        counts = self.ledger.counts()
        submitted, waiting, cancelled = self.dispatcher.counters()
        return ExecutorStats(
            queue_size=self.bounds.queue_size,
            queue_bytes=self.bounds.queue_bytes,
            held_bytes=counts.weight,
            submitted=submitted,
            unfinished=counts.held,
            waiting=waiting,
            running=self.backend.running(),
            undelivered=counts.undelivered,
            succeeded=self.dispatcher.succeeded,
            failed=self.dispatcher.failed,
            cancelled=cancelled,
            above_bound=counts.above_bound,
            submit_wait_seconds=counts.wait_seconds,
            task_seconds=self.dispatcher.times.histogram(),
            **self.backend.children(),
        )

    def describe(self) -> str:
        """Say in one line what the executor does now; takes only locks that are held for a moment."""
        dispatcher = self.dispatcher
        _, waiting, cancelled = dispatcher.counters()
        finished = dispatcher.succeeded + dispatcher.failed + cancelled
        return (
            f"{self._state()}, workers={self.backend.capacity}, "
            f"running={self.backend.running()}, waiting={waiting}, "
            f"queue_size={self.bounds.queue_size}, finished={finished}, failed={dispatcher.failed}"
        )

    def end_killing(self, number: int) -> None:
        """Cancel what waits and end what runs, by a signal where there are processes."""
        self.dispatcher.delivery.unretrieved.is_killing = True
        self.shutdown(False, cancel=True)
        self.backend.kill(number)

    def _end(self) -> None:
        # After all callbacks: the end of the interpreter has to wait for those too.
        self.dispatcher.delivery.call(self._take_leave)

    def _take_leave(self) -> None:
        self.dispatcher.delivery.unretrieved.end(_call_outside)
        log_summary(self.stats, self._began)
        _running.discard(self)

    def _state(self) -> str:
        if self.dispatcher.broken:
            return "broken"
        if self.dispatcher.closed:
            return "ended" if self._has_ended() else "shutting down"
        return "running" if self._started else "not started"

    def drain_on_sigterm(self) -> Drain:
        """Have SIGTERM end this executor gently; the main thread's to call."""
        if self._drain_at_sigterm is None:
            self._drain_at_sigterm = Drain(self._begin_drain, self._has_ended)
            self.backend.ignore_sigterm()
        return self._drain_at_sigterm

    def _has_ended(self) -> bool:
        return self.backend.ended.is_set() or (not self._started and self.dispatcher.closed)

    def _begin_drain(self) -> None:
        # A signal handler: it may have interrupted whoever holds a lock of ours.
        self.dispatcher.refuse()
        self.backend.note(lambda: self.shutdown(False, cancel=True))

    def abandon(self) -> None:
        """The user's object is gone. Runs wherever the collector does, so it takes no lock."""
        if self._started:
            self.backend.note(self._close_abandoned)
        else:
            self.dispatcher.refuse()
            self.backend.discard()
            self.dispatcher.delivery.unretrieved.end(_call_outside)

    def _is_mine(self) -> bool:
        """Whether this very thread is in the middle of a step that a lock of ours makes one."""
        locks: tuple[Any, ...] = (self._lock, self._starting)
        return any(lock._is_owned() for lock in locks) or self.dispatcher.is_mine()

    def _close_abandoned(self) -> None:
        with self._lock:
            waits_for_exit = not all(run.submitted for run in self._unbegun)
        if not waits_for_exit:
            self.dispatcher.close()
            self.dispatcher.drain()

    def _join(self) -> None:
        delivery = self.dispatcher.delivery
        if delivery.is_current() or self.backend.is_current():
            # Called from a callback, by a task, or from a ``__del__`` that the collector runs wherever it
            # likes: what would be waited for is this thread itself.
            return
        with self._starting:
            # Another thread may be about to start it.
            started = self._started
            if not started:
                self.backend.discard()
        if started:
            self.backend.join()
            delivery.join()
        self._restore_sigterm()

    def _restore_sigterm(self) -> None:
        if self._drain_at_sigterm is not None:
            self._drain_at_sigterm.restore()

    def _cancel_waiting(self) -> None:
        with self._lock:
            self._unbegun.clear()
        self.dispatcher.cancel_waiting()

    def _drain(self) -> None:
        with self._lock:
            # Whoever runs maps to their end comes by here afterwards.
            if self._map_runner not in (None, threading.get_ident()):
                return
            self._unbegun.clear()
        self.dispatcher.drain()
        self.backend.wake()

    def _run_maps(self) -> BaseException | None:
        """Run the maps that nobody began to their end; the first thread does, others wait for it."""
        this_thread = threading.get_ident()
        # Until the lock says otherwise: a signal's handler may interrupt this anywhere.
        runner: int | None = this_thread
        run: Unfinished | None = None
        error = None
        try:
            with self._lock:
                runner = self._map_runner
                if runner is None and not self._maps_done.is_set():
                    self._map_runner = this_thread
            if runner is not None:
                if runner != this_thread and not self.backend.is_current():
                    self._maps_done.wait()
                return None
            while True:
                with self._lock:
                    if not self._unbegun:
                        return error
                    run = self._unbegun.pop()
                    # Now: a consumer that begins it from here on does not feed it.
                    run.hand_over()
                error = run.run_on() or error
                run.hand_back()
                if not run.dropped:
                    _log.info(
                        "the results of a map that was not begun before the executor's shutdown are "
                        "kept in memory until they are fetched: %d bytes so far",
                        run.kept_bytes(),
                    )
        finally:
            try:
                self._end_running_maps(run, runner)
            except BaseException:
                self._end_running_maps(run, runner)
                raise

    def _end_running_maps(self, run: Unfinished | None, runner: int | None) -> None:
        if run is not None:
            run.hand_back()
        if runner is None:
            with self._lock:
                self._map_runner = None
            self._maps_done.set()


def _call_outside(call: Callable[[], None]) -> None:
    """Call something now, unless the collector has come here in the middle of an executor's own step."""
    for core in list(_running):
        if core._is_mine():
            core.backend.note(call)
            return
    call()


def _at_exit() -> None:
    interrupted = _was_interrupted()
    for core in list(_running):
        try:
            if interrupted:
                core.abort()
            else:
                core.shutdown(True, run_maps=True)
        except KeyboardInterrupt:
            # This one was ended for it. So are the others, and then Python says what happened.
            _running.discard(core)
            _abort_all()
            raise
        except BaseException:
            _log.critical("an executor could not be ended in order", exc_info=True)
    _running.clear()


def _abort_all() -> None:
    for core in list(_running):
        core.abort()


def _was_interrupted() -> bool:
    """Whether Ctrl-C is what ends this program, and not only a command at a prompt."""
    kind = getattr(sys, "last_type", None)
    return kind is not None and issubclass(kind, KeyboardInterrupt) and not hasattr(sys, "ps1")


if hasattr(os, "register_at_fork"):
    # A forked copy of this process has none of the threads that would end them.
    os.register_at_fork(after_in_child=_running.clear)
