"""Locks that no handler of a signal can leave locked.

A ``with`` statement looks after a lock from when ``__enter__`` has returned. Locks are written in C, so that
no handler runs in between, which may raise: Ctrl-C, or an alarm clock. In Python 3.14 one does run, which is
CPython issue 148874, mended in 3.15: all others would wait for that lock without end. A lock is acquired by
a loop's step there, after which no handler runs before the statement looks after it.
"""

from __future__ import annotations

import sys
import threading
from operator import attrgetter
from typing import Any

__all__ = ["Condition", "Lock", "RLock"]


class Condition(threading.Condition):
    """A condition whose lock no signal's handler can leave locked.

    A ``with`` statement looks these two up before it enters, and then calls methods that are written in C.
    Those of the base class are written in Python, and can be interrupted.
    """

    __enter__ = property(attrgetter("_lock.__enter__"))  # pyright: ignore[reportAssignmentType]
    __exit__ = property(attrgetter("_lock.__exit__"))  # pyright: ignore[reportAssignmentType]


if sys.version_info[:2] == (3, 14):

    def _enter(self: Any) -> Any:
        for acquired in iter(self._lock.acquire, None):
            return acquired

    Condition.__enter__ = _enter

    class _Lock:
        __slots__ = ("_lock",)

        def __init__(self, lock: Any) -> None:
            self._lock = lock

        __enter__ = _enter
        __exit__ = property(attrgetter("_lock.__exit__"))

        def __getattr__(self, name: str) -> Any:
            return getattr(self._lock, name)

    def Lock() -> Any:
        """Return a lock as :class:`threading.Lock` is one."""
        return _Lock(threading.Lock())

    def RLock() -> Any:
        """Return a lock as :class:`threading.RLock` is one."""
        return _Lock(threading.RLock())

else:
    Lock = threading.Lock
    RLock = threading.RLock
