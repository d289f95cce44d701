"""What the end of a process means: for the task that it ran, and for the executor.

A task that ended with its process fails, or is run once more where ``task_retries`` says so. Tasks
that were only on their way to the process never notice. Processes that end before any of them has
run a task are a storm, which must end. Used by the thread of ``_pool.backend``.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .._core.arguments import arguments_of
from .._core.backend import KILL
from .._core.dispatcher import Dispatcher
from .._core.work import Work
from .._log import Log
from .._memory.oom import KillCounter
from .._options import Settings
from .._serialize.pickling import name_of
from ..errors import BrokenProcessPool, TaskTimeout, TerminatedWorkerError

if TYPE_CHECKING:
    from .._ipc.scoreboard import Board
    from .workers import Child

__all__ = ["Endings", "describe"]

_log = Log()

# Processes that may end one after the other before any has run a task. One more is then started alone
# and its standard error recorded; if that ends as well, starting more is no use.
MAX_STILLBORN = 3
# Supervisors that may end one after the other before any of their children got ready.
MAX_SUPERVISORS = 3
# The rest before the second try; each further one is twice as long, up to the longest. A part of it
# is left to chance, so that tasks that were killed together do not come back together.
REST_SECONDS = 0.1
LONGEST_REST_SECONDS = 10.0
# What stands before a stack.
AT = " It was at:\n"


class Endings:
    """Decides about the work that processes leave behind when they end.

    Args:
        dispatcher: where outcomes go.
        settings: the executor's checked parameters.
        break_: makes the executor unusable, with a message and a cause.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Settings,
        break_: Callable[[str, BaseException | None], None],
    ) -> None:
        self.crashed = 0
        self.supervisors_lost = 0
        self.timed_out = 0
        self.retried = 0
        # All processes are being killed on purpose, so that their ends are no news.
        self.killing = False
        self._dispatcher = dispatcher
        self._settings = settings
        self._board: Board | None = None
        self._break = break_
        self._kills: KillCounter | None = None
        self._stillborn = 0
        self._futile_supervisors = 0
        self._witness: Child | None = None

    def use_board(self, board: Board | None) -> None:
        """Take what tells which task a process had begun; None where nothing does."""
        self._board = board

    def count_kills(self) -> None:
        """Read what out-of-memory kills are counted from, once, while the first process is starting."""
        if self._kills is None:
            self._kills = KillCounter()

    # Storms

    def ready(self) -> None:
        """Note that a process is through with its initializer."""
        self._futile_supervisors = 0

    def proved_useful(self) -> None:
        """Note that a process has begun a task, or brought an outcome: if there was a storm, it is over."""
        self._stillborn = 0
        self._witness = None

    def may_start(self, count: int) -> int:
        """Return how many of ``count`` processes to start now."""
        if self._stillborn < MAX_STILLBORN:
            return count
        return min(count, 0 if self._witness is not None else 1)

    def watches_next(self) -> bool:
        """Return whether the next process is the one to be watched closely."""
        return self._stillborn >= MAX_STILLBORN

    def watch(self, child: Child) -> None:
        """Take note which process that is."""
        self._witness = child

    def watches_supervisors(self) -> bool:
        """Return whether a new supervisor, the last one that is tried, is to be watched closely."""
        return self._futile_supervisors == MAX_SUPERVISORS - 1

    def forget(self, child: Child) -> None:
        """Note that a process is gone, however it ended, or was never there."""
        if child is self._witness:
            self._witness = None

    # Ends

    def died(self, child: Child, work: Work | None, pid: int, status: int, peak: int) -> None:
        """Note that a process has ended.

        Args:
            child: its record, already out of the books.
            work: what it leaves behind.
            pid: its process id.
            status: its exit status; negative: the signal that killed it.
            peak: the most bytes that it ever had resident; 0 where that is not known.
        """
        begun = work is not None and self._has_begun(child, work)
        asked_for = child.retiring or child.condemned or child.revoked
        blameless = child.retiring or child.timed_out or child.revoked
        how = f"process {pid} {describe(status)}"
        if child.condemned and not child.timed_out and status == -KILL:
            how = f"process {pid} had closed its connection to this one and was killed"
        if peak:
            how += f"; it had {peak / 2**20:.1f} MiB of memory at most"
        killer = None
        oom_killed: bool | None = False
        if status == -KILL:
            # One that was killed on purpose may have been killed twice.
            oom_killed = None
            if not asked_for and self._kills is not None:
                killer = self._kills.grown()
                oom_killed = killer is not None if self._kills.counts else None
        if killer:
            how += f"; the kernel counts an out-of-memory kill {killer}"
        known: dict[str, Any] = {
            "pid": pid,
            "signal": -status if status < 0 else None,
            "exit_status": status if status >= 0 else None,
            "peak_memory_bytes": peak or None,
            "oom_killed": oom_killed,
        }
        if not blameless:
            self.crashed += 1
        if begun or child.timed_out:
            self._stillborn = 0
        elif not child.retiring and not child.has_finished:
            self._stillborn += 1
        if child is self._witness and self._stillborn > MAX_STILLBORN:
            storm = self._storm(how, child)
            _log.error("%s", storm)
            self._break(storm, None)
        elif not begun and not blameless:
            # One that never was of use is told as a storm, if more follow. One that left by itself
            # between two tasks has cost nobody anything.
            tell = self._warn if child.has_finished and status else _log.info
            tell("a worker ended: its %s", how)
        breaks = self._settings.on_crash == "break" and not blameless
        if work is not None and not begun and not child.timed_out:
            self._dispatcher.give_back(work)
        elif work is not None and work.sink.revoked:
            self._dispatcher.drop(work)
        elif work is not None and child.timed_out:
            self._time_out(child, work, known)
        elif work is not None:
            text = f"{work.name} was not finished: its {how}."
            if breaks:
                self._warn("%s", text)
                self._dispatcher.give_back(work, skip=1)
                self._dispatcher.fail_item(
                    work, work.done, BrokenProcessPool(text), attempts=work.attempts + 1
                )
            else:
                self.blame(work, lambda tries, about: TerminatedWorkerError(text + tries, **known, **about))
        if breaks:
            self._break(
                "A process in the process pool was terminated abruptly while the future was running or "
                f"pending: {how}, and on_crash is 'break'",
                None,
            )

    def supervisor_lost(
        self, asked_for: bool, useful: bool, left: list[tuple[Child, Work]], words: str, why: str
    ) -> bool:
        """Note that the supervisor has ended, and all of its children with it.

        Args:
            asked_for: it had said that it would.
            useful: one of its children at least was ready.
            left: what its children leave behind.
            words: the last that it wrote to standard error, where it was watched.
            why: why no supervisor could be had, where that is known.

        Returns:
            Whether what it was started from may be at fault.
        """
        if not asked_for:
            self._warn("the supervisor of the processes ended, and %d that had tasks with it", len(left))
            self.supervisors_lost += 1
            self._futile_supervisors += 1
        for child, work in left:
            if child.timed_out:
                self._time_out(child, work, {"pid": child.pid})
            else:
                self._lose(child, work)
        if not asked_for and useful and self._settings.on_crash == "break":
            self._break("the supervisor of the processes ended, and on_crash is 'break'", None)
        if self._futile_supervisors >= MAX_SUPERVISORS:
            preload = f"; preload={self._settings.preload!r}" if self._settings.preload else ""
            self._break(
                f"{self._futile_supervisors} supervisor processes in a row ended before any worker process "
                f"was ready{preload}{f': {why}' if why else quote(words)}",
                None,
            )
        return self._futile_supervisors > 1

    def _lose(self, child: Child, work: Work) -> None:
        why = f"the supervisor of its process {child.pid} ended, and the process with it"
        if not self._has_begun(child, work):
            self._dispatcher.give_back(work)
        elif work.sink.revoked:
            self._dispatcher.drop(work)
        elif self._dispatcher.runs_alone(work):
            work.losses += 1
            why += f", {work.losses} times, the last time with no other task beside it"
            self.blame(
                work,
                lambda tries, about: TerminatedWorkerError(
                    f"{work.name} was not finished: {why}.{tries}", pid=child.pid, **about
                ),
            )
        else:
            self._dispatcher.give_back(work, skip=1)
            item = work.current()
            item.losses += 1
            error = TerminatedWorkerError(
                f"{work.name} was not finished: {why}. The task itself was not at fault.",
                pid=child.pid,
                **_about(item),
            )
            if self._settings.task_retries:
                self._run_again(item, 0.0, error)
            else:
                self._dispatcher.fail_item(work, work.done, error)

    def _time_out(self, child: Child, work: Work, known: dict[str, Any]) -> None:
        self.timed_out += 1
        stack = "" if child.report is None else child.report.stack()
        at = f"{AT}{stack}" if stack else " Where it was could not be told."
        limit = self._settings.task_timeout
        self.blame(
            work,
            lambda tries, about: TaskTimeout(
                f"{work.name} ran longer than task_timeout={limit} seconds, and its process {known['pid']} "
                f"was killed.{tries}{at}",
                stack or None,
                **known,
                **about,
            ),
        )

    def blame(self, work: Work, make_error: Callable[[str, dict[str, Any]], BaseException]) -> None:
        """Charge the current item a try for the process that it cost.

        Args:
            work: what the process had.
            make_error: makes the error, of a sentence about the try and what the error knows of the item.
        """
        self._dispatcher.give_back(work, skip=1)
        item = work.current()
        item.tries += 1
        allowed = self._settings.task_retries
        tries = f" This was try {item.tries} of {allowed + 1}." if allowed else ""
        error = make_error(tries, _about(item))
        if item.tries <= allowed:
            # The exponent is kept within what a float can hold.
            rest = min(LONGEST_REST_SECONDS, REST_SECONDS * 2.0 ** min(item.tries - 1, 100))
            self._run_again(item, rest * random.uniform(0.5, 1.0), error)
        else:
            self._warn("%s", _first_line(error))
            self._dispatcher.fail_item(work, work.done, error)

    def _run_again(self, item: Work, rest: float, error: BaseException) -> None:
        if self._dispatcher.again(item, rest, error):
            self.retried += 1
            if self._dispatcher.events is not None:
                self._dispatcher.events.tell("retried", item.name, error=error)
            self._warn("%s is run once more: %s", item.name, _first_line(error))

    def _warn(self, message: str, *args: object) -> None:
        (_log.info if self.killing else _log.warning)(message, *args)

    def _has_begun(self, child: Child, work: Work) -> bool:
        return self._board is None or self._board.has_begun(child.place, child.work_turn, work.done)

    def _storm(self, how: str, child: Child) -> str:
        words = "" if child.report is None else child.report.words()
        initializer = self._settings.initializer
        where = f" or in the initializer {name_of(initializer)}" if initializer is not None else ""
        return (
            f"no worker process comes as far as its first task: {self._stillborn} ended one after the other "
            f"while they started{where}. The last, {how}{quote(words)}"
        )


def _about(item: Work) -> dict[str, Any]:
    """Return what an error knows of a single item, as attributes."""
    return {"task_name": item.name, "attempts": item.attempts, "arguments": arguments_of(item)}


def _first_line(error: BaseException) -> str:
    """Return what an error says without the stack that may follow."""
    return str(error).partition(AT)[0].partition("\n")[0]


def quote(words: str) -> str:
    """Say what a process that has ended wrote to standard error, in the end."""
    if not words:
        return ". It wrote nothing to standard error."
    return f". What it wrote to standard error, in the end:\n{words}"


def describe(status: int) -> str:
    """Say in words how a process ended."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
