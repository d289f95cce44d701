"""Memory that the parent shares with all workers: what each has begun, and results that it has not sent yet.

Each worker has a place in it. There it notes which items it begins: when it has died, this tells a task
that died with it from one that was only on its way to it. And it keeps there the results of short tasks
that it will send together, so that its death costs none of them, and that the parent can fetch them when
a long task follows. The parent writes one word: to begin nothing more. A note costs less than a
microsecond, and no message.

The protocol
    A place is three words of 64 bits and the bytes of results. Each word has one writer, which writes it
    whole, at once. A *turn* is a message with work, numbered from 1 for each worker.

    ========  ======  =============================================================================
    word      writer  value
    ========  ======  =============================================================================
    `BEGUN`   worker  turn ``<< 32 |`` items of this turn that it has begun (turn modulo 2**32)
    `KEPT`    worker  index of the first result that is kept ``<< 32 |`` flag, turn, bytes of all
    `STOP`    parent  last turn that it applies to ``<< 3 | lag << 2 |`` how much may still begin
    ========  ======  =============================================================================

    The worker, in this order:

    1. comes to a turn: ``KEPT = 0``, then ``BEGUN = (turn, 0)``;
    2. for each item: ``BEGUN = (turn, index + 1)``, *then* reads ``STOP``;
    3. if ``STOP`` refuses the item: ``BEGUN = (turn, index)``, which withdraws the note; sends what is
       kept; sends STOPPED with the index; begins no more of this turn;
    4. otherwise runs it, and sends its outcome, or writes the result behind those that are kept and then
       ``KEPT``;
    5. sends what is kept, *then* ``KEPT = (next index, nothing)``, and only then writes over it.

    The parent, in this order:

    1. writes ``STOP``, *then* reads ``BEGUN``;
    2. takes a value of ``BEGUN`` for settled when two looks, the second at least `SETTLE_SECONDS` after the
       first, have found ``BEGUN`` and ``KEPT`` unchanged. Processors let others see a write within a
       microsecond, whether or not the process that made it goes on; the wait is longer than two of those. So
       the worker had either noted the next item in the first, and the note would have been seen, or it
       reads ``STOP`` after that note and refuses. No value of ``KEPT`` is that of another turn;
    3. takes back what is behind a settled ``BEGUN``, and nothing else;
    4. copies kept results when the words are settled, and uses the copy when a third look, again
       `SETTLE_SECONDS` later, finds that they have not moved. Had they been written over meanwhile,
       the write to ``KEPT`` that comes before it would be visible. It reads all frames in between.

    A frame that was received lets the parent read all that the worker wrote before it sent the frame: the
    kernel takes the same lock in both processes.

    Of a worker that has ended, all words are final: the item behind the last outcome is to blame if
    ``BEGUN`` counts it, and was never run if not.

    ``STOP`` always lets the first item of the worker's present turn run, unless the worker is to be killed:
    whatever was given makes progress, so that giving and taking back cannot go on without an outcome. That an
    item is noted as begun is not enough: the worker may be just about to refuse it.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import mmap
import os
import resource
from typing import NamedTuple

from .._nameless_files import new_file

__all__ = [
    "BEGUN",
    "CAN_SHARE",
    "CAPACITY",
    "HALF",
    "INTEGERS",
    "INTEGER_BYTES",
    "KEPT",
    "SETTLE_SECONDS",
    "STOP",
    "TURN_SHIFT",
    "Board",
    "May",
    "Place",
    "Words",
    "open_board",
]

# Where pointers have 32 bits, a word of 64 is written in two steps.
CAN_SHARE = os.name == "posix" and sys.maxsize > 1 << 32

# Time after which what a processor has written is visible to all others; it takes less than a microsecond.
SETTLE_SECONDS = 0.002

# Indexes of the words in a place. The worker writes its own itself: a call would cost as much again.
BEGUN, STOP, KEPT = 0, 1, 2
_HEAD = 24
# BEGUN and KEPT are two halves of so many bits.
HALF = 32
_LOW = (1 << HALF) - 1
# In the lower half of KEPT: the results are integers of this size, and not pickles.
INTEGERS = 1 << 31
INTEGER_BYTES = 8
# Then the lowest bits of the turn, and the bytes of all.
_SIZE_BITS = 16
_SIZE = (1 << _SIZE_BITS) - 1
_TAG = INTEGERS - 1 & ~_SIZE
# STOP: where the turn begins, and the flag that it is the one behind the worker's present turn.
TURN_SHIFT = 3
_LAG = 1 << 2
PLACE_BYTES = 1 << 14
# Bytes of results.
CAPACITY = PLACE_BYTES - _HEAD
# More workers than this at once are possible only where very many take their time to leave. Those
# without a place are taken to have begun whatever they were given.
PLACES = 4096
# Where files or address space are limited there are fewer, but so many at least.
FEWEST_PLACES = 4
# Of the address space that a process may have, the board takes at most this part.
SHARE_OF_SPACE = 1 / 64


class May:
    """What a worker that is stopped may still begin of its present turn; the lowest bits of STOP."""

    NOTHING = 0
    FIRST = 1
    ALL = 2
    MASK = 3


class Words(NamedTuple):
    """What a worker has written: see the protocol for what may be concluded from it."""

    begun: int
    kept: int

    def begun_in(self, turn: int) -> int | None:
        """Return how many items of this turn are noted as begun.

        Returns:
            0 also where the worker has not come to this turn; None: it has come to a later one.
        """
        ahead = ((self.begun >> HALF) - turn) & _LOW
        if ahead:
            # Numbers of turns begin anew after 2**32; the worker is at most one turn from the parent's.
            return None if ahead < 1 << HALF - 1 else 0
        return self.begun & _LOW


class Board:
    """The parent's side; used by one thread.

    Attributes:
        fd: the descriptor of the memory, for the supervisor.
    """

    def __init__(self) -> None:
        self.fd = new_file("board")
        places, self._memory = _map(self.fd)
        self._words = memoryview(self._memory).cast("Q")
        self._free = list(range(places - 1, -1, -1))

    def take(self) -> int | None:
        """Return a place for a new worker; None when all are taken."""
        if not self._free:
            return None
        place = self._free.pop()
        at = _at(place)
        self._words[at : at + _HEAD // 8] = _ZEROS
        return place

    def give_back(self, place: int | None) -> None:
        """Take note that the worker of this place is gone."""
        if place is not None:
            self._free.append(place)

    def words(self, place: int) -> Words:
        """Return what the worker has written."""
        at = _at(place)
        return Words(self._words[at + BEGUN], self._words[at + KEPT])

    def has_begun(self, place: int | None, turn: int, index: int) -> bool:
        """Return whether a worker that has ended had begun this item of this turn."""
        if place is None:
            return True
        begun = self.words(place).begun_in(turn)
        return begun is not None and begun > index

    def stop(self, place: int, present: int, last: int, may: int) -> None:
        """Have the worker begin nothing more of what it has been given.

        Args:
            place: the worker's.
            present: the turn that it is in, as far as is known.
            last: the turn that it was given last; it is the present one or the next.
            may: what it may still begin of the present turn, one of ``May``.
        """
        lag = _LAG if last > present else 0
        self._words[_at(place) + STOP] = last << TURN_SHIFT | lag | may

    def kept(self, place: int) -> tuple[int, bytes | list[int]]:
        """Return the results that the worker keeps: index of the first one, and all.

        They are one pickle after the other, each with its size before it, or integers.
        """
        word = self._words[_at(place) + KEPT]
        start = place * PLACE_BYTES + _HEAD
        data = self._memory[start : start + (word & _SIZE)]
        return word >> HALF, list(memoryview(data).cast("q")) if word & INTEGERS else data

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()
        self._memory.close()
        os.close(self.fd)


_ZEROS = memoryview(bytes(_HEAD)).cast("Q")


def _map(fd: int) -> tuple[int, mmap.mmap]:
    """Make room for as many places as may be; return their number, and the memory."""
    places = PLACES
    # As with ``ulimit -v``. Threads need most of it, which reserve much and use little.
    space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if space != resource.RLIM_INFINITY:
        places = max(FEWEST_PLACES, min(places, int(space * SHARE_OF_SPACE) // PLACE_BYTES))
    while True:
        try:
            # Memory is taken by what is written to only.
            os.ftruncate(fd, places * PLACE_BYTES)
            return places, mmap.mmap(fd, places * PLACE_BYTES)
        except OSError:
            # ``ulimit -f`` is meant for files, but holds here too.
            if places <= FEWEST_PLACES:
                os.close(fd)
                raise
            places //= 2


def _at(place: int) -> int:
    return place * PLACE_BYTES // 8


def open_board(fd: int) -> mmap.mmap:
    """Return the memory for a worker, or for those who fork workers, and close the descriptor."""
    try:
        return mmap.mmap(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


class Place:
    """A worker's own place on the board.

    Args:
        memory: the board; None where it could not be shared.
        place: number of the place; None where the worker has none.

    Attributes:
        shared: the parent reads what is written here.
        words: numbers; which is which say the names in this module.
        results: where results are kept.
        tag: bits of KEPT that tell the turn.
    """

    def __init__(self, memory: mmap.mmap | None, place: int | None) -> None:
        self.shared = memory is not None and place is not None
        view = memoryview(bytearray(PLACE_BYTES))
        if memory is not None and place is not None:
            view = memoryview(memory)[place * PLACE_BYTES : (place + 1) * PLACE_BYTES]
        self.words = view[:_HEAD].cast("Q")
        self.results = view[_HEAD:]
        self.tag = 0

    def begin(self, turn: int) -> int:
        """Note that the worker has come to this turn; return its BEGUN with no item begun."""
        words = self.words
        words[KEPT] = 0
        self.tag = (turn << _SIZE_BITS) & _TAG
        words[BEGUN] = none_begun = (turn & _LOW) << HALF
        return none_begun

    def refuses(self, turn: int, index: int) -> bool:
        """Return whether this item is not to be begun, which is noted as begun already."""
        stop = self.words[STOP]
        last = stop >> TURN_SHIFT
        if last < turn:
            return False
        present = last - 1 if stop & _LAG else last
        if turn != present:
            # The one behind; or one that the parent has all outcomes of, whose rest it has taken back.
            return True
        may = stop & May.MASK
        return may == May.NOTHING or (may == May.FIRST and index > 0)
