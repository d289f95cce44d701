"""The task process: a loop around user code, and what makes the process the user's own.

A child is forked by its supervisor (or spawned where there is no fork) and ends when the parent
closes its end of their socket. It writes one frame per finished task, at once, so that a crash
later in a chunk costs no result that stood before it.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import socket
import sys
from time import perf_counter
from typing import Any

from . import _main_module, _pickling, _process
from ._wire import Kind, read_frame, write_frame

__all__ = ["main"]


def main(sock: socket.socket, config: _process.Config, fds: _process.Descriptors, parent: int) -> None:
    """Run tasks until the parent closes the socket; the target of a child process.

    Args:
        sock: the child's end of its socket pair with the parent.
        config: the executor's settings that a child needs.
        fds: the descriptors that ``config.initializer`` refers to.
        parent: process id of the supervisor, which the child must not outlive.
    """
    _process.die_with(parent)
    _process.own_group()
    _process.default_signals()
    if config.forked:
        _process.drop_descriptors({sock.fileno(), *fds.numbers})
    else:
        config.apply()
    # Starting this process has set the start method to how it was started.
    multiprocessing.set_start_method(config.start_method, force=True)
    _main_module.install(config.main)
    sock.setblocking(True)
    gc.enable()
    _reseed()
    _Runner(sock, config).run(fds.numbers)


def _reseed() -> None:
    # Python reseeds its own generator after a fork; NumPy's global one would repeat itself in
    # every child whose supervisor has imported it.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


class _Runner:
    def __init__(self, sock: socket.socket, config: _process.Config) -> None:
        self._sock = sock
        self._config = config
        self._pid = os.getpid()
        self._modules = len(sys.modules)
        self._names = set(sys.modules) if config.share_imports else set()

    def run(self, fds: list[int]) -> None:
        if not self._initialize(fds):
            return
        self._write(Kind.READY, self._pid)
        while True:
            frame = read_frame(self._sock)
            if frame is None:
                return
            if frame.kind == Kind.CALL:
                self._call(frame.ident, frame.body)
            else:
                self._chunk(frame.ident, frame.body)
            # Nothing of a task stays while the next one is waited for.
            del frame

    def _initialize(self, fds: list[int]) -> bool:
        if self._config.initializer is None:
            return True
        try:
            initializer, initargs = _pickling.load_inherited(self._config.initializer, fds)
            initializer(*initargs)
        except BaseException as error:
            self._write(Kind.INIT_ERROR, body=_pickling.dump_error(error))
            return False
        return True

    def _call(self, work: int, body: bytes | bytearray) -> None:
        began = perf_counter()
        try:
            fn, args, kwargs = pickle.loads(body)
            del body
            result = fn(*args, **kwargs)
            del fn, args, kwargs
        except BaseException as error:
            self._fail(work, 0, began, error)
        else:
            self._succeed(work, 0, began, result)

    def _chunk(self, work: int, body: bytes | bytearray) -> None:
        dumped, items = pickle.loads(body)
        broken: BaseException | None = None
        fn: Any = None
        try:
            fn = pickle.loads(dumped)
        except BaseException as error:
            broken = error
        for index, item in enumerate(items):
            began = perf_counter()
            try:
                if broken is not None:
                    raise broken
                result = fn(*pickle.loads(item))
            except BaseException as error:
                self._fail(work, index, began, error)
            else:
                self._succeed(work, index, began, result)
                del result

    def _succeed(self, work: int, index: int, began: float, result: Any) -> None:
        seconds = perf_counter() - began
        try:
            body = _pickling.dump(result)[0]
        except BaseException as error:
            self._fail(work, index, began, error)
        else:
            self._report(Kind.RESULT, work, index, seconds, body)

    def _fail(self, work: int, index: int, began: float, error: BaseException) -> None:
        # A task that forked and let the copy raise or exit ends here as well: see _report.
        body = _pickling.dump_error(error) if os.getpid() == self._pid else b""
        error.__traceback__ = None
        self._report(Kind.ERROR, work, index, perf_counter() - began, body)

    def _report(self, kind: int, work: int, index: int, seconds: float, body: bytes) -> None:
        if os.getpid() != self._pid:
            # The task forked and returned in the copy too. Only the original may answer, or the
            # next task would get this one's result.
            os._exit(0)
        if self._config.share_imports and len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            names = [name for name in sys.modules if name not in self._names]
            self._names.update(names)
            self._write(Kind.MODULES, body="\n".join(names).encode())
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
