"""The task process: a loop around user code, and what makes the process the user's own.

A child is forked by its supervisor (or spawned where there is no fork) and ends when the parent
closes its end of their socket. It is given pieces of work of one call or more. What it has finished
no crash that follows costs anybody: it has been sent, or is kept where the parent can see it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import gc
import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Mapping
from time import perf_counter
from typing import Any, NamedTuple, NoReturn

from .._ipc import crash_report
from .._ipc.frames import Body, Frame, Kind, MainOutcome, Order, read_frame, write_frame
from .._ipc.scoreboard import BEGUN, STOP, TURN_SHIFT, Place, open_board
from .._memory import proc
from .._serialize import main_module, namespace, pickling
from .._serialize.payload import Parts, load, load_item
from . import bootstrap
from .memory_limits import Limits
from .original import Original
from .result_buffer import Outbox

__all__ = ["main"]


class Inherited(NamedTuple):
    """What the import of the main module has set in a process and the supervisor does not keep for itself.

    Attributes:
        collects: garbage is collected.
        handlers: those of the signals that a supervisor handles in its own way.
    """

    collects: bool
    handlers: Mapping[int, Any]


class Plan(NamedTuple):
    """What a child is told when it is started.

    Attributes:
        config: the executor's settings that a child needs.
        fds: the store's descriptor, and those that it and ``config.initializer`` refer to.
        order: what this child alone is told.
        board: memory shared with the parent, or its descriptor for a child that is spawned; None where
            there is none.
        report: the descriptor of the file for its last words, or none.
        parent: process id of the supervisor, which the child must not outlive.
        has_main: the process is forked from one that has the main module and all that belongs to it.
        inherited: what the main module has set that is not there by itself; None: nothing.
    """

    config: bootstrap.Config
    fds: bootstrap.Descriptors
    order: Order
    board: Any
    report: bootstrap.Descriptors
    parent: int
    has_main: bool
    inherited: Inherited | None


def main(sock: socket.socket, plan: Plan) -> None:
    """Run tasks until the limit is reached or the parent closes the socket; a child's target."""
    config = plan.config
    bootstrap.die_with(plan.parent)
    bootstrap.own_group()
    bootstrap.default_signals(plan.order.deaf)
    recording = None
    for fd in plan.report.numbers:
        crash_report.leave_stack(fd)
        if plan.order.watched:
            recording = crash_report.Recording(fd)
    if not config.forked:
        config.apply()
    if not config.share_preload and not _has_preloaded(sock, config.preload):
        return
    # Starting this process has set the start method to how it was started.
    multiprocessing.set_start_method(config.start_method, force=True)
    sock.setblocking(True)
    gc.enable()
    # Whatever is not called does not touch, and so copy, its pages.
    if not plan.has_main and not _set_up_main(sock, plan):
        return
    if plan.inherited is not None:
        if not plan.inherited.collects:
            gc.disable()
        bootstrap.set_handlers(plan.inherited.handlers, deaf=plan.order.deaf)
    for name in plan.order.first:
        # What cannot be imported is the matter of the tasks that need it.
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)
    if plan.report.numbers:
        crash_report.unblock()
    _reseed()
    _Runner(sock, plan, recording).run()


def _has_preloaded(sock: socket.socket, names: tuple[str, ...]) -> bool:
    """Import these modules; False where one of them could not be."""
    try:
        for name in names:
            importlib.import_module(name)
    except BaseException as error:
        write_frame(sock, Kind.PRELOAD_ERROR, body=pickling.dump_error(error))
        return False
    return True


