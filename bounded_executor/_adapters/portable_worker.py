"""Runs in a worker of the portable way (``_adapters.portable``).

It makes the process what tasks expect, and runs them.

The process is one of loky's, started anew. It takes orders from one executor, one after the other:
:func:`prepare` comes first, and each further one is a message of tasks.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

from .._serialize import main_module, namespace, pickling
from .._serialize.main_module import MainSpec
from .._serialize.store import Store
from . import remote_worker

__all__ = ["Prepared", "Ran", "Setup", "prepare", "receive", "run"]


class Setup(NamedTuple):
    """What a worker process is made to be like, as it is when the executor is made.

    Attributes:
        environ: the environment.
        directory: the working directory; None where it was gone.
        started_in: the directory that the program was started in, or None.
        path: ``sys.path``.
        argv: ``sys.argv``.
        warnoptions: ``sys.warnoptions``.
        start_method: of multiprocessing; None: not decided yet.
        preload: names of modules that are imported first.
        first: names of modules that the first task needs, whose import is not to count as its time.
        initializer: what ``pickling.dump_apart`` made of ``(initializer, initargs)``, or None.
        log_levels: levels of loggers by name, where records of tasks are to reach the parent; else None.
        main: how the process gets the main module.
        sender: number by which the parent knows the executor.
        manifest: lists the globals of the main module that are there from the start; -1: none.
        log_setup: where in the store the parent's configuration of ``logging`` is; -1: nowhere.
    """

    environ: Mapping[str, str]
    directory: str | None
    started_in: str | None
    path: list[str]
    argv: list[str]
    warnoptions: list[str]
    start_method: str | None
    preload: tuple[str, ...]
    first: tuple[str, ...]
    initializer: bytes | None
    log_levels: Mapping[str, int] | None
    main: MainSpec
    sender: int
    manifest: int
    log_setup: int

    @classmethod
    def capture(
        cls,
        *,
        preload: tuple[str, ...],
        initializer: bytes | None,
        log_levels: Mapping[str, int] | None,
        main: MainSpec,
        sender: int,
    ) -> Setup:
        """Return the state of this process as it is now."""
        directory = None
        with contextlib.suppress(OSError):
            directory = os.getcwd()
        return cls(
            dict(os.environ),
            directory,
            multiprocessing.process.ORIGINAL_DIR,  # type: ignore[attr-defined]
            [entry or directory or "" for entry in sys.path],
            list(getattr(sys, "argv", [])),
            list(sys.warnoptions),
            multiprocessing.get_start_method(allow_none=True),
            preload,
            (),
            initializer,
            log_levels,
            main,
            sender,
            -1,
            -1,
        )

    def apply(self) -> None:
        """Make this process look like the parent did."""
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
        if self.directory is not None:
            # A directory that was removed meanwhile is no reason to run nothing.
            with contextlib.suppress(OSError):
                os.chdir(self.directory)
        sys.path[:] = self.path
        sys.argv[:] = self.argv
        if sys.warnoptions != self.warnoptions:
            sys.warnoptions[:] = self.warnoptions
            warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]


class Prepared(NamedTuple):
    """What came of :func:`prepare`.

    Attributes:
        pid: of this process.
        failed: the step that failed, ``"preload"``, ``"main"`` or ``"initializer"``; empty: none.
        error: what ``pickling.dump_error`` made of its exception.
        summary: the exception in one line.
    """

    pid: int
    failed: str = ""
    error: bytes = b""
    summary: str = ""


class Ran(NamedTuple):
    """What came of a message.

    Attributes:
        outcomes: of its tasks.
        records: log records that were made since the last message, pickled.
    """

    outcomes: remote_worker.Outcomes
    records: list[bytes]


# A copy of the parent's, which it adds to before each message.
_store: Store | None = None
_link: Any = None
_apart: list[Any] = []
_records: deque[bytes] = deque()


def receive(link: Any, apart: list[Any]) -> None:
    """Take what only a starting process can be given; loky's initializer.

    Args:
        link: a connection to the parent, at its end when the parent has ended.
        apart: see ``pickling.load_apart``.
    """
    global _link
    _link = link
    _apart[:] = apart
    threading.Thread(target=_end_with_parent, name="bounded-parent", daemon=True).start()


def _end_with_parent() -> None:
    """End this process, with what it runs, when its parent has ended without ending it."""
    with contextlib.suppress(EOFError, OSError):
        # Nothing is ever sent.
        _link.recv_bytes()
    os._exit(1)


def prepare(setup: Setup, deaf: bool, stored: bytes) -> Prepared:
    """Get ready for tasks.

    Args:
        setup: what to be like.
        deaf: SIGTERM ends nothing.
        stored: all that is in the executor's store.
    """
    global _store
    _take_signals(deaf)
    setup.apply()
    # Starting this process has set the start method to how it was started.
    multiprocessing.set_start_method(setup.start_method, force=True)
    _store = Store()
    _store.extend(stored)
    namespace.open_store(_store.fd, setup.sender)
    step = "preload"
    try:
        for name in setup.preload:
            importlib.import_module(name)
        step = "main"
        _set_up_main(setup)
        # What cannot be unpickled fails the tasks that use it.
        with contextlib.suppress(Exception):
            namespace.apply(setup.manifest)
        with contextlib.suppress(Exception):
            namespace.apply_log_setup(setup.log_setup)
        if setup.log_levels is not None:
            from .._ipc import log_forwarding

            log_forwarding.install(setup.log_levels, _records.append)
        step = "initializer"
        if setup.initializer is not None:
            initializer, initargs = pickling.load_apart(setup.initializer, _apart)
            initializer(*initargs)
        step = ""
        for name in setup.first:
            # One that cannot be imported fails the tasks that need it.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    except BaseException as error:
        namespace.explain(error)
        if step == "initializer":
            # Where, and how, the standard library says it.
            logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        return Prepared(os.getpid(), step, pickling.dump_error(error), pickling.summary(error))
    return Prepared(os.getpid())


def _take_signals(deaf: bool) -> None:
    # A handler, and not SIG_IGN, which programs that a task starts would have as well.
    signal.signal(signal.SIGINT, _do_nothing)
    if deaf:
        signal.signal(signal.SIGTERM, _do_nothing)


def _do_nothing(number: int, frame: object) -> None:
    """Stand in for what Ctrl-C does: it is for the program, which ends its workers."""


def _set_up_main(setup: Setup) -> None:
    """Have the main module; paths at its top level are relative to where the program was started."""
    if setup.started_in is not None:
        with contextlib.suppress(OSError):
            os.chdir(setup.started_in)
    try:
        main_module.set_up(setup.main)
    finally:
        # What the top level changes once more it has changed in the parent already.
        setup.apply()


def run(message: bytes | bytearray, in_parts: bool, ticket: int, stored: bytes) -> Ran:
    """Run the tasks of a message.

    Args:
        message: see ``Work.message``.
        in_parts: it is one in parts.
        ticket: its number.
        stored: what was put into the executor's store since the last message.
    """
    if _store is None:
        raise RuntimeError("a task came to a worker process that was not prepared")
    with contextlib.suppress(OSError):
        # From here on the message may have been run.
        _link.send_bytes(b".")
    _store.extend(stored)
    outcomes = remote_worker.run(message, in_parts, ticket, explain=namespace.explain)
    records = []
    # Another thread may be adding to them.
    while _records:
        records.append(_records.popleft())
    return Ran(outcomes, records)
