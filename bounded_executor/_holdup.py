"""Sees to it that nothing is held up by what it travels with, when that is not what it was taken for.

A task may turn out to be long. The results of those before it are fetched from the board, and those
after it are taken back and can run elsewhere. The child need not do anything for it, whatever it is
doing: it looks at the board before it begins a task, and begins none that it has been told not to. The
same is done where results turn out to be heavy: whether there is room for them is asked each time that a
worker is given work. Used by the thread of ``_workers``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ._board import Board
from ._deadlines import Deadlines
from ._dispatch import Dispatcher
from ._outcomes import Group
from ._roster import Child, Roster
from ._work import Work

__all__ = ["HoldUp"]

# How long a child may say nothing that has several short tasks to run; and one that has tasks of which
# each may take some milliseconds.
HOLD_SECONDS = 0.005
LONG_HOLD_SECONDS = 0.05
# What the results of the tasks that a child has may weigh together, as far as is known.
HEAVY_BYTES = 1 << 20
# The child's note that it begins a task is seen, and ours to begin none, long before.
STOP_SECONDS = 0.002


class HoldUp:
    """Watches children that have several tasks.

    Args:
        dispatcher: where outcomes go, and tasks that are taken back.
        roster: how many tasks a child may be given.
        heard: is told that results of a child's were found.
    """

    def __init__(self, dispatcher: Dispatcher, roster: Roster, heard: Callable[[Child], None]) -> None:
        self.board: Board | None = None
        self._dispatcher = dispatcher
        self._roster = roster
        self._heard = heard
        self._held: Deadlines[Child] = Deadlines(HOLD_SECONDS)
        self._held_long: Deadlines[Child] = Deadlines(LONG_HOLD_SECONDS)
        self._stopped: Deadlines[Child] = Deadlines(STOP_SECONDS)
        # Which item each was at when it was looked at last.
        self._seen: dict[Child, int] = {}
        # Up to which of its turns each was told to begin no more.
        self._told: dict[Child, int] = {}

    def watch(self, child: Child, now: float) -> None:
        """Note that a child has begun work, has been given more, or has said something."""
        work = child.work
        if work is None or child.place is None or child in self._stopped:
            return
        self._held.stop(child)
        self._held_long.stop(child)
        left = work.count - work.done
        if left > 1 and work.joins and left * work.function.size > HEAVY_BYTES:
            self._stop(child, work)
        elif left > 1 or child.next is not None:
            expected = (work.function.seconds or 0.0) * left
            held = self._held if expected < HOLD_SECONDS else self._held_long
            held.start(child, now)

    def stops(self, child: Child) -> bool:
        """Return whether a child is told to begin no more of the work that it has.

        That may be work which it was given behind the one that it was told this for. It says so when it
        comes to it, and what stands behind is taken back then, so there must be nothing that it would run.
        """
        return self._told.get(child, 0) >= child.work_turn

    def stop(self, child: Child) -> None:
        """Have a child begin nothing more, whatever it has."""
        if child.place is not None and self.board is not None:
            self.board.stop(child.place, child.turn)

    def rest(self, child: Child) -> None:
        """Note that a child has done its work."""
        self._held.stop(child)
        self._held_long.stop(child)
        self._stopped.stop(child)
        self._seen.pop(child, None)

    def forget(self, child: Child) -> None:
        """Note that a child is gone."""
        self.rest(child)
        self._told.pop(child, None)

    def next(self) -> float | None:
        """Return when something is due, on the clock of ``time.monotonic``; None where nothing is."""
        dues = (self._held.next(), self._held_long.next(), self._stopped.next())
        return min((due for due in dues if due is not None), default=None)

    def look(self) -> None:
        """Do what is due."""
        for child in self._held.expired() + self._held_long.expired():
            self._fetch(child)
        for child in self._stopped.expired():
            self._take_back(child)

    def collect(self, child: Child) -> None:
        """Take over the results that a child has finished and not sent."""
        work = child.work
        if work is None or child.place is None or self.board is None:
            return
        first, data = self.board.unsent(child.place, child.work_turn)
        if first > work.done:
            # Those before it have been sent just now.
            return
        group = Group.left_behind(data, work.done - first)
        if group is not None:
            self._dispatcher.outcomes(work, group, None)
            self._heard(child)

    def _collected(self, child: Child) -> tuple[Work, int | None] | None:
        """Collect; return what the child still has and what it has begun of it, None if it has done all."""
        work = child.work
        if work is None or child.place is None or self.board is None:
            return None
        self.collect(child)
        if child.work is not work:
            return None
        return work, self.board.begun(child.place, child.work_turn)

    def _fetch(self, child: Child) -> None:
        found = self._collected(child)
        if found is None:
            return
        work, begun = found
        ahead = child.next is not None or (work.joins and max(begun or 0, 0) + 1 < work.count)
        if begun is not None and ahead:
            self._stop(child, work)
        elif begun is None or begun != work.done or begun != self._seen.get(child):
            # What it has done is on its way; or it may not have been running at all; or what it is at may
            # be short, and a long one follow.
            if begun is not None:
                self._seen[child] = begun
            self._held.start(child)
        else:
            # It is in the middle of a long task, and sends its result at once, with all before it.
            self.rest(child)

    def _stop(self, child: Child, work: Work) -> None:
        """Have the child begin no more; it, or else the board, tells what it has not begun."""
        if child.place is None or self.board is None:
            return
        if work.joins:
            self.board.stop(child.place, child.turn)
        else:
            self.board.refuse(child.place, child.turn)
        self.rest(child)
        self._stopped.start(child)
        self._told[child] = child.turn

    def _take_back(self, child: Child) -> None:
        found = self._collected(child)
        if found is None:
            return
        work, begun = found
        if begun is None:
            # It has done all of this, and will say so.
            return
        ahead = self._roster.take_next(child)
        if ahead is not None:
            self._dispatcher.give_back(ahead)
        if work.joins:
            # One that it has not even begun stays with it: it may not be running at all.
            count = work.count
            self._dispatcher.give_back(work, skip=max(begun, 0) + 1 - work.done)
            self._roster.give_less(child, count - work.count)
        # What it has said meanwhile was not taken note of.
        self.watch(child, monotonic())
