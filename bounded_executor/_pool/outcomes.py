"""What a child says of its tasks, and what it does next.

Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .._core.dispatcher import Dispatcher
from .._core.usage import ProducerWatch
from .._ipc.frames import Frame, Kind
from .._serialize.outcomes import Group
from .._serialize.payload import Parts, Pickled
from .crashes import Endings
from .stall import StallWatch
from .stragglers import HoldUp
from .timeouts import Lateness
from .workers import Child, Roster

__all__ = ["OUTCOMES", "Hearing"]

_SINGLE = {Kind.RESULT, Kind.RESULT_PARTS, Kind.ERROR}
_SEVERAL = {Kind.TOGETHER, Kind.EACH}
# What :meth:`Hearing.take` takes.
OUTCOMES = _SINGLE | _SEVERAL | {Kind.STOPPED}


class Hearing:
    """Takes what a child says of its tasks.

    Args:
        dispatcher: where outcomes go.
        roster: what each child has.
        lateness: is told of each task that begins.
        stall: is told that something has come back.
        endings: is told that a process was of use.
        replace: lets a child go that has run all it may.

    Attributes:
        hold_up: watches children that have several tasks.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        roster: Roster,
        lateness: Lateness,
        stall: StallWatch,
        endings: Endings,
        replace: Callable[[Child], None],
    ) -> None:
        self.hold_up = HoldUp(dispatcher, roster, self._heard_of)
        self._dispatcher = dispatcher
        self._roster = roster
        self._lateness = lateness
        self._stall = stall
        self._endings = endings
        self._replace = replace
        self._producer = ProducerWatch(
            roster.max_workers, lambda: dispatcher.waiting, lambda: dispatcher.times.total_seconds
        )

    def take(self, child: Child, frame: Frame) -> None:
        """Take one of ``OUTCOMES``. What was fetched from the board before may still be sent."""
        work = child.work
        if work is None or work.ident != frame.ident:
            return
        if frame.kind in _SINGLE:
            # What was fetched from the board is sent again.
            if frame.index >= work.done:
                body: Pickled = frame.body
                if frame.kind == Kind.RESULT_PARTS:
                    body = Parts.of_body(frame.body)
                self._dispatcher.outcome(work, frame.index, frame.kind != Kind.ERROR, frame.seconds, body)
                self._heard_of(child)
        elif frame.kind in _SEVERAL:
            if frame.index + frame.count > work.done:
                if frame.index > work.done:
                    raise RuntimeError(f"outcome {frame.index} of {work.name} came before {work.done}")
                together = frame.kind == Kind.TOGETHER
                group = Group(frame.body, frame.count, together, work.done - frame.index)
                self._dispatcher.outcomes(work, group, frame.seconds)
                self._heard_of(child)
        else:
            if work.done != frame.index:
                raise RuntimeError(
                    f"{work.name}: process {child.pid} has refused item {frame.index} of a batch of "
                    f"{work.count}, and {work.done} have an outcome"
                )
            # It refuses that too, which comes after this.
            self.take_next(child)
            self._roster.give_less(child, work.count - work.done)
            self._dispatcher.give_back(work, refused=True)
            self._has_no_work(child, monotonic())

    def take_next(self, child: Child) -> None:
        """Take back what a child was given beforehand."""
        work = self._roster.take_next(child)
        if work is not None:
            self._dispatcher.give_back(work)

    def _heard_of(self, child: Child) -> None:
        work = child.work
        assert work is not None
        now = monotonic()
        child.has_finished = True
        self._endings.proved_useful()
        self._stall.heard(now)
        self._producer.heard(now)
        if child.leaving:
            self.take_next(child)
            self._dispatcher.give_back(work)
        if work.done >= work.count:
            self._has_no_work(child, now)
            return
        # The next item has begun.
        child.since = now
        self._goes_on(child, now)

    def _goes_on(self, child: Child, now: float) -> None:
        self._lateness.begin(child, now)
        self.hold_up.watch(child, now)

    def _has_no_work(self, child: Child, now: float) -> None:
        self.hold_up.rest(child)
        if self._roster.go_on(child, now):
            self._goes_on(child, now)
            return
        self._lateness.rest(child)
        if self._roster.rest(child):
            self._replace(child)
