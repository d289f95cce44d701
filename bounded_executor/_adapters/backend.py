"""A backend (``_core.backend``) that hands work on to an executor below, through an engine
(``_adapters.engine``).

How a message ended is left in ``_came`` by whoever brings it: one append and a wake-up. All else is the
thread's own.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError
from time import monotonic
from typing import Any

from .._core.arguments import arguments_of
from .._core.backend import Backend
from .._core.batching import BATCH_SECONDS
from .._core.dispatcher import SUSPECT_LOSSES, Dispatcher
from .._core.exit_hooks import at_exit
from .._core.lifecycle import ErrorFactory
from .._core.work import Work
from .._log import Log
from .._serialize.outcomes import Group
from ..errors import TaskTimeout, TerminatedWorkerError
from .engine import Ended, Engine, WorkerLost

__all__ = ["Held", "Inner"]

_log = Log()

# One message in so many is more than there are workers.
SPARE = 20
# How often it is looked whether there are more workers, or none any more, since nobody says so: while work
# waits for workers, and while what they have is waited for.
LOOK_SECONDS = 1.0
IDLE_LOOK_SECONDS = 5.0
# What a message is taken to need whose function has not been run yet: nothing is handed on to wait behind it.
UNKNOWN_SECONDS = 60.0


class Held:
    """Work that the executor below has."""

    __slots__ = ("alone", "expected", "work")

    def __init__(self, work: Work, alone: bool) -> None:
        self.work = work
        # How many seconds it will take, as far as that is known.
        seconds = work.function.seconds
        self.expected = UNKNOWN_SECONDS if seconds is None else seconds * work.count
        # Nothing else was there at any time.
        self.alone = alone


class Inner(Backend):
    """Runs a dispatcher's work on an engine.

    Args:
        engine: what it is handed to.
        dispatcher: where work comes from and outcomes go.
        queue_size: the most tasks that there can be.
        window: tasks that the engine holds at once; None: as many as keep it busy.
        on_end: called by the thread when all has ended.
    """

    def __init__(
        self,
        engine: Engine,
        dispatcher: Dispatcher,
        queue_size: int,
        window: int | None,
        on_end: Callable[[], None],
    ) -> None:
        together = engine.batch_seconds is not None
        super().__init__(dispatcher, engine.codec, on_end, travels_together=together, name="bounded-inner")
        self._engine = engine
        dispatcher.batch_seconds = engine.batch_seconds or BATCH_SECONDS
        if window is None and not engine.counts_workers:
            # Nothing less is sure to keep it busy.
            window = queue_size
        self._window = window
        self._tickets = itertools.count(1)
        self._held: dict[int, Held] = {}
        self._tasks = 0  # in all that is held
        self._expected = 0.0  # of all that is held
        self._came: deque[tuple[int, Ended]] = deque()
        self._capacity = engine.capacity
        self._looked = 0.0
        self._retried = 0

    @property
    def capacity(self) -> int:
        return self._engine.capacity

    def needs(self, fn: Callable[..., Any]) -> Any:
        """Return None: workers import for themselves."""
        return None

    def wait_until_started(self) -> None:
        """Return at once: the executor below is there."""

    def at_exit(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called when the interpreter ends, before the executor below is ended."""
        at_exit(hook)

    def revoke(self, work: Work) -> None:
        """Cancel work that nobody wants any more, here or below."""
        self.note(lambda: self._revoke(work))

    def kill(self, number: int) -> None:
        """Cancel below what can be cancelled; there are no processes of ours."""
        self.note(lambda: self._cancel(None))

    def ignore_sigterm(self) -> None:
        """Do nothing: the workers are not ours."""

    def discard(self) -> None:
        """Let go of what the engine has, for an executor that ends before it started."""
        self._engine.close()

    def is_current(self) -> bool:
        return super().is_current() or self._engine.is_current()

    def running(self) -> int:
        """Return how many tasks have been handed on and have not ended."""
        return self._tasks

    def children(self) -> dict[str, Any]:
        """Return that there are no processes of ours."""
        return {
            "children": 0,
            "children_memory_bytes": {},
            "children_started": 0,
            "children_replaced": 0,
            "children_over_memory": 0,
            "children_crashed": 0,
            "supervisors_lost": 0,
            "timed_out": 0,
            "retried": self._retried,
        }

    # Everything below runs on the thread, apart from `_ipc.crash_report`.

    def _prepare(self, needs: Any) -> None:
        """Do nothing: the executor below is ready."""

    def _serve(self) -> None:
        self._engine.open(self._report, self.wake)
        while self._held or not self._is_done():
            for _ in self._loop.wait(self._patience()):
                pass
            while self._came:
                self._take(*self._came.popleft())
            self._look()
            self._fill()
            self._dispatcher.deliver()
            self._dispatcher.in_hand.clear()

    def _report(self, ticket: int, ended: Ended) -> None:
        self._came.append((ticket, ended))
        self.wake()

    def _patience(self) -> float | None:
        dues = (self._next_look() if self._held else None, self._dispatcher.next_claim())
        due = min((one for one in dues if one is not None), default=None)
        return None if due is None else max(0.0, due - monotonic())

    def _next_look(self) -> float:
        busy = self._dispatcher.waiting and self._window is None
        return self._looked + (LOOK_SECONDS if busy else IDLE_LOOK_SECONDS)

    def _look(self) -> None:
        """See whether there are more workers, or fewer, now and then."""
        engine = self._engine
        now = monotonic()
        if now >= self._next_look():
            self._looked = now
            engine.look()
        if engine.capacity != self._capacity:
            _log.debug("the executor below has %d workers, and had %d", engine.capacity, self._capacity)
            self._capacity = engine.capacity
            self._dispatcher.ledger.keep_busy(self._capacity)

    def _fill(self) -> None:
        """Hand on what is to be handed on now."""
        dispatcher = self._dispatcher
        # First: who leaves work from here on wakes this thread for it.
        dispatcher.hungry = True
        while True:
            limit, within, full = self._room()
            if full:
                dispatcher.hungry = False
                return
            among = self._capacity if self.travels_together else None
            if self._engine.limit is not None:
                limit = self._engine.limit if limit is None else min(limit, self._engine.limit)
            work = dispatcher.take(limit, beside=len(self._held), among=among, within=within)
            if work is None:
                return
            self._hand_on(work)

    def _room(self) -> tuple[int | None, float | None, bool]:
        """Return how many tasks may be handed on, how long they may take at most, and whether none may."""
        held = self._held
        if len(held) == 1:
            (only,) = held.values()
            if self._dispatcher.runs_alone(only.work):
                return 0, None, True
        if self._window is not None:
            left = self._window - self._tasks
            return left, None, left <= 0
        # Of many workers some are always between two tasks, and find their next ones there.
        if len(held) < self._capacity + self._capacity // SPARE:
            return None, None, False
        # What waits there is to last until an outcome of what runs has come and the next has gone.
        ahead = self._engine.ahead_seconds
        most = self._engine.messages_per_worker * self._capacity
        return None, ahead, self._expected >= ahead * self._capacity or len(held) >= most

    def _hand_on(self, work: Work) -> None:
        held = self._held
        if len(held) == 1:
            for other in held.values():
                other.alone = False
        ticket = next(self._tickets)
        held[ticket] = one = Held(work, not held)
        self._tasks += work.count
        self._expected += one.expected
        try:
            self._engine.submit(ticket, work)
        except Exception as error:
            self._break(f"the executor below takes no more work: {error!r}", error)

    def _take(self, ticket: int, ended: Ended) -> None:
        held = self._held.pop(ticket, None)
        if held is None:
            return
        self._dispatcher.in_hand.append(held.work)
        self._tasks -= held.work.count
        # Sums of fractions do not come back to nothing by themselves.
        self._expected = self._expected - held.expected if self._held else 0.0
        self._settle(ticket, held, ended)

    def _settle(self, ticket: int, held: Held, ended: Ended) -> None:
        """Take how a message ended that is no longer held below."""
        work = held.work
        if isinstance(ended, list):
            self._take_outcomes(work, ended)
        elif isinstance(ended, CancelledError):
            self._dispatcher.drop(work)
        elif isinstance(ended, WorkerLost):
            self._lost(held, ended)
        elif isinstance(ended, BrokenExecutor) and not isinstance(ended, TerminatedWorkerError):
            # That one is the end of a task in one of our own executors, which goes on.
            self._put_back(ticket, held)
            self._break(f"the executor below is broken: {ended}", ended)
        elif isinstance(ended, ImportError) and (ended.name or "").startswith("bounded_executor"):
            self._put_back(ticket, held)
            self._break(
                "the workers of the executor below cannot import bounded_executor: install "
                f"loky-bounded-executor where they run, in this version ({ended})",
                ended,
            )
        elif work.count == 1:
            if isinstance(ended, (TaskTimeout, TerminatedWorkerError)):
                # The executor below knows only what carries the task.
                ended.task_name, ended.arguments = work.name, arguments_of(work)
            self._dispatcher.fail_item(work, 0, ended)
        else:
            # Which of them it is about shows when each is handed on by itself.
            self._again(work, 1)

    def _take_outcomes(self, work: Work, outcomes: list[Any]) -> None:
        for ok, body, seconds in outcomes:
            if isinstance(body, Group):
                self._dispatcher.outcomes(work, body, seconds)
            else:
                self._dispatcher.outcome(work, work.done, ok, seconds, body)
        self._dispatcher.give_back(work)

    def _lost(self, held: Held, error: WorkerLost) -> None:
        """A task ended with its workers; it is to blame if none other ran beside it."""
        work = held.work
        if held.alone and work.count == 1:
            text = f"{work.name} was not finished: {error}, and no other task ran beside it."
            failed = TerminatedWorkerError(text, task_name=work.name, arguments=arguments_of(work))
            failed.__cause__ = error.__cause__
            _log.warning("%s", text)
            self._dispatcher.fail_item(work, 0, failed)
        else:
            self._again(work, SUSPECT_LOSSES)

    def _again(self, work: Work, losses: int) -> None:
        self._retried += work.count
        self._dispatcher.give_back(work, losses=losses)

    def _put_back(self, ticket: int, held: Held) -> None:
        self._held[ticket] = held
        self._tasks += held.work.count

    def _revoke(self, work: Work) -> None:
        if not self._dispatcher.discard(work):
            self._cancel(work)

    def _cancel(self, work: Work | None) -> None:
        """Cancel what is held below: this, or all."""
        for ticket, held in list(self._held.items()):
            if work is None or held.work is work:
                self._engine.cancel(ticket)

    def _fail_held(self, make_error: ErrorFactory) -> None:
        # What has not begun there is not to begin any more.
        self._cancel(None)
        held, self._held = self._held, {}
        self._tasks, self._expected = 0, 0.0
        for one in held.values():
            for index in range(one.work.count):
                self._dispatcher.fail_item(one.work, index, make_error(), attempts=1)

    def _works(self) -> list[Work]:
        return [one.work for one in self._held.values()]

    def _end_all(self) -> None:
        self._cancel(None)

    def _let_go(self) -> None:
        self._engine.close()
        self._came.clear()
