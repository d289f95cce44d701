"""Results of several items that arrive together."""

from __future__ import annotations

import pickle
import struct
from typing import Any

__all__ = ["ATOMS", "SIZE", "Group"]

# What is made of these needs no code of the user's, and cannot fail on either side.
ATOMS = frozenset({int, float, bool, str, bytes, type(None)})
# Stands before each result that is pickled by itself.
SIZE = struct.Struct("<I")


class Group:
    """Results of items that follow each other, still pickled.

    Args:
        body: one pickle of a list of all; or one pickle after the other, each with its size before it.
        count: how many there are.
        together: it is one pickle; only ``ATOMS`` are.
        skip: so many at the beginning are not wanted.
    """

    __slots__ = ("_body", "_skip", "count", "size", "together")

    def __init__(self, body: bytes | bytearray, count: int, together: bool, skip: int = 0) -> None:
        self._body = body
        self._skip = skip
        self.together = together
        self.count = count - skip
        self.size = len(body)

    @classmethod
    def left_behind(cls, body: bytes | list[int], skip: int) -> Group | None:
        """Return the group that a child has left behind; None where nothing in it is wanted.

        Args:
            body: as ``Board.unsent`` returns it.
            skip: so many at the beginning are not wanted.
        """
        if skip < 0:
            raise RuntimeError(f"results were left behind whose first is {-skip} behind the one that is due")
        if isinstance(body, list):
            pickled = pickle.dumps(body, pickle.HIGHEST_PROTOCOL)
            return cls(pickled, len(body), True, skip) if len(body) > skip else None
        count = at = 0
        while at < len(body):
            at += SIZE.size + SIZE.unpack_from(body, at)[0]
            count += 1
        return cls(body, count, False, skip) if count > skip else None

    def values(self) -> list[Any]:
        """Return the results, where they are one pickle; that never fails."""
        values: list[Any] = pickle.loads(self._body)
        if self._skip:
            del values[: self._skip]
        if len(values) != self.count:
            raise RuntimeError(
                f"{len(values)} results came for {self.count} items, after {self._skip} that were known"
            )
        return values

    def each(self) -> list[tuple[bool, bytes | bytearray]]:
        """Return them as one returns single outcomes, where they are not."""
        found = []
        at = 0
        for _ in range(self.count + self._skip):
            (size,) = SIZE.unpack_from(self._body, at)
            at += SIZE.size
            found.append((True, self._body[at : at + size]))
            at += size
        return found[self._skip :]
