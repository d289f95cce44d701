"""Writes the results, one whole line at a time."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from typing import Any

from .console import Unusable

__all__ = ["Output", "ReaderGone", "Unwritable", "open_output", "result_line"]

# How long a line may have been written without having been forced to the disk.
SYNC_SECONDS = 2.0


class Unwritable(Exception):
    """A result could not be written; the message is one line that names the file."""


class ReaderGone(Exception):
    """What reads standard output has closed it, as ``head`` does when it has enough."""


def result_line(value: Any, outcome: dict[str, Any], seconds: float | None, attempts: int) -> bytes:
    """Return the line of one input.

    Args:
        value: the input.
        outcome: ``{"result": ...}``, or ``{"error": text, "traceback": text}``.
        seconds: how long it ran; None where that is not known.
        attempts: how often it was started.

    Raises:
        Exception: the result is not JSON-serializable.
    """
    seconds = None if seconds is None else round(seconds, 6)
    line = {"input": value, **outcome, "seconds": seconds, "attempts": attempts}
    # Only ASCII, so that whatever stands in it can be written.
    return json.dumps(line, allow_nan=False).encode() + b"\n"


class Output:
    """Where the lines go. Used by one thread.

    Args:
        file: descriptor of the file.
        name: how messages call it.
        ours: it was opened for this run; lines are forced to the disk now and then, and it is closed.
    """

    def __init__(self, file: int, name: str, *, ours: bool) -> None:
        self._file = file
        self._name = name
        self._ours = ours
        # Pipes and devices have nothing to be forced.
        self._durable = ours and stat.S_ISREG(os.fstat(file).st_mode)
        # When the first line was written that may not be on the disk yet.
        self._unsafe_since: float | None = None

    def write(self, line: bytes) -> None:
        """Write one line, past every buffer of this process.

        Raises:
            ReaderGone: it is standard output, and nothing reads that any more.
            Unwritable: it cannot be written.
        """
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except BrokenPipeError as error:
            if not self._ours:
                raise ReaderGone from None
            raise Unwritable(f"cannot write to {self._name}: {error.strerror}") from None
        except OSError as error:
            raise Unwritable(f"cannot write to {self._name}: {error.strerror}") from None
        if self._durable and self._unsafe_since is None:
            self._unsafe_since = time.monotonic()
        elif self.seconds_to_sync() == 0:
            self.sync()

    def seconds_to_sync(self) -> float | None:
        """Return in how many seconds :meth:`sync` is due; None while there is nothing to force."""
        if self._unsafe_since is None:
            return None
        return max(0.0, self._unsafe_since + SYNC_SECONDS - time.monotonic())

    def sync(self) -> None:
        """Force what was written to the disk; raise Unwritable if that fails."""
        if self._unsafe_since is None:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            raise Unwritable(f"cannot write to {self._name}: {error.strerror}") from None
        self._unsafe_since = None

    def close(self) -> None:
        """Force what was written to the disk and close the file; raise Unwritable if that fails."""
        if not self._ours:
            return
        try:
            with contextlib.closing(os.fdopen(self._file, "wb", buffering=0)):
                self.sync()
        except OSError as error:
            raise Unwritable(f"cannot write to {self._name}: {error.strerror}") from None


def open_output(path: str | None, *, keep: int | None, overwrite: bool) -> Output:
    """Open the output.

    Args:
        path: the file; None for standard output.
        keep: bytes of an earlier run's lines to go on behind; None for a new run.
        overwrite: whether a new run may replace a file that has something in it.

    Raises:
        Unusable: the file cannot be opened, or has something in it.
    """
    if path is None:
        return Output(sys.stdout.fileno(), "standard output", ours=False)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        _lock(file, path)
        size = os.fstat(file).st_size
        if size and keep is None and not overwrite:
            os.close(file)
            raise Unusable(
                f"{path} has something in it already: "
                "continue it with --resume, or replace it with --overwrite"
            )
        if size:
            os.ftruncate(file, keep or 0)
            os.lseek(file, 0, os.SEEK_END)
    except OSError as error:
        raise Unusable(f"cannot write to {path}: {error.strerror}") from None
    return Output(file, path, ours=True)


def _lock(file: int, path: str) -> None:
    if sys.platform == "win32":
        # A lock there is on bytes, and keeps others from reading them.
        return
    # It ends with the process, however that ends.
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise Unusable(f"{path} is being written by another run") from None
    except (ImportError, OSError):
        # Not every system and file system has locks.
        return