def _set_up_main(sock: socket.socket, plan: Plan) -> bool:
    """Have the main module, and what tasks expect in it; False where this process is of no use without it."""
    config = plan.config
    store, *inherited = plan.fds.numbers
    namespace.open_store(store, config.sender)
    pickling.receive_descriptors(inherited)
    if not config.share_main:
        try:
            with config.at_start():
                main_module.set_up(config.main)
        except BaseException as error:
            print(pickling.text_of(error), end="", file=sys.stderr)
            write_frame(sock, Kind.MAIN, MainOutcome.FAILED, body=pickling.summary(error).encode())
            return False
    # What cannot be unpickled fails the tasks that use it.
    with contextlib.suppress(Exception):
        namespace.apply(config.manifest)
    with contextlib.suppress(Exception):
        namespace.apply_log_setup(config.log_setup)
    return True


def _reseed() -> None:
    # Python reseeds its own generator after a fork; NumPy's global one would repeat itself in
    # every child whose supervisor has imported it.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is None:
        return
    # Where the program has seeded it, NumPy has dropped the seed of its own.
    generator = getattr(getattr(numpy_random.mtrand, "_rand", None), "_bit_generator", None)
    if getattr(generator, "_seed_seq", True) is not None:
        numpy_random.seed()


class _Runner:
    def __init__(self, sock: socket.socket, plan: Plan, recording: crash_report.Recording | None) -> None:
        self._sock = sock
        self._write_frame: Any = None
        if plan.config.log_levels is not None:
            self._forward_logs(plan.config.log_levels)
        self._plan = plan
        self._recording = recording
        self._original = Original().mark
        self._left = plan.order.limit or sys.maxsize
        board = plan.board
        if isinstance(board, bootstrap.Descriptors):
            board = open_board(board.numbers[0])
        self._place = Place(board, plan.order.place)
        self._outbox = Outbox(self._place, self._write)
        self._limits = Limits(plan.config)
        self._keeps = self._place.shared and not self._limits.any
        self._function: tuple[bytes, Any] = (b"", None)
        # New ones stand behind the old ones. Comparing names would touch, and so copy, their pages.
        self._modules = len(sys.modules) if plan.config.share_imports else -1

    def _forward_logs(self, levels: Mapping[str, int]) -> None:
        # Not at the top: only then does a process need it.
        from .._ipc import log_forwarding

        writer = log_forwarding.Writer(self._write_now)
        self._write_frame = writer.write
        log_forwarding.install(levels, lambda body: writer.leave(Kind.LOG, 0, 0, 0.0, body, 1))

    def run(self) -> None:
        if not self._initialize():
            return
        unfit = self._limits.unfit()
        if unfit is not None:
            self._write(Kind.UNFIT, body=unfit.encode())
        if self._recording is not None:
            self._recording.stop()
        self._write(Kind.READY, os.getpid(), proc.resident() if self._plan.config.measure_memory else 0)
        while self._left > 0:
            frame = read_frame(self._sock)
            if frame is None:
                return
            if self._recording is not None:
                self._recording = None
                self._write(Kind.BEGUN)
            self._work(frame)
            # Nothing of a task stays while the next one is waited for.
            del frame

    def _initialize(self) -> bool:
        pickled = self._plan.config.initializer
        if pickled is None:
            return True
        try:
            initializer, initargs = pickle.loads(pickled)
            initializer(*initargs)
        except BaseException as error:
            with contextlib.suppress(BaseException):
                namespace.explain(error)
            try:
                # Where, and how, the standard library says it. A handler may raise, or end the process.
                logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            finally:
                self._write(Kind.INIT_ERROR, body=pickling.dump_error(error))
            return False
        return True

    def _work(self, frame: Frame) -> None:
        """Run the items of a piece of work, until the limit is reached or the parent says stop."""
        work, turn = frame.ident, frame.index
        in_parts = frame.kind == Kind.RUN_PARTS
        dumped, named, items = load(Parts.of_body(frame.body) if in_parts else frame.body)
        loads = load_item if in_parts else pickle.loads
        frame.body = b""
        words = self._place.words
        outbox = self._outbox
        limits = self._limits if self._limits.any else None
        keeps = self._keeps and len(items) > 1
        original = self._original
        fn: Any = None
        pickled: Any = b""
        now = perf_counter()
        # The order of these steps is the protocol of `_ipc.scoreboard`.
        begun = self._place.begin(turn)
        outbox.begin(work, now)
        least_stop = turn << TURN_SHIFT
        for index, item in enumerate(items):
            words[BEGUN] = begun = begun + 1
            if words[STOP] >= least_stop and self._place.refuses(turn, index):
                # Withdrawn before anything else: should the process be killed now, it has not run this item.
                words[BEGUN] = begun - 1
                outbox.flush(now)
                self._write(Kind.STOPPED, work, index)
                break
            # The clock was read before that note: from it on the parent counts.
            began = now
            try:
                if limits is not None:
                    limits.enter()
                try:
                    if fn is None and dumped is not None:
                        # Unpickling may run user code, and whatever that does is this item's matter.
                        fn = self._load(dumped, named)
                    args = item if type(item) is tuple else loads(item)
                    result = _call(*args) if fn is None else fn(*args)
                    del args
                finally:
                    if limits is not None:
                        limits.leave()
                if not original[0]:
                    _end_copy()
                if keeps:
                    now = outbox.add(result)
                else:
                    now = perf_counter()
                    pickled = pickling.dump_parts(result)
                del result
            except BaseException as error:
                if not original[0]:
                    _end_copy()
                outbox.flush(now)
                self._fail(work, index, began, error)
                now = perf_counter()
                outbox.skip(index, now)
            else:
                if keeps:
                    self._left -= 1
                else:
                    self._count_task()
                    outbox.send(work, index, now - began, pickled)
                    pickled = b""
                    now = perf_counter()
            if self._left <= 0:
                # The parent takes back what is left of it.
                break
        self._tell_modules()
        outbox.flush(now)

    def _load(self, dumped: bytes, named: bool) -> Any:
        known, fn = self._function
        if known != dumped:
            fn = pickle.loads(dumped)
            if named:
                self._function = dumped, fn
        return fn

    def _fail(self, work: int, index: int, began: float, error: BaseException) -> None:
        # What an exception says of itself is code of the user's, and it may refuse what is added to it.
        for explain in (self._limits.explain, namespace.explain):
            with contextlib.suppress(BaseException):
                explain(error)
        body = pickling.dump_error(error)
        pickling.drop_traceback(error)
        self._count_task(error)
        self._write(Kind.ERROR, work, index, perf_counter() - began, body)

    def _count_task(self, error: BaseException | None = None) -> None:
        """Say what is to be said before the outcome of a task."""
        self._left -= 1
        self._tell_modules()
        peak = self._limits.peak()
        if peak is not None:
            self._write(Kind.PEAK, peak)
        if self._limits.spent(error):
            self._left = 0
            self._write(Kind.LEAVING)

    def _tell_modules(self) -> None:
        if self._modules != -1 and len(sys.modules) != self._modules:
            names = list(sys.modules)[self._modules :]
            self._modules = len(sys.modules)
            if names:
                self._write(Kind.MODULES, body="\n".join(names).encode())

    def _write(
        self,
        kind: int,
        ident: int = 0,
        index: int = 0,
        seconds: float = 0.0,
        body: Body = b"",
        count: int = 1,
    ) -> None:
        if self._write_frame is not None:
            self._write_frame(kind, ident, index, seconds, body, count)
            return
        self._write_now(kind, ident, index, seconds, body, count)

    def _write_now(self, kind: int, ident: int, index: int, seconds: float, body: Body, count: int) -> None:
        try:
            write_frame(self._sock, kind, ident, index, seconds, body, count)
        except OSError:
            # The parent is gone, or the task has closed our socket: there is nobody to answer.
            sys.stderr.flush()
            os._exit(signal.SIGPIPE)


def _end_copy() -> NoReturn:
    # The task forked, and returned, raised or exited in the copy too. Only the original may answer, or the
    # next task would get this one's result.
    os._exit(0)


def _call(fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)
