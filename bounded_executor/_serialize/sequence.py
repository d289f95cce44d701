"""Pickles of several values, one after the other, for a reader to whom what they share is one object.

The reader may have some of the values already, because it has imported the script that has made them. It
keeps these, and what other values share with them becomes the reader's own. Such a value is found by pickling
the reader's: the bytes are the same.

A pickler numbers the objects that it has pickled, and refers to them by these numbers. Comparing and loading
take turns, so the reader carries the numbers from its pickler to its unpickler and back. After each value
the writer puts a mark, a string that no value has. Its number tells how many objects came before the next
value.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from .pickling import GlobalPickler, References, Start
from .store import Comparing, Record

__all__ = ["Reader", "Writer"]

_MARK = "end of value"


class _Switch:
    """A file that stands for another one, since a pickler keeps the file that it began with."""

    file: Any = None

    def write(self, data: Any) -> Any:
        return self.file.write(data)

    def read(self, size: int) -> Any:
        return self.file.read(size)

    def readline(self) -> Any:
        return self.file.readline()

    def readinto(self, buffer: Any) -> Any:
        return self.file.readinto(buffer)

    def peek(self, size: int) -> Any:
        return self.file.peek(size)


class Writer:
    """Pickles values one after the other; a value that cannot be pickled makes it unusable.

    Args:
        start: takes what a starting process must be given.
        references: how to refer to the main module's objects.
        known: objects that the reader has already, in the order in which it will name them.
    """

    def __init__(self, start: Start, references: References, known: Sequence[Any]) -> None:
        self._to = _Switch()
        self._pickler = GlobalPickler(self._to, start, references)
        if known:
            self._pickler.memo = _numbered(known)
        self._count = len(known)

    def add(self, value: Any) -> tuple[memoryview, int, bool]:
        """Pickle a value.

        Returns:
            The pickle with its mark; how many objects had numbers before; whether the value is one of these.
        """
        before = self._count
        self._to.file = buffer = io.BytesIO()
        self._pickler.dump(value)
        is_known = _number_in(buffer.getbuffer()[:16]) is not None
        mark = _new_mark()
        self._pickler.dump(mark)
        self._to.file = again = io.BytesIO()
        self._pickler.dump(mark)
        number = _number_in(again.getbuffer())
        assert number is not None
        self._count = number + 1
        return buffer.getbuffer(), before, is_known


def _numbered(objects: Iterable[Any]) -> dict[int, tuple[int, Any]]:
    """Return a pickler's memo in which each object has its place as its number."""
    memo: dict[int, tuple[int, Any]] = {}
    for number, one in enumerate(objects):
        # The next number is the size of the memo, so an object that comes twice must count twice.
        kept = object() if id(one) in memo else one
        memo[id(kept)] = number, kept
    return memo


def _new_mark() -> str:
    # A new object each time: the pickler knows strings by their identity.
    return "".join([_MARK, " "])


def _number_in(pickled: memoryview) -> int | None:
    """Return the number in the pickle of an object that was pickled before; None for any other pickle."""
    body = bytes(pickled[2:])
    if body.startswith(pickle.FRAME):
        body = body[9:]
    if body.startswith(pickle.BINGET) and body[2:3] == pickle.STOP:
        return body[1]
    if body.startswith(pickle.LONG_BINGET) and body[5:6] == pickle.STOP:
        return int.from_bytes(body[1:5], "little")
    return None


class _Unpickler(pickle.Unpickler):
    def __init__(self, objects: list[Any]) -> None:
        self._objects = objects
        self._from = _Switch()
        super().__init__(self._from)
        if objects:
            # Its memo cannot be set: Python's own setter loses what it is given.
            numbers = b"".join(b"J" + struct.pack("<i", number) + b"Q\x940" for number in range(len(objects)))
            self.read_on(io.BufferedReader(io.BytesIO(b"\x80\x05" + numbers + b"N.")))
            self.load()

    def persistent_load(self, number: int) -> Any:
        return self._objects[number]

    def read_on(self, file: io.BufferedReader) -> None:
        self._from.file = file


class Reader:
    """Reads what a :class:`Writer` has written, each value in its turn.

    Args:
        references: how values of this process are pickled to be compared.
        known: what the writer was given as ``known``.
    """

    def __init__(self, references: References, known: Sequence[Any]) -> None:
        self._references = references
        # What has numbers is in one of these three.
        self._objects: list[Any] | None = list(known)
        self._pickler: GlobalPickler | None = None
        self._unpickler: Any = None
        self._to = _Switch()

    def is_next(self, value: Any, record: Record, before: int) -> bool:
        """Return whether the next value is the same as this one; if so, take this one for it.

        Args:
            value: one of this process.
            record: has the pickle; it is read.
            before: how many objects had numbers before.
        """
        pickler = self._pickler
        if pickler is None:
            start = Start()
            # What is shared between processes is the writer's, even where the reader has made the like.
            start.begun, start.stands_in = True, False
            pickler = GlobalPickler(self._to, start, self._references)
            pickler.memo = _numbered(self._take())
        self._to.file = Comparing(record)
        self._pickler = pickler
        try:
            pickler.dump(value)
            pickler.dump(_new_mark())
            if record.left == 0:
                return True
        except Exception:
            # It may be that the value cannot be pickled. It is another one then.
            pass
        self._objects = self._take()[:before]
        return False

    def load(self, file: Any) -> Any:
        """Return the next value.

        Args:
            file: has the pickle.
        """
        if self._unpickler is None:
            self._unpickler = _Unpickler(self._take())
        data = io.BufferedReader(file, 1 << 16)
        self._unpickler.read_on(data)
        value = self._unpickler.load()
        self._unpickler.load()
        return value

    def replace(self, value: Any, own: Any) -> None:
        """Have values that follow refer to ``own`` where they have ``value``."""
        self._objects = [own if one is value else one for one in self._take()]

    def _take(self) -> list[Any]:
        """Return what has numbers, by number, from where it is."""
        objects = self._objects
        if objects is None:
            pickler = self._pickler
            numbered = self._unpickler.memo.copy() if pickler is None else dict(pickler.memo.values())
            objects = [numbered[number] for number in range(len(numbered))]
        self._objects = self._pickler = self._unpickler = None
        return objects
