"""Where a task process keeps the results of short tasks, to send many in one message.

None is kept for longer than a moment while other tasks go on, and none only in the memory of the
process: each stands on the board (``_ipc.scoreboard``) before the next task begins. If the process dies, or a
long task follows, the parent finds it there.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from .._ipc.frames import Kind
from .._ipc.scoreboard import CAPACITY, HALF, INTEGER_BYTES, INTEGERS, KEPT, Place
from .._serialize import pickling
from .._serialize.outcomes import ATOMS, SIZE
from .._serialize.payload import Parts

__all__ = ["Outbox"]

# How long a result may be kept while others follow.
KEEP_SECONDS = 0.002
# What is longer is not pickled a second time, with others.
ATOM_BYTES = 1 << 10


class Outbox:
    """Keeps results of one piece of work, and sends them.

    Args:
        place: the process's own on the board.
        write: writes a frame.
    """

    def __init__(self, place: Place, write: Callable[..., None]) -> None:
        self._place = place
        self._words = place.words
        self._results = place.results
        self._integers = place.results.cast("q")
        self._write = write
        self._work = 0
        self._first = 0
        self._filled = 0
        self._count = 0
        self._values: list[Any] = []
        # All results of this work so far are integers, and stand on the board as such.
        self._all_integers = True
        self._since = 0.0
        self._tag = 0
        # The word KEPT, as long as all results are integers.
        self._kept = 0

    def begin(self, work: int, now: float) -> None:
        """Take results of this work from now on; the place must have come to its turn."""
        self._work = work
        self._first = self._filled = self._count = 0
        self._all_integers = True
        self._since = now
        self._tag = self._place.tag
        self._kept = INTEGERS | self._tag

    def add(self, result: Any) -> float:
        """Keep the next item's result, or send it.

        Returns:
            What the clock says, read when the parent could see it.

        Raises:
            BaseException: it cannot be pickled; then nothing has happened.
        """
        # Once for each task, and for the shortest ones a third of what they cost: hence no calls.
        if self._all_integers:
            count = self._count
            try:
                if type(result) is not int:
                    raise ValueError
                self._integers[count] = result
            except (ValueError, IndexError):
                # Another kind, too long, or one too many.
                self.flush(perf_counter())
                self._all_integers = False
            else:
                self._count = count + 1
                self._kept = kept = self._kept + INTEGER_BYTES
                self._words[KEPT] = kept
                now = perf_counter()
                if now - self._since > KEEP_SECONDS:
                    self.flush(now)
                return now
        atom = type(result) in ATOMS
        body = pickle.dumps(result, pickle.HIGHEST_PROTOCOL) if atom else pickling.dump_parts(result)
        size = len(body)
        start = self._filled + SIZE.size
        if start + size > CAPACITY or isinstance(body, Parts):
            return self._send_long(body)
        results = self._results
        SIZE.pack_into(results, self._filled, size)
        results[start : start + size] = body
        self._filled = end = start + size
        self._count += 1
        self._words[KEPT] = self._first << HALF | self._tag | end
        if atom and size <= ATOM_BYTES:
            self._values.append(result)
        # Not before: the parent no longer looks for what it has seen to take long until here.
        now = perf_counter()
        if now - self._since > KEEP_SECONDS:
            self.flush(now)
        return now

    def _send_long(self, body: bytes | Parts) -> float:
        now = perf_counter()
        self.flush(now)
        self.send(self._work, self._first, now - self._since, body)
        self.skip(self._first, now)
        return now

    def send(self, work: int, index: int, seconds: float, body: bytes | Parts) -> None:
        """Send a single result."""
        if isinstance(body, Parts):
            self._write(Kind.RESULT_PARTS, work, index, seconds, body.body())
        else:
            self._write(Kind.RESULT, work, index, seconds, body)

    def skip(self, index: int, now: float) -> None:
        """Note that an item's outcome was sent; nothing may be kept.

        Args:
            index: the item's. What a signal's handler raised may have come when its result was kept already.
            now: what the clock says.
        """
        self._first = index + 1
        self._kept = self._first << HALF | INTEGERS | self._tag
        self._since = now

    def flush(self, now: float) -> None:
        """Send what is kept."""
        count = self._count
        if not count:
            return
        seconds = now - self._since
        if self._all_integers:
            body = pickle.dumps(self._integers[:count].tolist(), pickle.HIGHEST_PROTOCOL)
            self._write(Kind.TOGETHER, self._work, self._first, seconds, body, count)
        elif len(self._values) == count:
            body = pickle.dumps(self._values, pickle.HIGHEST_PROTOCOL)
            self._write(Kind.TOGETHER, self._work, self._first, seconds, body, count)
        else:
            body = bytes(self._results[: self._filled])
            self._write(Kind.EACH, self._work, self._first, seconds, body, count)
        self._values.clear()
        self._first += count
        self._filled = self._count = 0
        self._kept = self._first << HALF | INTEGERS | self._tag
        self._since = now
        # Only now: until they are sent, the parent must find them here.
        self._words[KEPT] = self._first << HALF
