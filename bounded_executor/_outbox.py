"""Where a task process keeps the results of short tasks, to send many in one message.

None is kept for longer than a moment while other tasks go on, and none only in the memory of the
process: each stands on the board (``_board``) before the next task begins. If the process dies, or a
long task follows, the parent finds it there.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from time import perf_counter
from typing import Any

from . import _pickling
from ._board import CAPACITY, Place
from ._outcomes import ATOMS, SIZE
from ._wire import Kind

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
        self._write = write
        self._work = 0
        self._first = 0
        self._filled = 0
        self._count = 0
        self._values: list[Any] = []
        self._since = 0.0

    def begin(self, work: int) -> None:
        """Take results of this work from now on."""
        self._work = work
        self._first = self._filled = self._count = 0
        self._place.belongs(work)

    def add(self, index: int, result: Any, began: float, now: float) -> None:
        """Keep the result of an item, or send it.

        Raises:
            BaseException: it cannot be pickled; then nothing has happened.
        """
        body = _pickling.dump(result)[0]
        end = self._filled + SIZE.size + len(body)
        if end > CAPACITY:
            self.flush(began)
            end = SIZE.size + len(body)
            if end > CAPACITY:
                self._write(Kind.RESULT, self._work, index, now - began, body)
                return
        if not self._count:
            self._first = index
            self._since = began
        results = self._place.results
        SIZE.pack_into(results, self._filled, len(body))
        results[self._filled + SIZE.size : end] = body
        self._filled = end
        self._place.filled(self._first, end)
        self._count += 1
        if type(result) in ATOMS and len(body) <= ATOM_BYTES:
            self._values.append(result)
        if now - self._since > KEEP_SECONDS:
            self.flush(now)

    def flush(self, now: float | None = None) -> None:
        """Send what is kept."""
        count = self._count
        if not count:
            return
        seconds = (perf_counter() if now is None else now) - self._since
        if len(self._values) == count:
            body = pickle.dumps(self._values, pickle.HIGHEST_PROTOCOL)
            self._write(Kind.TOGETHER, self._work, self._first, seconds, body, count)
        else:
            body = bytes(self._place.results[: self._filled])
            self._write(Kind.EACH, self._work, self._first, seconds, body, count)
        self._values.clear()
        self._first += count
        self._filled = self._count = 0
        # Only now: until they are sent, the parent must find them here.
        self._place.filled(self._first, 0)
