"""The portable way of a process pool: the queue over worker processes of loky's (``_adapters.loky_engine``).

It is for Windows, where a socket cannot be handed to a process that runs already, as ``_pool.backend`` does.
It needs nothing that Windows lacks, so it runs everywhere.

This module decides what the end of a process means, limits the time of tasks, and brings the main script to
the workers. :func:`check` refuses the options that cannot work.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from .._core.arguments import arguments_of
from .._core.dispatcher import Dispatcher
from .._core.exit_hooks import at_exit
from .._core.lifecycle import ErrorFactory
from .._core.work import Work
from .._ipc import log_forwarding
from .._log import Log
from .._options import PORTABLE, Settings
from .._pool.crashes import Endings
from .._pool.stall import StallWatch
from .._serialize import main_module, pickling
from .._serialize.diagnostics import tell_changed, tell_not_imported
from .._serialize.exports import Exports
from .._serialize.functions import Functions
from .._serialize.needed_modules import modules_of
from ..errors import BrokenProcessPool, TaskTimeout, TerminatedWorkerError
from .backend import Held, Inner
from .engine import Ended
from .loky_engine import MAX_STILLBORN, LokyEngine, WorkerDied
from .portable_worker import Prepared, Setup

__all__ = ["Portable", "PortableSession", "check"]

_log = Log()

# Ways to start a process that are the same as loky's: a new interpreter.
_METHODS = ("loky", "spawn")


def check(settings: Settings) -> None:
    """Refuse what cannot work.

    Raises:
        ValueError: an option needs what the portable way does not have; the message names it.
    """
    for name in ("max_memory_per_child", "max_memory_hard", "max_memory_total"):
        value = getattr(settings, name)
        if value is not None:
            raise ValueError(f"{name} cannot work {PORTABLE} and must be None there, got {value!r}")
    context = settings.mp_context
    method = context if isinstance(context, str) or context is None else context.get_start_method()
    if method is not None and method not in _METHODS:
        raise ValueError(
            f"mp_context cannot be {context!r} {PORTABLE}: worker processes are new interpreters there, as "
            "with 'loky' and 'spawn'"
        )


class PortableSession:
    """What one executor's workers are given; all of them are given the same.

    Args:
        settings: the executor's checked parameters; the initializer is pickled here and now, so that one that
            cannot be is an error of the constructor.

    Attributes:
        exports: refers to the main module's objects in what workers are sent.
        shared: objects that only a starting process can be given.
        setup: what workers are made to be like.
    """

    def __init__(self, settings: Settings) -> None:
        main = main_module.find(imports=settings.import_main)
        if main.changed:
            tell_changed(main.spec.file, main.changed)
        self.exports = Exports(main)
        # What only a starting process can be given comes by initargs, and not by globals.
        self.exports.start.begun = True
        self.shared: list[Any] = []
        initializer = None
        if settings.initializer is not None:
            call = self.exports.as_initializer(settings.initializer, settings.initargs)
            try:
                initializer, self.shared = pickling.dump_apart(call, self.exports)
            except BaseException:
                self.exports.close()
                raise
        self.exports.end_of_initializer()
        self.setup = Setup.capture(
            preload=settings.preload,
            initializer=initializer,
            log_levels=log_forwarding.levels() if settings.forward_logs else None,
            main=main.spec,
            sender=self.exports.number,
        )


class Portable(Inner):
    """Runs a dispatcher's work in workers of loky's.

    Args:
        dispatcher: where work comes from and outcomes go.
        settings: the executor's checked parameters.
        session: what workers are given.
        on_end: called by the thread when all processes have ended, and before the delivery ends.
    """

    _engine: LokyEngine

    def __init__(
        self,
        dispatcher: Dispatcher,
        settings: Settings,
        session: PortableSession,
        on_end: Callable[[], None],
    ) -> None:
        exports = session.exports
        engine = LokyEngine(
            settings, Functions(exports), exports.stored_since, session.shared, lambda: dispatcher.waiting
        )
        super().__init__(engine, dispatcher, settings.queue_size, None, on_end)
        self._settings = settings
        self._session = session
        self._endings = Endings(dispatcher, settings, self._break)
        self._stall = StallWatch(settings.stall_warning, engine)
        self._by_value = not exports.imports
        self._next_rested: float | None = None
        self._setup = session.setup
        self._hook: Callable[[], None]

    def needs(self, fn: Callable[..., Any]) -> Setup:
        """Return what workers are made to be like for a first task of this function.

        Raises:
            RuntimeError: the main module starts an executor while a worker process imports it.
        """
        main_module.check_not_importing()
        exports = self._session.exports
        log_setup = -1 if self._settings.forward_logs else exports.first_log_setup()
        # Without a time limit a task may as well import for itself.
        first = () if self._settings.task_timeout is None else modules_of(fn)
        return self._session.setup._replace(first=first, manifest=exports.first(fn), log_setup=log_setup)

    def at_exit(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called when the interpreter ends, before loky ends its workers."""
        self._hook = hook

    def ignore_sigterm(self) -> None:
        """Have processes that are started from now on ignore SIGTERM."""
        self._engine.deaf = True

    def discard(self) -> None:
        """Let go of what was opened, for an executor that ends before it started; takes no lock."""
        self._engine.close()
        self._session.exports.close()

    def kill(self, number: int) -> None:
        """End every task process, by force; tasks that it ends fail."""
        self.note(self._kill_all)

    def children(self) -> dict[str, Any]:
        """Return the fields of ``ExecutorStats`` that are about task processes."""
        memory = self._engine.memory_bytes()
        return {
            "children": len(self._engine),
            "children_memory_bytes": memory,
            "children_started": self._engine.started,
            "children_replaced": self._engine.replaced,
            "children_over_memory": 0,
            "children_crashed": self._endings.crashed,
            "supervisors_lost": 0,
            "timed_out": self._endings.timed_out,
            "retried": self._endings.retried,
        }

    # Everything below runs on the thread, apart from `_prepare`.

    def _prepare(self, needs: Setup) -> None:
        self._session.exports.begin()
        self._setup = self._engine.setup = needs
        # loky ends its workers by a hook that it registers with the first of them. The last hook that is
        # registered runs first, and ours needs a loky that still works.
        self._engine.start_first()
        at_exit(self._hook)

    def _patience(self) -> float | None:
        dues = [super()._patience()]
        for due in (self._next_limit(), self._stall.next(), self._next_rested):
            if due is not None:
                dues.append(max(0.0, due - monotonic()))
        return min((one for one in dues if one is not None), default=None)

    def _next_limit(self) -> float | None:
        limit = self._settings.task_timeout
        if limit is None:
            return None
        begun = [worker.since for worker in self._engine.working() if not worker.killed]
        return min(begun) + limit if begun else None

    def _look(self) -> None:
        due = self._next_limit()
        now = monotonic()
        if due is not None and due <= now:
            for worker in list(self._engine.working()):
                if not worker.killed and worker.since + (self._settings.task_timeout or 0.0) <= now:
                    worker.timed_out = True
                    self._engine.kill(worker)
        self._stall.look()
        super()._look()

    def _fill(self) -> None:
        self._next_rested = self._dispatcher.rouse()
        super()._fill()
        try:
            self._engine.assign()
        except Exception as error:
            self._break(f"a worker process could not be started: {error!r}", error)

    def _take(self, ticket: int, ended: Ended) -> None:
        settled = self._engine.settle(ticket, ended)
        for record in self._engine.records():
            self._dispatcher.follow(partial(self._dispatcher.delivery.handle_record, record))
        if isinstance(settled, Prepared):
            self._unfit(settled)
        elif settled is not None and ticket < 0:
            self._not_started(settled)
        elif settled is not None:
            self._stall.heard(monotonic())
            super()._take(ticket, settled)

    def _settle(self, ticket: int, held: Held, ended: Ended) -> None:
        if isinstance(ended, WorkerDied):
            self._died(held.work, ended)
        else:
            super()._settle(ticket, held, ended)

    # Ends

    def _died(self, work: Work, died: WorkerDied) -> None:
        """A process ended with its work. What waits never notices."""
        worker = died.worker
        if work.sink.revoked:
            self._dispatcher.drop(work)
            return
        if worker.timed_out:
            self._endings.timed_out += 1
            limit = self._settings.task_timeout
            self._endings.blame(
                work,
                lambda tries, about: TaskTimeout(
                    f"{work.name} ran longer than task_timeout={limit} seconds, and its process {worker.pid} "
                    f"was killed.{tries} Where it was cannot be told {PORTABLE}.",
                    pid=worker.pid,
                    **about,
                ),
            )
            return
        if not died.begun and not worker.killed:
            _log.info("a worker ended: its %s", f"process {worker.pid} {died.how}")
            self._dispatcher.give_back(work)
            return
        self._endings.crashed += 1
        how = f"process {worker.pid} {died.how}"
        together = f", of {work.count} tasks that travelled together" if work.count > 1 else ""
        text = f"{work.name} was not finished: its {how}{together}."
        breaks = self._settings.on_crash == "break" and not worker.killed
        if work.count == 1 and not breaks:
            self._endings.blame(
                work,
                lambda tries, about: _caused(
                    TerminatedWorkerError(text + tries, **died.known, **about), died
                ),
            )
            return
        # Which of them had been done before is not known, and none is to be run twice.
        _log.warning("%s", text)
        attempts = work.attempts + 1
        about = {**died.known, "task_name": work.name, "attempts": attempts}
        for index in range(work.count):
            error: BaseException
            if breaks:
                error = BrokenProcessPool(text)
            else:
                error = TerminatedWorkerError(text, **about, arguments=arguments_of(work, index))
            self._dispatcher.fail_item(work, index, _caused(error, died), attempts=attempts)
        if breaks:
            self._break(
                "A process in the process pool was terminated abruptly while the future was running or "
                f"pending: {how}, and on_crash is 'break'",
                died.__cause__,
            )

    def _unfit(self, prepared: Prepared) -> None:
        """A process could not get ready for tasks, and neither could any other."""
        if prepared.failed == "main":
            self._fall_back(prepared.summary)
            return
        what = (
            f"preload={self._settings.preload!r} could not be imported"
            if prepared.failed == "preload"
            else "the initializer failed in a worker process"
        )
        self._break(f"{what}, the pool is not usable", pickling.load_error(prepared.error))

    def _not_started(self, error: Ended) -> None:
        """A process ended before it was ready for tasks."""
        cause = error.__cause__ if isinstance(error, WorkerDied) else None
        storm = self._engine.stillborn >= MAX_STILLBORN
        if not storm and isinstance(cause, BrokenProcessPool):
            return
        if storm and not self._by_value:
            self._engine.stillborn = 0
            self._fall_back(f"{MAX_STILLBORN} processes ended in it")
            return
        self._break(
            f"no worker process comes as far as its first task: {self._engine.stillborn} ended one after the "
            f"other while they started. The last, {error}"
            if storm
            else f"a worker process could not get ready: {error}",
            cause,
        )

    # The main module

    def _fall_back(self, why: str) -> None:
        """Go on by value, because the main module cannot be imported."""
        self._engine.renew()
        if self._by_value:
            return
        self._by_value = True
        spec = self._session.exports.spec
        tell_not_imported(spec.name or spec.file, why, "")
        self._engine.setup = None
        # What has been referred to by name is pickled now, and that is user code.
        threading.Thread(target=self._pickle_main, name="bounded-main", daemon=True).start()

    def _pickle_main(self) -> None:
        exports = self._session.exports
        try:
            manifest = exports.stop_importing()
        except BaseException as error:
            message = f"the main module could neither be imported nor pickled: {error!r}"
            self.note(partial(self._break, message, error))
        else:
            setup = self._setup._replace(main=exports.spec, manifest=manifest)
            self.note(partial(setattr, self._engine, "setup", setup))

    # The end

    def _kill_all(self) -> None:
        self._endings.killing = True
        self._cancel(None)

    def _fail_held(self, make_error: ErrorFactory) -> None:
        super()._fail_held(make_error)
        # None is of use any more.
        self._engine.setup = None
        self._engine.renew()

    def _let_go(self) -> None:
        super()._let_go()
        self._session.exports.close()


def _caused(error: BaseException, died: WorkerDied) -> BaseException:
    error.__cause__ = died.__cause__
    return error
