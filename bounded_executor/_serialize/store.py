"""A file in memory that one executor's processes share: the parent appends pickles, and workers read them.

It has no name, so no other process can open it. What is in it never changes, and each process that is started
later has all of it.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import struct
import sys
from typing import Any

from .._locks import Lock
from .._nameless_files import new_file

__all__ = ["Comparing", "Different", "Record", "Store"]

_LENGTH = struct.Struct("<Q")


class Store:
    """The parent's side; may be used by any thread.

    It is closed when its last user drops it, so that no thread writes to a descriptor that has become another
    file's. ``_lock`` guards ``_end``. Nothing is done under it but writing to memory.
    """

    def __init__(self) -> None:
        self.fd = new_file("store")
        self._lock = Lock()
        self._end = 0

    def append(self, *parts: Any) -> int:
        """Write bytes to the end, as one record, and return where it begins."""
        size = sum(memoryview(part).nbytes for part in parts)
        with self._lock:
            offset = self._end
            _write(self.fd, _LENGTH.pack(size), offset)
            at = offset + _LENGTH.size
            for part in parts:
                _write(self.fd, part, at)
                at += memoryview(part).nbytes
            self._end = at
        return offset

    def since(self, offset: int) -> bytes:
        """Return all that was written from a place on, for a store in another process to :meth:`extend`."""
        found = bytearray(max(0, self._end - offset))
        _read(self.fd, found, offset)
        return bytes(found)

    def extend(self, data: bytes) -> None:
        """Write what the other store has had since it was read last."""
        with self._lock:
            _write(self.fd, data, self._end)
            self._end += len(data)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.fd)


def _write(fd: int, data: Any, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = _pwrite(fd, view, offset)
        view = view[written:]
        offset += written


def _read(fd: int, buffer: Any, offset: int) -> None:
    view = memoryview(buffer)
    while view:
        got = _preadv(fd, view, offset)
        if not got:
            raise EOFError(f"{len(view)} bytes are missing behind place {offset}")
        view = view[got:]
        offset += got


if sys.platform == "win32":
    # Reading and writing there move the position of the file, which all threads share. The lock guards it.
    _position = Lock()

    def _pwrite(fd: int, view: memoryview, offset: int) -> int:
        with _position:
            os.lseek(fd, offset, os.SEEK_SET)
            return os.write(fd, view)

    def _preadv(fd: int, view: memoryview, offset: int) -> int:
        with _position:
            os.lseek(fd, offset, os.SEEK_SET)
            data = os.read(fd, len(view))
        view[: len(data)] = data
        return len(data)

else:

    def _pwrite(fd: int, view: memoryview, offset: int) -> int:
        return os.pwrite(fd, view, offset)

    def _preadv(fd: int, view: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(fd, [view], offset)
        # macOS has it since its version 11.
        data = os.pread(fd, len(view), offset)
        view[: len(data)] = data
        return len(data)


class Record(io.RawIOBase):
    """One record of a store, as a file to read; processes share the descriptor but no position.

    Args:
        fd: the store's descriptor in this process.
        offset: what :meth:`Store.append` returned.
    """

    def __init__(self, fd: int, offset: int) -> None:
        self._fd = fd
        self._begin = self._at = offset + _LENGTH.size
        length = bytearray(_LENGTH.size)
        _read(fd, length, offset)
        self._end = self._at + int(_LENGTH.unpack(length)[0])

    def take(self, size: int) -> Record:
        """Return the next bytes as a record of their own, and move on behind them."""
        taken = copy.copy(self)
        taken._begin = self._at
        self._at = taken._end = self._at + size
        return taken

    def again(self) -> Record:
        """Return the same from its beginning."""
        same = copy.copy(self)
        same._at = self._begin
        return same

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer).cast("B") as view:
            view = view[: self._end - self._at]
            got = _preadv(self._fd, view, self._at) if view else 0
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
