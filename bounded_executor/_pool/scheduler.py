"""Gives waiting work to idle children, sends home those that are not needed, and orders more where they are.

Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from time import monotonic

from .._core.batching import RESULT_BYTES
from .._core.dispatcher import Dispatcher
from .._core.event_loop import Loop
from .._core.work import Work
from .._ipc.frames import Kind
from .._memory.throttle import Governor
from .._serialize.payload import Parts
from .crashes import Endings
from .spawner import Starter
from .stall import StallWatch
from .stragglers import HoldUp
from .timeouts import Lateness
from .workers import Child, Roster

__all__ = ["Giver"]


# What a child has left to do when it is given more, at most. Longer tasks do not miss the moment that
# passes between two of them, and what is given ahead can no longer be cancelled.
AHEAD_SECONDS = 0.02
# What takes this much and four times as long as it should will not be done in a moment.
PATIENCE_SECONDS = 0.001


class Giver:
    """Keeps the children busy.

    Args:
        max_workers: tasks that may run at once.
        dispatcher: where work comes from.
        roster: who is idle.
        starter: starts more children.
        endings: is told when the first is being started.
        lateness: is told of each task that begins.
        hold_up: is told of tasks that travel together.
        stall: is told when something begins after nothing was there.
        loop: waits for room in the children's sockets.
        break_: makes the executor unusable, with a message and a cause.
        gives_ahead: a child may be given work that it will come to in a moment.

    Attributes:
        governor: says whether there is memory for one more task; None where nobody asks.
        held_back: work waits for memory.
        paused: no child is given anything, and none is started.
        next_rested: when work that rests is due, on the clock of ``time.monotonic``.
    """

    def __init__(
        self,
        max_workers: int,
        dispatcher: Dispatcher,
        roster: Roster,
        starter: Starter,
        endings: Endings,
        lateness: Lateness,
        hold_up: HoldUp,
        stall: StallWatch,
        loop: Loop[Child | None],
        break_: Callable[[str, BaseException | None], None],
        *,
        gives_ahead: bool,
    ) -> None:
        self.governor: Governor | None = None
        self.held_back = False
        self.paused = False
        self.next_rested: float | None = None
        self._max_workers = max_workers
        self._dispatcher = dispatcher
        self._roster = roster
        self._starter = starter
        self._endings = endings
        self._lateness = lateness
        self._hold_up = hold_up
        self._stall = stall
        self._loop = loop
        self._break = break_
        self._gives_ahead = gives_ahead

    def fill(self) -> None:
        """Give what can be given now, and see to it that there are as many children as are needed."""
        if self.paused:
            return
        dispatcher = self._dispatcher
        roster = self._roster
        self.held_back = False
        # First: who leaves work from here on wakes this thread for it.
        dispatcher.hungry = True
        self._starter.resume()
        self.next_rested = dispatcher.rouse()
        while (child := roster.take_idle()) is not None:
            work = None
            if dispatcher.waiting and not self._may_run_one_more():
                self.held_back = True
            else:
                # Without a place, a child could not be told to stop.
                among = None if child.place is None else self._max_workers
                work = dispatcher.take(child.left, beside=roster.busy, among=among, result_bytes=RESULT_BYTES)
            if work is None:
                roster.put_back(child)
                break
            self._give(child, work)
        if roster.busy >= self._max_workers:
            dispatcher.hungry = False
            if self._gives_ahead and dispatcher.waiting and not roster.alone:
                self._give_ahead()
        if dispatcher.drained and not dispatcher.waiting_works:
            for child in roster.unoccupied():
                self.retire(child)
            return
        most = self._max_workers if self.governor is None else self.governor.workers
        if self.held_back:
            for child in roster.superfluous(most):
                self.retire(child)
        missing = roster.missing(dispatcher.waiting_works, most)
        if missing:
            self._start(missing)

    def _may_run_one_more(self) -> bool:
        if self.governor is None:
            return True
        return self.governor.allows((child.pid or 0, child.idle_bytes) for child in self._roster.working())

    def _give_ahead(self) -> None:
        """Give work to children that will have done theirs in a moment, so that they need not wait for it."""
        now = monotonic()
        for child in self._roster.working():
            work = child.work
            assert work is not None
            # Its last task is given to an idle child only: then its successor is started.
            limit = None if child.left is None else child.left - 1
            if child.next is not None or child.place is None or child.leaving or child.left in (0, 1):
                continue
            if self._hold_up.stops(child):
                # It would not know that this is meant too, when it is taken back.
                continue
            expected = (work.function.seconds or AHEAD_SECONDS) * (work.count - work.done)
            if expected >= AHEAD_SECONDS or now - child.since > PATIENCE_SECONDS + 4 * expected:
                continue
            among = self._max_workers
            more = self._dispatcher.take(
                limit,
                beside=self._roster.busy,
                among=among,
                within=AHEAD_SECONDS,
                result_bytes=RESULT_BYTES,
            )
            if more is None:
                return
            self._roster.give_next(child, more)
            self._send(child, more)
            # Not before it is on its way: what is stopped must have been given.
            self._hold_up.watch(child, now)

    def _give(self, child: Child, work: Work) -> None:
        now = monotonic()
        if not self._roster.busy:
            self._stall.heard(now)
        self._roster.give(child, work, now)
        self._roster.alone = self._dispatcher.runs_alone(work)
        self._lateness.begin(child, now)
        self._send(child, work)
        self._hold_up.watch(child, now)

    def _send(self, child: Child, work: Work) -> None:
        message = work.message()
        if isinstance(message, Parts):
            child.channel.send(Kind.RUN_PARTS, work.ident, child.turn, body=message.body())
        else:
            child.channel.send(Kind.RUN, work.ident, child.turn, body=message)
        self._loop.watch(child.channel, child)

    def retire(self, child: Child) -> None:
        """Let a child that has no work leave; one that has run all it may does so by itself."""
        if self._roster.retire(child) and child.left != 0:
            with contextlib.suppress(OSError):
                child.channel.sock.shutdown(socket.SHUT_WR)

    def _start(self, count: int) -> None:
        if not self._roster:
            self._stall.heard(monotonic())
        try:
            self._starter.start(count)
            self._endings.count_kills()
        except OSError as error:
            # No descriptors, or no memory, just now.
            self.starting_failed(str(error))
        except BaseException as error:
            self._break(f"no supervisor process could be started: {error}", error)

    def starting_failed(self, why: str) -> None:
        """Go on with the children that there are, and try again in a moment."""
        hopeless = self._starter.failed(why)
        if hopeless is not None:
            self._break(hopeless, None)
