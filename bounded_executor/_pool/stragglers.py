"""Keeps tasks from waiting behind one that they were batched with, when that turns out to be long or heavy.

The results of those before it are fetched from the board, and those after it are taken back and can run
elsewhere. The worker need not do anything for it, whatever it is doing: it looks at the board before it
begins a task, and begins none that it is not to. The same is done where results turn out to be heavy:
whether there is room for them is asked each time that a worker is given work. What may be concluded from
the board, and when, is the protocol of ``_ipc.scoreboard``. Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from .._core.batching import RESULT_BYTES
from .._core.dispatcher import Dispatcher
from .._core.work import Work
from .._ipc.scoreboard import SETTLE_SECONDS, Board, May, Words
from .._serialize.outcomes import Group
from .deadlines import Deadlines
from .workers import Child, Roster

__all__ = ["HoldUp"]

# How long a worker may send nothing that has several short tasks to run; and one that has tasks of which
# each may take some milliseconds.
HOLD_SECONDS = 0.005
LONG_HOLD_SECONDS = 0.05
# How long a worker may need to come to its first task. One that is not running, because others have the
# processors, is of most use with all that it has when its time comes.
BEGIN_SECONDS = 1.0


class _Look:
    """What was found on the board.

    Attributes:
        words: compared with those of the next look.
        results: a copy of the results that were kept: index of the first, and all. None: not copied yet.
    """

    __slots__ = ("results", "words")

    def __init__(self, words: Words) -> None:
        self.words = words
        self.results: tuple[int, bytes | list[int]] | None = None


class HoldUp:
    """Watches workers that have several tasks.

    Args:
        dispatcher: where outcomes go, and tasks that are taken back.
        roster: how many tasks a worker may be given.
        heard: is called when results of a worker were found.
    """

    def __init__(self, dispatcher: Dispatcher, roster: Roster, heard: Callable[[Child], None]) -> None:
        self.board: Board | None = None
        self._dispatcher = dispatcher
        self._roster = roster
        self._heard = heard
        self._held: Deadlines[Child] = Deadlines(HOLD_SECONDS)
        self._held_long: Deadlines[Child] = Deadlines(LONG_HOLD_SECONDS)
        self._settling: Deadlines[Child] = Deadlines(SETTLE_SECONDS)
        self._timers = (self._held, self._held_long, self._settling)
        self._seen: dict[Child, _Look] = {}
        # The last of its turns in which each was stopped.
        self._stopped: dict[Child, int] = {}

    def watch(self, child: Child, now: float) -> None:
        """Note that a worker has been given work, or more of it, or has sent something."""
        work = child.work
        if work is None or child.place is None or child in self._settling:
            return
        self._held.stop(child)
        self._held_long.stop(child)
        left = work.count - work.done
        if left > 1 and work.joins and left * work.function.size > RESULT_BYTES and not self.stops(child):
            self._stop(child, work)
        elif left > 1 or child.next is not None:
            expected = (work.function.seconds or 0.0) * left
            held = self._held if expected < HOLD_SECONDS else self._held_long
            held.start(child, now)

    def stops(self, child: Child) -> bool:
        """Return whether a worker is to begin no more of the work that it has.

        That may be work which it was given behind the one that it was stopped in. It refuses that when it
        comes to it, and what stands behind is taken back then, so there must be nothing that it would run.
        """
        return self._stopped.get(child, 0) >= child.work_turn

    def stop(self, child: Child) -> None:
        """Have a worker begin nothing more, whatever it has."""
        if child.place is not None and self.board is not None:
            self.board.stop(child.place, child.work_turn, child.turn, May.NOTHING)

    def rest(self, child: Child) -> None:
        """Note that a worker has done its work, or is in the middle of the last that it has."""
        for timer in self._timers:
            timer.stop(child)
        self._seen.pop(child, None)

    def forget(self, child: Child) -> None:
        """Note that a worker is gone."""
        self.rest(child)
        self._stopped.pop(child, None)

    def next(self) -> float | None:
        """Return when something is due, on the clock of ``time.monotonic``; None where nothing is."""
        dues = [timer.next() for timer in self._timers]
        return min((due for due in dues if due is not None), default=None)

    def look(self) -> None:
        """Do what is due."""
        for timer in self._timers:
            for child in timer.expired():
                self._look(child)

    def collect(self, child: Child) -> None:
        """Take over the results that a worker has kept which has ended."""
        work = child.work
        if work is None or child.place is None or self.board is None:
            return
        if self.board.words(child.place).begun_in(child.work_turn):
            first, data = self.board.kept(child.place)
            if data and first > work.done:
                raise RuntimeError(
                    f"{work.name}: process {child.pid} has ended with results from {first} on of a batch of "
                    f"{work.count}, and {work.done} have an outcome"
                )
            self._take_results(child, work, first, data)

    def _take_results(self, child: Child, work: Work, first: int, data: bytes | list[int]) -> None:
        # Those before them may have been sent, and not read yet. Then these come a moment later too.
        if data and first <= work.done:
            group = Group.left_behind(data, work.done - first)
            if group is not None:
                self._dispatcher.outcomes(work, group, None)
                self._heard(child)

    def _look(self, child: Child) -> None:
        work = child.work
        if work is None or child.place is None or self.board is None:
            return
        words = self.board.words(child.place)
        begun = words.begun_in(child.work_turn)
        now = monotonic()
        if begun is None:
            # It has done all of this; the outcomes are on their way.
            self._held.start(child, now)
            return
        if not begun and now - child.since < BEGIN_SECONDS:
            self._held_long.start(child, now)
            return
        behind = child.next is not None or (work.joins and max(begun, 1) < work.count)
        if behind and not self.stops(child):
            self._stop(child, work)
            return
        seen = self._seen.get(child)
        if seen is None or seen.words != words:
            self._seen[child] = _Look(words)
            self._settling.start(child, now)
            return
        if seen.results is None:
            seen.results = self.board.kept(child.place) if begun else (0, b"")
            if seen.results[1]:
                # From now on: the copy was made after `now`.
                self._settling.start(child)
                return
        # In the middle of a long task, which sends its result at once, with all before it.
        self.rest(child)
        self._take_results(child, work, *seen.results)
        if behind and child.work is work:
            self._take_back(child, work, begun)
            # It may have gone on meanwhile.
            self.watch(child, monotonic())

    def _stop(self, child: Child, work: Work) -> None:
        """Have the worker begin no more; it, or else the board, tells which it has not begun."""
        if child.place is None or self.board is None:
            return
        self.board.stop(child.place, child.work_turn, child.turn, may=May.FIRST if work.joins else May.ALL)
        self.rest(child)
        self._stopped[child] = child.turn
        # Only now: what is seen from here on is what was begun in spite of it.
        self._seen[child] = _Look(self.board.words(child.place))
        self._settling.start(child)

    def _take_back(self, child: Child, work: Work, begun: int) -> None:
        """Take back what the worker has not begun and does not begin any more."""
        if begun < work.done:
            raise RuntimeError(
                f"{work.name}: {work.done} items of a batch of {work.count} have an outcome, "
                f"and process {child.pid} has begun {begun}"
            )
        ahead = self._roster.take_next(child)
        if ahead is not None:
            self._dispatcher.give_back(ahead, refused=True)
        if work.joins:
            count = work.count
            self._dispatcher.give_back(work, skip=max(begun, 1) - work.done, refused=True)
            self._roster.give_less(child, count - work.count)
