"""A file in memory that one executor's processes share: the parent appends pickles, and workers read them.

It has no name, so no other process can open it. What is in it never changes, and each process that is started
later has all of it.
"""

from __future__ import annotations

import contextlib
import io
import os
import struct
from typing import Any

from ._locks import Lock

__all__ = ["Comparing", "Different", "Record", "Store"]

_LENGTH = struct.Struct("<Q")


class Store:
    """The parent's side; may be used by any thread.

    It is closed when its last user drops it, so that no thread writes to a descriptor that has become another
    file's. ``_lock`` guards ``_end``. Nothing is done under it but writing to memory.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self.fd = os.memfd_create("bounded-executor-store", os.MFD_CLOEXEC)
        else:
            # Not by all processes: it brings much along.
            import tempfile

            with tempfile.TemporaryFile() as file:
                self.fd = os.dup(file.fileno())
        self._lock = Lock()
        self._end = 0

    def append(self, data: Any) -> int:
        """Write a pickle to the end and return where it begins."""
        with memoryview(data) as view, self._lock:
            offset = self._end
            _write(self.fd, _LENGTH.pack(view.nbytes), offset)
            _write(self.fd, view, offset + _LENGTH.size)
            self._end = offset + _LENGTH.size + view.nbytes
        return offset

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.fd)


def _write(fd: int, data: Any, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view = view[written:]
        offset += written


class Record(io.RawIOBase):
    """One pickle of a store, as a file to read; processes share the descriptor but no position.

    Args:
        fd: the store's descriptor in this process.
        offset: what :meth:`Store.append` returned.
    """

    def __init__(self, fd: int, offset: int) -> None:
        self._fd = fd
        self._at = offset + _LENGTH.size
        length: int = _LENGTH.unpack(os.pread(fd, _LENGTH.size, offset))[0]
        self._end = self._at + length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            view = view[: self._end - self._at]
            got = os.preadv(self._fd, [view], self._at) if view else 0
        self._at += got
        return got

    def has(self, data: Any) -> bool:
        """Return whether these bytes, and no others, have not been read."""
        with memoryview(data) as view:
            if view.nbytes != self.left:
                return False
            comparing = Comparing(self)
            try:
                comparing.write(view)
            except Different:
                return False
        return True

    @property
    def left(self) -> int:
        """Bytes that have not been read."""
        return self._end - self._at


class Different(Exception):
    """Two pickles are not the same."""


class Comparing:
    """A file that is written to only what is in a record."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def write(self, data: Any) -> None:
        with memoryview(data) as view:
            view = view.cast("B")
            while view:
                found = bytearray(min(view.nbytes, 1 << 16))
                got = self._record.readinto(found)
                if not got or found[:got] != view[:got]:
                    raise Different
                view = view[got:]
