"""The task process: a loop around user code, and what makes the process the user's own.

A child is forked by its supervisor (or spawned where there is no fork) and ends when the parent
closes its end of their socket. It writes one frame per finished task, at once, so that a crash
later in a chunk costs no result that stood before it.
"""

from __future__ import annotations

import gc
import importlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
import sys
from time import perf_counter
from typing import Any, NamedTuple

from . import _main_module, _memory, _pickling, _process, _report
from ._board import Place
from ._limits import Limits
from ._wire import Kind, Order, read_frame, write_frame

__all__ = ["main"]


class Plan(NamedTuple):
    """What a child is told when it is started.

    Attributes:
        config: the executor's settings that a child needs.
        fds: the descriptors that ``config.initializer`` refers to.
        order: what this child alone is told.
        board: memory shared with the parent; None where there is none.
        report: the descriptor of the file for its last words, or none.
        parent: process id of the supervisor, which the child must not outlive.
    """

    config: _process.Config
    fds: _process.Descriptors
    order: Order
    board: Any
    report: _process.Descriptors
    parent: int


def main(sock: socket.socket, plan: Plan) -> None:
    """Run tasks until the limit is reached or the parent closes the socket; a child's target."""
    config = plan.config
    _process.die_with(plan.parent)
    _process.own_group()
    _process.default_signals(plan.order.deaf)
    recording = None
    for fd in plan.report.numbers:
        _report.leave_stack(fd)
        if plan.order.watched:
            recording = _report.Recording(fd)
    if not config.forked:
        config.apply()
    if not config.share_preload:
        for name in config.preload:
            importlib.import_module(name)
    # Starting this process has set the start method to how it was started.
    multiprocessing.set_start_method(config.start_method, force=True)
    _main_module.install(config.main)
    sock.setblocking(True)
    gc.enable()
    _reseed()
    _Runner(sock, plan, recording).run()


def _reseed() -> None:
    # Python reseeds its own generator after a fork; NumPy's global one would repeat itself in
    # every child whose supervisor has imported it.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


class _Runner:
    def __init__(self, sock: socket.socket, plan: Plan, recording: _report.Recording | None) -> None:
        self._sock = sock
        self._plan = plan
        self._recording = recording
        self._pid = os.getpid()
        self._left = plan.order.limit or sys.maxsize
        self._place = Place(plan.board, plan.order.place)
        self._limits = Limits(plan.config)
        # New ones stand behind the old ones. Comparing names would touch, and so copy, their pages.
        self._modules = len(sys.modules) if plan.config.share_imports else -1

    def run(self) -> None:
        if not self._initialize():
            return
        unfit = self._limits.unfit()
        if unfit is not None:
            self._write(Kind.UNFIT, body=unfit.encode())
        if self._recording is not None:
            self._recording.stop()
        self._write(Kind.READY, self._pid, _memory.resident() if self._plan.config.measure_memory else 0)
        while self._left > 0:
            frame = read_frame(self._sock)
            if frame is None:
                return
            if self._recording is not None:
                self._recording = None
                self._write(Kind.BEGUN)
            if frame.kind == Kind.CALL:
                self._call(frame.ident, frame.body)
            else:
                self._chunk(frame.ident, frame.body)
            # Nothing of a task stays while the next one is waited for.
            del frame

    def _initialize(self) -> bool:
        pickled = self._plan.config.initializer
        if pickled is None:
            return True
        try:
            initializer, initargs = _pickling.load_inherited(pickled, self._plan.fds.numbers)
            initializer(*initargs)
        except BaseException as error:
            # Where, and how, the standard library says it.
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
            self._write(Kind.INIT_ERROR, body=_pickling.dump_error(error))
            return False
        return True

    def _call(self, work: int, body: bytes | bytearray) -> None:
        began = perf_counter()
        self._place.begin(work, 0)
        try:
            self._limits.enter()
            try:
                fn, args, kwargs = pickle.loads(body)
                del body
                result = fn(*args, **kwargs)
                del fn, args, kwargs
            finally:
                self._limits.leave()
        except BaseException as error:
            self._fail(work, 0, began, error)
        else:
            self._succeed(work, 0, began, result)

    def _chunk(self, work: int, body: bytes | bytearray) -> None:
        # Unpickling may run user code, and whatever that does is the first item's matter.
        self._place.begin(work, 0)
        dumped, items = pickle.loads(body)
        broken: BaseException | None = None
        fn: Any = None
        try:
            fn = pickle.loads(dumped)
        except BaseException as error:
            broken = error
        for index, item in enumerate(items):
            began = perf_counter()
            self._place.begin(work, index)
            try:
                if broken is not None:
                    raise broken
                self._limits.enter()
                try:
                    result = fn(*pickle.loads(item))
                finally:
                    self._limits.leave()
            except BaseException as error:
                self._fail(work, index, began, error)
            else:
                self._succeed(work, index, began, result)
                del result
            if self._left <= 0:
                # The parent takes back what is left of the chunk.
                return

    def _succeed(self, work: int, index: int, began: float, result: Any) -> None:
        seconds = perf_counter() - began
        try:
            body = _pickling.dump(result)[0]
        except BaseException as error:
            self._fail(work, index, began, error)
        else:
            self._report(Kind.RESULT, work, index, seconds, body)

    def _fail(self, work: int, index: int, began: float, error: BaseException) -> None:
        self._limits.explain(error)
        # A task that forked and let the copy raise or exit ends here as well: see _report.
        body = _pickling.dump_error(error) if os.getpid() == self._pid else b""
        error.__traceback__ = None
        self._report(Kind.ERROR, work, index, perf_counter() - began, body, error)

    def _report(
        self,
        kind: int,
        work: int,
        index: int,
        seconds: float,
        body: bytes,
        error: BaseException | None = None,
    ) -> None:
        if os.getpid() != self._pid:
            # The task forked and returned in the copy too. Only the original may answer, or the
            # next task would get this one's result.
            os._exit(0)
        if self._modules != -1 and len(sys.modules) != self._modules:
            names = list(sys.modules)[self._modules :]
            self._modules = len(sys.modules)
            if names:
                self._write(Kind.MODULES, body="\n".join(names).encode())
        self._left -= 1
        peak = self._limits.peak()
        if peak is not None:
            self._write(Kind.PEAK, peak)
        if self._limits.spent(error):
            self._left = 0
            self._write(Kind.LEAVING)
        self._write(kind, work, index, seconds, body)

    def _write(
        self, kind: int, ident: int = 0, index: int = 0, seconds: float = 0.0, body: bytes = b""
    ) -> None:
        try:
            write_frame(self._sock, kind, ident, index, seconds, body)
        except OSError:
            # The parent is gone, or the task has closed our socket: there is nobody to answer.
            sys.stderr.flush()
            os._exit(signal.SIGPIPE)
