"""A backend (``_core.backend``): the parent's side of task processes of our own.

One thread per executor owns everything here: it alone talks to the supervisor and the children,
so their records need no lock. Other threads only leave a note in its ``_core.event_loop``.

Which child is in which state, and how many are needed, is in the books of ``_pool.workers``. They are
ordered by ``_pool.spawner`` and given work by ``_pool.scheduler``; what takes too long is ended by
``_pool.timeouts``; what an end means is decided in ``_pool.crashes``. This module takes what they send,
and owns the thread.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from .._core.backend import Backend
from .._core.dispatcher import Dispatcher
from .._core.lifecycle import ErrorFactory
from .._core.work import Work
from .._flag import Flag
from .._ipc.frames import Channel, Frame, Kind
from .._log import Log
from .._memory import cgroups
from .._memory.throttle import RETRY_SECONDS, Governor
from .._options import Settings
from .._serialize import main_module, pickling
from .._serialize.diagnostics import tell_not_imported
from .._serialize.functions import Functions
from .._serialize.needed_modules import modules_of
from .._worker.bootstrap import DIES_WITH_PARENT
from . import forkserver
from .crashes import Endings
from .outcomes import OUTCOMES, Hearing
from .pidfds import await_ends
from .scheduler import Giver
from .session import Session
from .spawner import Starter
from .stall import StallWatch
from .supervisor import Supervision
from .timeouts import Lateness
from .workers import Child, Roster

__all__ = ["Workers"]

_log = Log()


class Workers(Backend):
    """Runs a dispatcher's work in recycled task processes.

    Args:
        dispatcher: where work comes from and outcomes go.
        settings: the executor's checked parameters.
        session: starts supervisors, and knows what children inherit.
        on_end: called by the thread when all processes have ended, and before the delivery ends.
    """

    def __init__(
        self, dispatcher: Dispatcher, settings: Settings, session: Session, on_end: Callable[[], None]
    ) -> None:
        # What turns out to be long holds up nothing here, so that short tasks may always travel together.
        functions = Functions(session.exports)
        super().__init__(dispatcher, functions, on_end, travels_together=True, name="bounded-workers")
        self.children_replaced = 0
        self.children_over_memory = 0
        self.endings = Endings(dispatcher, settings, self._break)
        self._settings = settings
        self._session = session
        self._supervision = Supervision(session, self._loop)
        self.roster = Roster(settings.max_workers, settings.max_tasks_per_child, settings.max_tasks_jitter)
        self.starter = Starter(settings, session, self._supervision, self.roster, self._loop, self.endings)
        self._lateness = Lateness(settings.task_timeout, self.roster, self._supervision)
        self._stall = StallWatch(settings.stall_warning, self.roster)
        self._hearing = Hearing(
            dispatcher, self.roster, self._lateness, self._stall, self.endings, self._replace
        )
        self._hold_up = self._hearing.hold_up
        self._any_ready = False
        self._by_value = not session.exports.imports
        # The next children have to come from another supervisor, once nothing runs any more.
        self._outdated = False
        self._giver = Giver(
            settings.max_workers,
            dispatcher,
            self.roster,
            self.starter,
            self.endings,
            self._lateness,
            self._hold_up,
            self._stall,
            self._loop,
            self._break,
            # What ends a child in the middle of its tasks would find it in the next ones.
            gives_ahead=settings.task_timeout is None and not settings.limits_memory,
        )
        self._leased = Flag()

    @property
    def capacity(self) -> int:
        return self._settings.max_workers

    def needs(self, fn: Callable[..., Any]) -> tuple[tuple[str, ...], int, int]:
        """Return the names of the modules that a task of ``fn`` needs, and what workers begin with.

        Raises:
            RuntimeError: the main module starts an executor while a worker process imports it.
        """
        main_module.check_not_importing()
        exports = self._session.exports
        log_setup = -1 if self._settings.forward_logs else exports.first_log_setup()
        return modules_of(fn), exports.first(fn), log_setup

    def at_exit(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called when the interpreter ends, before loky ends the keepers."""
        forkserver.at_exit(hook)

    def wait_until_started(self) -> None:
        """Wait until there is a keeper, or the dispatcher is broken because none could be had."""
        self._leased.wait()

    def is_current(self) -> bool:
        """Whether the caller is on the thread of this object, or on one that its keeper's end waits for."""
        return super().is_current() or forkserver.is_own_thread()

    def running(self) -> int:
        """Return how many tasks children have been given that have not ended."""
        return self.roster.running()

    def children(self) -> dict[str, Any]:
        """Return the fields of ``ExecutorStats`` that are about task processes."""
        return {
            "children": len(self.roster),
            "children_memory_bytes": self.roster.memory_bytes(),
            "children_started": self.starter.children_started,
            "children_replaced": self.children_replaced,
            "children_over_memory": self.children_over_memory,
            "children_crashed": self.endings.crashed,
            "supervisors_lost": self.endings.supervisors_lost,
            "timed_out": self.endings.timed_out,
            "retried": self.endings.retried,
        }

    def ignore_sigterm(self) -> None:
        """Have children that are started from now on ignore SIGTERM."""
        self.starter.deaf = True

    def discard(self) -> None:
        """Close what was opened, for an executor that ends before it started; takes no lock."""
        self._session.release_descriptors()

    def revoke(self, work: Work) -> None:
        """End this work, which is by itself and which nobody wants any more, and the process that runs it."""
        self.note(lambda: self._revoke(work))

    def kill(self, number: int) -> None:
        """Send a signal to every task process; tasks that it ends fail."""
        if self.starter.deaf or self._session.blocks(number):
            number = signal.SIGKILL
        self.note(lambda: self._kill_all(number))

    # Everything below runs on the thread, apart from `_prepare`.

    def _prepare(self, needs: tuple[tuple[str, ...], int, int]) -> None:
        modules, manifest, log_setup = needs
        self._session.import_first(modules)
        self._session.begin(manifest, log_setup)
        total = self._settings.max_memory_total
        if total is not None:
            allowance = cgroups.granted() if total == "auto" else cgroups.tree_allowance(total)
            self._giver.governor = Governor(allowance, self._settings.max_workers)

    def _serve(self) -> None:
        if self._giver.governor is not None:
            self._giver.governor.tell()
        done = not self._has_leased()
        while not done:
            due = self._next_due()
            patience = None if due is None else max(0.0, due - monotonic())
            # A child's channel is its record's; the supervisor's is nobody's.
            for channel, child in self._loop.wait(patience):
                if child is None:
                    self._hear_supervisor(channel)
                else:
                    self._hear_child(child)
            if due is not None and due <= monotonic():
                self._look_for_late_ones()
            if self._outdated and not self.roster.busy:
                self._outdated = self._giver.paused = False
                self._dismiss_supervisor()
            self._giver.fill()
            self._dispatcher.deliver()
            self._dispatcher.in_hand.clear()
            self.roster.released.clear()
            done = not self.roster and self._is_done()

    def _has_leased(self) -> bool:
        try:
            self._session.keeper = forkserver.lease(self._settings.mp_context, self._session.forked)
            board = self._session.open_board()
            self.endings.use_board(board)
            self._hold_up.board = board
        except BaseException as error:
            self._break(f"the executor could not be started: {error!r}", error)
            return False
        finally:
            self._leased.set()
        return True

    # Hearing of outcomes

    def _hear_child(self, child: Child) -> None:
        for frame in child.channel.receive():
            self._take_frame(child, frame)
        if child.channel.eof and self._loop.remove(child.channel):
            # How it ended only the supervisor can tell. If it has not, it is of no use any more.
            self.roster.lose(child)
            self._lateness.lost_touch(child)

    def _take_frame(self, child: Child, frame: Frame) -> None:
        if frame.kind in OUTCOMES:
            self._hearing.take(child, frame)
        elif frame.kind == Kind.PEAK:
            if self._giver.governor is not None:
                self._giver.governor.learn(frame.ident - child.idle_bytes)
        elif frame.kind == Kind.LOG:
            self._dispatcher.follow(partial(self._dispatcher.delivery.handle_record, frame.body))
        elif frame.kind == Kind.LEAVING:
            self.roster.leave(child)
        elif frame.kind == Kind.BEGUN:
            self.endings.proved_useful()
        elif frame.kind == Kind.READY:
            self.endings.ready()
            self._any_ready = True
            self.starter.succeeded(child)
            child.idle_bytes = frame.index
            self.roster.ready(child, frame.ident)
        elif frame.kind == Kind.UNFIT:
            # Later ones may have more, of modules that all have by then; each still runs one task.
            if not self._any_ready:
                self._break(f"{bytes(frame.body).decode()} that a worker process has before its first task")
        elif frame.kind == Kind.MAIN:
            if not self._by_value:
                self._fall_back(bytes(frame.body).decode(), "")
                # Others have imported it, and what they run goes on. They are given nothing more.
                self._outdated = self._giver.paused = True
        elif frame.kind == Kind.MODULES:
            self._supervision.share(bytes(frame.body).decode().split("\n"))
        elif frame.kind == Kind.INIT_ERROR:
            error = pickling.load_error(frame.body)
            self._break("the initializer failed in a worker process, the pool is not usable", error)
        elif frame.kind == Kind.PRELOAD_ERROR:
            self._break_without_preload(frame)

    def _break_without_preload(self, frame: Frame) -> None:
        self._break(
            f"preload={self._settings.preload!r} could not be imported, the pool is not usable",
            pickling.load_error(frame.body),
        )

    # Ends

    def _replace(self, child: Child) -> None:
        if child.timed_out or child.revoked:
            # It is killed already, for an outcome that came in the last moment.
            self.roster.retire(child)
            return
        self.children_replaced += 1
        if child.leaving:
            self.children_over_memory += 1
            _log.debug("process %d has taken too much memory and is replaced", child.pid)
        else:
            _log.debug("process %d has run its %d tasks and is replaced", child.pid, child.limit)
        self._giver.retire(child)

    def _next_due(self) -> float | None:
        """Return when something is to be done though nothing has happened, on the clock of ``monotonic``."""
        dues = (
            self._lateness.next(),
            self._hold_up.next(),
            self._giver.next_rested,
            self._stall.next(),
            self.starter.next(),
            self._dispatcher.next_claim(),
            self._supervision.main_due,
            monotonic() + RETRY_SECONDS if self._giver.held_back else None,
        )
        return min((one for one in dues if one is not None), default=None)

    def _look_for_late_ones(self) -> None:
        if self._lateness.look(self._hear_child, self._hold_up.stop) and self._dispatcher.drained:
            # The end does not wait for the supervisor's import, which may never come to its own. With the
            # supervisor go only processes that are to be killed: another may need any time for its task.
            self._lose_supervisor(stuck=True)
        if self._supervision.gives_up_main():
            self._lose_supervisor(stuck=True)
        self._stall.look()
        self._hold_up.look()

    def _revoke(self, work: Work) -> None:
        if self._dispatcher.discard(work):
            # It rested, or was about to be run again.
            return
        for child in self.roster:
            if child.work is work:
                child.revoked = True
                self.roster.leave(child)
                self._lateness.kill(child, signal.SIGKILL)

    def _kill_all(self, number: int) -> None:
        self.endings.killing = True
        for child in self.roster:
            self._lateness.kill(child, number)

    def _died(self, ident: int, pid: int, status: int, peak: int) -> None:
        child = self.roster.get(ident)
        if child is None:
            return
        self._hear_last(child)
        work = self.roster.remove(child)
        if child.pid is None:
            # An import ahead of the first task may be what ended it: then that task is to have it.
            self._session.first_apart = ()
        self.endings.died(child, work, pid, status, peak)
        self._forget(child)

    def _hear_last(self, child: Child) -> None:
        """Take what a child that is dead wrote, and what it kept to be written: all of that counts."""
        for frame in child.channel.receive():
            self._take_frame(child, frame)
        self._hold_up.collect(child)
        self._dispatcher.deliver()
        self._hearing.take_next(child)

    def _not_started(self, ident: int, why: str) -> None:
        """Go on with the children that there are, and try again in a moment."""
        child = self.roster.get(ident)
        if child is None:
            return
        self.roster.remove(child)
        self._forget(child)
        self._giver.starting_failed(why)

    def _forget(self, child: Child) -> None:
        self._lateness.forget(child)
        self._hold_up.forget(child)
        self.starter.forget(child)

    # The supervisor

    def _hear_supervisor(self, channel: Channel) -> None:
        for frame in channel.receive():
            if frame.kind == Kind.DIED:
                self._died(frame.ident, frame.index, *map(int, frame.body.split()))
            elif frame.kind == Kind.NO_SUPERVISOR:
                self._supervision.not_started(bytes(frame.body).decode())
            elif frame.kind == Kind.NOT_STARTED:
                self._not_started(frame.ident, bytes(frame.body).decode())
            elif frame.kind == Kind.PRELOAD_ERROR:
                self._break_without_preload(frame)
            elif frame.kind == Kind.MAIN:
                self._supervision.heard_of_main(frame.ident, frame.index, bytes(frame.body).decode())
            elif frame.kind == Kind.UNSHARED:
                self._supervision.unshared(bytes(frame.body).decode(), resigns=frame.ident == 1)
        if channel.eof:
            self._lose_supervisor()

    def _lose_supervisor(self, *, stuck: bool = False) -> None:
        """Go on with a new supervisor: the children of the lost one die with it.

        Args:
            stuck: it has not ended, and every process that it has is to be killed.
        """
        failure = self._supervision.main_failure(stuck)
        asked_for, words = self._supervision.lose(stuck)
        children = list(self.roster)
        pids = [child.pid for child in children if child.pid is not None]
        if stuck or not DIES_WITH_PARENT:
            # One that is stuck has reaped none of them, so that the numbers are still their own. Of one that
            # has ended the system reaps them at once, and uses a number again only when all others were used.
            for pid in pids:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        # Else the kernel kills them after it has closed the supervisor's socket. Until then they may go on.
        left_over = await_ends(pids, {child.pid: child.channel.sock for child in children if child.pid})
        useful = any(child.pid is not None for child in children)
        left = []
        for child in children:
            self._hear_last(child)
            work = self.roster.remove(child)
            if work is not None:
                left.append((child, work))
        is_wanted = left or self._dispatcher.waiting_works or not self._dispatcher.drained
        if failure is not None and is_wanted and not self.endings.killing:
            self._fall_back(failure, words)
        # The keeper may have ended first, or never have come up.
        why = "" if useful or asked_for else self._supervision.failure()
        if self.endings.supervisor_lost(asked_for, useful, left, words, why) or stuck:
            # Its keeper may be dead without anybody having noticed yet.
            self._session.drop_keeper()
        for child in children:
            if child.pid in left_over:
                # It may still write there.
                child.place = None
            self._forget(child)

    def _dismiss_supervisor(self) -> None:
        """Have the next children come from another supervisor, whose configuration is the new one."""
        if self._supervision.dismiss():
            self._lose_supervisor(stuck=True)

    def _fall_back(self, why: str, words: str) -> None:
        """Go on by value, because the main module cannot be imported."""
        if self._by_value:
            return
        self._by_value = True
        spec = self._session.exports.spec
        tell_not_imported(spec.name or spec.file, why, words)
        self.starter.held = True
        # What has been referred to by name is pickled now, and that is user code.
        threading.Thread(target=self._pickle_main, name="bounded-main", daemon=True).start()

    def _pickle_main(self) -> None:
        try:
            manifest = self._session.exports.stop_importing()
        except BaseException as error:
            message = f"the main module could neither be imported nor pickled: {error!r}"
            self.note(partial(self._break, message, error))
        else:
            self.note(partial(self._go_by_value, manifest))

    def _go_by_value(self, manifest: int) -> None:
        self._session.go_by_value(manifest)
        self.starter.held = False

    def _fail_held(self, make_error: ErrorFactory) -> None:
        for child in self.roster:
            self._hearing.take_next(child)
            work = self.roster.take_work(child)
            if work is not None:
                attempts = work.attempts + 1
                while work.done < work.count:
                    work.done += 1
                    self._dispatcher.fail_item(work, work.done - 1, make_error(), attempts=attempts)
                    # Those behind the first have not begun.
                    attempts = 0
        self._kill_all(signal.SIGKILL)

    def _works(self) -> list[Work]:
        works = [work for child in self.roster for work in (child.work, child.next) if work is not None]
        return works + self.roster.released

    def _end_all(self) -> None:
        for child in self.roster:
            if child.pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(child.pid, signal.SIGKILL)
        # The supervisor first: its keeper waits a while for one that has not been told.
        self._supervision.end()
        # One that is stuck ends with its keeper.
        self._session.drop_keeper(wait=True)

    def _let_go(self) -> None:
        # Where the thread has failed some are left.
        for child in self.roster:
            self.roster.remove(child)
            self._forget(child)
        self._session.prepare_next()
        self._supervision.end()
        self._session.close()
