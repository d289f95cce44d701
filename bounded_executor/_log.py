"""What the package says in the log, by the logger ``bounded_executor``.

Handlers, filters and the factory of records are code of the user's. They may raise, which must not reach
the step of ours that had something to say: the error is reported as :mod:`logging` reports those of its
own handlers. And they may block, or call the executor, so an executor's own thread runs none of them: what it
says is handed to the thread that runs done-callbacks, in one line with these. A record of a crash is
therefore handled before the future of the task that it befell is resolved.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable
from time import time
from typing import Any

__all__ = ["Log", "say_through"]

_local = threading.local()
_reporter = logging.NullHandler()


def say_through(put: Callable[[Callable[[], None]], None]) -> None:
    """Note that this thread has to go on, whatever handlers do.

    Args:
        put: has something called that raises nothing, here or, where this thread must not run user code,
            on another one.
    """
    _local.put = put


class Log:
    """Says something, and raises nothing for that; may be used wherever user code may run, or elsewhere.

    Args:
        name: the logger's.
    """

    def __init__(self, name: str = "bounded_executor") -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *args: object, exc_info: bool = False) -> None:
        self._say(logging.DEBUG, message, args, exc_info)

    def info(self, message: str, *args: object) -> None:
        self._say(logging.INFO, message, args)

    def warning(self, message: str, *args: object) -> None:
        self._say(logging.WARNING, message, args)

    def error(self, message: str, *args: object) -> None:
        self._say(logging.ERROR, message, args)

    def critical(self, message: str, *args: object, exc_info: bool = False) -> None:
        self._say(logging.CRITICAL, message, args, exc_info)

    def _say(self, level: int, message: str, args: tuple[object, ...], exc_info: bool = False) -> None:
        record = _Record(self._logger, level, message, args, sys.exc_info() if exc_info else None)
        put = getattr(_local, "put", None)
        if put is None:
            record.handle()
        else:
            # Whether anybody wants to know is asked later: logging has a lock for that.
            put(record.handle_at_any_rate)


class _Record:
    """What is to be said, and where and when it was."""

    def __init__(
        self, logger: logging.Logger, level: int, message: str, args: tuple[object, ...], exc_info: Any
    ) -> None:
        self._logger = logger
        self._level = level
        self._message = message
        self._args = args
        self._exc_info = exc_info
        # Two levels above are the methods of `Log`.
        frame = sys._getframe(3)
        self._where = frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name
        self._created = time()

    def handle(self) -> None:
        """Have it handled, and report what is raised there. Ctrl-C is not that."""
        try:
            self._handle()
        except Exception:
            self._report()

    def handle_at_any_rate(self) -> None:
        """Do the same on a thread that has to go on, whatever is raised."""
        try:
            self._handle()
        except BaseException:
            self._report()

    def _handle(self) -> None:
        logger = self._logger
        if not logger.isEnabledFor(self._level):
            return
        path, line, function = self._where
        record = logger.makeRecord(
            logger.name, self._level, path, line, self._message, self._args, self._exc_info, function
        )
        record.relativeCreated -= 1000 * (record.created - self._created)
        record.created = self._created
        record.msecs = self._created % 1 * 1000 // 1
        logger.handle(record)

    def _report(self) -> None:
        path, line, function = self._where
        record = logging.LogRecord(
            self._logger.name, self._level, path, line, self._message, self._args, None, function
        )
        # Standard error, too, may be an object of the user's.
        with contextlib.suppress(Exception):
            _reporter.handleError(record)


if hasattr(os, "register_at_fork"):
    # Its delivery thread is not there.
    os.register_at_fork(after_in_child=lambda: _local.__dict__.clear())
