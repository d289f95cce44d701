"""Log records of tasks, on their way from a task process to the handlers of the parent."""

from __future__ import annotations

import logging
import os
import pickle
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from .._locks import Lock
from .._log import Log

__all__ = ["Writer", "handle", "install", "levels"]

_log = Log()


def levels() -> dict[str, int]:
    """Return the levels that were set in this process, by the name of the logger; the root's is ``""``."""
    found = {"": logging.root.level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            found[name] = logger.level
    return found


def handle(body: bytes | bytearray) -> None:
    """Pass a record that came from a task on to this process's handlers; raises nothing."""
    try:
        record = logging.makeLogRecord(pickle.loads(body))
        logging.getLogger(record.name).handle(record)
    except BaseException:
        _log.critical("a log record of a task could not be handled", exc_info=True)


class Writer:
    """Writes frames of several threads one after the other.

    A record may be made by a signal's handler in the middle of a write. It cannot wait for the end of that,
    so it is left for whoever writes.

    Args:
        write: writes one frame; raises nothing.
    """

    def __init__(self, write: Callable[..., None]) -> None:
        self._write = write
        self._lock = Lock()
        self._frames: deque[tuple[Any, ...]] = deque()

    def write(self, *frame: Any) -> None:
        """Write a frame, and return when it is written; not for a signal's handler to call."""
        self._frames.append(frame)
        while True:
            # Also where it is gone: another thread may have taken it, and be in the middle of it.
            with self._lock:
                self._drain()
            # A signal's handler may have left one just before the lock was free again.
            if not self._frames:
                return

    def leave(self, *frame: Any) -> None:
        """Have a frame written, by whoever is writing if somebody is."""
        self._frames.append(frame)
        while self._frames and self._lock.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._lock.release()

    def _drain(self) -> None:
        while self._frames:
            self._write(*self._frames.popleft())


def install(set_levels: Mapping[str, int], send: Callable[[bytes], None]) -> None:
    """Have all records of this process sent to the parent; its own handlers see them as well.

    Args:
        set_levels: what :func:`levels` returned in the parent.
        send: takes each record, pickled.
    """
    for name, level in set_levels.items():
        logging.getLogger(name or None).setLevel(level)
    logging.root.addHandler(_Forwarder(send))


class _Forwarder(logging.Handler):
    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() != self._pid:
            # A copy that the task forked: what it wrote would be mixed with what this process writes.
            return
        try:
            self._send(_dump(record))
        except Exception:
            self.handleError(record)


def _dump(record: logging.LogRecord) -> bytes:
    fields = dict(record.__dict__)
    fields["msg"] = record.getMessage()
    fields["args"] = None
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = logging.Formatter().formatException(record.exc_info)
    fields["exc_info"] = None
    try:
        return pickle.dumps(fields)
    except Exception:
        return pickle.dumps({name: _sendable(value) for name, value in fields.items()})


def _sendable(value: Any) -> Any:
    try:
        pickle.dumps(value)
    except Exception:
        return repr(value)
    return value
