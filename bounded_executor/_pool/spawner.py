"""Starts task processes: what each is given on its way, and what happens where none can be had.

Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from time import monotonic

from .._core.event_loop import Loop
from .._ipc.crash_report import Report
from .._ipc.frames import Channel
from .._ipc.scoreboard import Board
from .._log import Log
from .._options import Settings
from .crashes import Endings
from .session import Session
from .supervisor import Supervision
from .workers import Child, Roster

__all__ = ["Starter"]

_log = Log()

# Forks that may fail one after the other while there is no other process.
MAX_NOT_STARTED = 3
# Memory or process numbers that a fork lacked may be there again by then.
FORK_AGAIN_SECONDS = 0.5
# macOS may lose a socket that is on its way to another process, once its sender has closed it.
HOLDS_SENT = sys.platform == "darwin"


class Starter:
    """Orders children from the supervisor, a new one if there is none.

    Args:
        settings: the executor's checked parameters.
        session: has the board that all children share.
        supervision: takes the orders.
        roster: where children are entered.
        loop: waits for what they say.
        endings: knows whether a child is to be watched closely.
    """

    def __init__(
        self,
        settings: Settings,
        session: Session,
        supervision: Supervision,
        roster: Roster,
        loop: Loop[Child | None],
        endings: Endings,
    ) -> None:
        self.children_started = 0
        self.deaf = False
        """Whether SIGTERM is not to end the children that are started from now on."""
        self.held = False
        """Whether nothing is started for now."""
        self._pause_until: float | None = None
        self._reports = settings.task_timeout is not None
        self._session = session
        self._supervision = supervision
        self._roster = roster
        self._loop = loop
        self._endings = endings
        self._failed_in_a_row = 0

    @property
    def _board(self) -> Board | None:
        return self._session.board

    def start(self, count: int) -> None:
        """Start ``count`` children, or fewer where that is wiser now.

        Raises:
            BaseException: there is no supervisor, and none could be started.
        """
        if self._pause_until is not None or self.held:
            return
        for _ in range(self._endings.may_start(count)):
            self._supervision.start(self._endings.watches_supervisors())
            self._start_one()

    def next(self) -> float | None:
        """Return until when nothing is started, on the clock of ``time.monotonic``; None: all is well."""
        return self._pause_until

    def resume(self) -> None:
        """Start again, if the time is over in which nothing was to be started."""
        if self._pause_until is not None and self._pause_until <= monotonic():
            self._pause_until = None

    def _start_one(self) -> None:
        watched = self._endings.watches_next()
        with contextlib.ExitStack() as undo:
            report = None
            fds: list[int] = []
            if watched or self._reports:
                report = Report()
                undo.callback(report.close)
                fds.append(report.share())
                undo.callback(os.close, fds[0])
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            undo.callback(theirs.close)
            sent = theirs.dup() if HOLDS_SENT else None
            undo.pop_all()
        # From here on there is a record, and nothing more that can fail.
        child = self._roster.add(Channel(ours))
        fds.insert(0, theirs.detach())
        child.report = report
        child.sent = sent
        if watched:
            self._endings.watch(child)
        if self._board is not None:
            child.place = self._board.take()
        self.children_started += 1
        self._loop.add(child.channel, child)
        self._supervision.fork(child, fds, watched=watched, deaf=self.deaf)

    def succeeded(self, child: Child) -> None:
        """Note that a child has been started and is ready."""
        self._failed_in_a_row = 0
        _let_go_of_sent(child)

    def failed(self, why: str) -> str | None:
        """Note that a child could not be started; its record is gone.

        Returns:
            Why trying again is no use; None where it is: in a moment.
        """
        if self._pause_until is None:
            _log.warning("a worker process could not be started and is tried again: %s", why)
        self._pause_until = monotonic() + FORK_AGAIN_SECONDS
        if not self._roster:
            self._failed_in_a_row += 1
        if self._failed_in_a_row < MAX_NOT_STARTED:
            return None
        return f"no worker process could be started, {self._failed_in_a_row} times in a row: {why}"

    def forget(self, child: Child) -> None:
        """Let go of what is kept of a child that is gone from the books."""
        self._endings.forget(child)
        self._loop.remove(child.channel)
        child.channel.close()
        _let_go_of_sent(child)
        if child.report is not None:
            child.report.close()
        if self._board is not None:
            self._board.give_back(child.place)


def _let_go_of_sent(child: Child) -> None:
    if child.sent is not None:
        child.sent.close()
        child.sent = None
