"""Memory that the parent shares with all children: what each has begun, and results it has not sent yet.

Each child has a place in it. There it notes which item it begins: when it has died, this tells a task
that died with it from one that was only on its way to it, which nobody needs to miss. And it keeps
there the results of short tasks that it will send together, so that its death costs none of them, and
that the parent can fetch them when a long task follows. The parent leaves one note: to begin nothing
more. A note costs less than a microsecond, and no message.

What is read while the child goes on writing has to be right too. Each number is written at once and
whole. The order in which they become visible is that in which they were written, at the latest a
moment later, and whoever relies on it waits for that moment.
"""

from __future__ import annotations

import mmap
import os

__all__ = [
    "CAN_SHARE",
    "CAPACITY",
    "FILLED",
    "HALF",
    "INDEX",
    "INTEGERS",
    "INTEGER_BYTES",
    "REFUSE",
    "STOP",
    "Board",
    "Place",
    "open_board",
]

CAN_SHARE = hasattr(os, "memfd_create")

# The numbers at the beginning of a place. The child writes them itself: a call would cost as much again.
TURN, INDEX = 0, 1  # what has been begun: which of the pieces of work that it was given, which item
STOP = 2  # the last turn in which no further item is to be begun
REFUSE = 3  # the last turn in which a first item is not to be begun
OWNER = 4  # the turn that the results which follow belong to
FILLED = 5  # index of the first of them in the upper half, and the bytes of all
_HEAD = 48
HALF = 32
# In the lower half: these are integers of this size, and not pickles.
INTEGERS = 1 << 31
INTEGER_BYTES = 8
PLACE_BYTES = 1 << 14
# Bytes of results.
CAPACITY = PLACE_BYTES - _HEAD
# More children than this at once are possible only where very many take their time to leave. Those
# without a place are taken to have begun whatever they were given.
PLACES = 4096
# Where the size of files is limited there are fewer, but so many at least.
FEWEST_PLACES = 4


class Board:
    """The parent's side; used by one thread.

    Attributes:
        fd: the descriptor of the memory, for the supervisor.
    """

    def __init__(self) -> None:
        self.fd = os.memfd_create("bounded-executor-board", os.MFD_CLOEXEC)
        places = _enlarge(self.fd)
        self._memory = mmap.mmap(self.fd, places * PLACE_BYTES)
        self._words = memoryview(self._memory).cast("Q")
        self._free = list(range(places - 1, -1, -1))

    def take(self) -> int | None:
        """Return a place for a new child; None when all are taken."""
        if not self._free:
            return None
        place = self._free.pop()
        # Turns begin with 1.
        for number in (TURN, INDEX, STOP, REFUSE, OWNER, FILLED):
            self._words[_at(place) + number] = 0
        return place

    def give_back(self, place: int | None) -> None:
        """Take note that the child of this place is gone."""
        if place is not None:
            self._free.append(place)

    def has_begun(self, place: int | None, turn: int, index: int) -> bool:
        """Return whether the child of this place has begun this item, as far as is known."""
        return place is None or self.begun(place, turn) == index

    def begun(self, place: int, turn: int) -> int | None:
        """Return the last item that the child has begun in this turn.

        Returns:
            -1: none yet; None: it has come to a later turn.
        """
        at = _at(place)
        now = self._words[at + TURN]
        if now != turn:
            return -1 if now < turn else None
        return self._words[at + INDEX]

    def stop(self, place: int, turn: int) -> None:
        """Have the child begin nothing more of what it has been given up to this turn."""
        self._words[_at(place) + STOP] = turn

    def refuse(self, place: int, turn: int) -> None:
        """Do the same, but for work that it has begun: that it may run to its end."""
        self._words[_at(place) + REFUSE] = turn

    def unsent(self, place: int, turn: int) -> tuple[int, bytes | list[int]]:
        """Return what the child has not sent in this turn: index of the first result, and all results.

        They are one pickle after the other, each with its size before it, or integers.
        """
        at = _at(place)
        # The owner comes first and last: what is read in between is then no other's.
        if self._words[at + OWNER] != turn:
            return 0, b""
        filled = self._words[at + FILLED]
        first, size = filled >> HALF, filled & INTEGERS - 1
        start = place * PLACE_BYTES + _HEAD
        data = self._memory[start : start + size]
        # They may have been sent, and others written in their place, while they were read.
        same = self._words[at + FILLED] >> HALF == first and self._words[at + OWNER] == turn
        if not same:
            return 0, b""
        return first, list(memoryview(data).cast("q")) if filled & INTEGERS else data

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._memory.close()
        os.close(self.fd)


def _enlarge(fd: int) -> int:
    """Make room for as many places as may be, and return their number."""
    places = PLACES
    while True:
        try:
            # Memory is taken by what is written to only.
            os.ftruncate(fd, places * PLACE_BYTES)
        except OSError:
            # ``ulimit -f`` is meant for files, but holds here too.
            if places <= FEWEST_PLACES:
                os.close(fd)
                raise
            places //= 2
        else:
            return places


def _at(place: int) -> int:
    return place * PLACE_BYTES // 8


def open_board(fd: int) -> mmap.mmap:
    """Return the memory for those who fork children, and close the descriptor."""
    try:
        return mmap.mmap(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


class Place:
    """A child's own place on the board.

    Args:
        memory: the board; None where it could not be shared.
        place: number of the place; None where the child has none.

    Attributes:
        shared: the parent reads what is written here.
        words: numbers; which is which say the names in this module.
        results: where results are kept.
    """

    def __init__(self, memory: mmap.mmap | None, place: int | None) -> None:
        self.shared = memory is not None and place is not None
        view = memoryview(bytearray(PLACE_BYTES))
        if memory is not None and place is not None:
            view = memoryview(memory)[place * PLACE_BYTES : (place + 1) * PLACE_BYTES]
        self.words = view[:_HEAD].cast("Q")
        self.results = view[_HEAD:]

    def begin(self, turn: int) -> None:
        """Note that what is begun, and the results that follow, belong to this turn."""
        words = self.words
        words[FILLED] = words[INDEX] = 0
        words[OWNER] = words[TURN] = turn
