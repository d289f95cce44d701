"""Tells a task process from a copy of it that a task has forked.

Asking for the process id is what this could do too, at several times the price: it is asked after each
task, and also where a fork in C code went unnoticed by Python.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import mmap
import os

__all__ = ["Original"]

# Linux's number for memory that is zero in a forked copy; Python has no name for it, and other systems
# may mean something else by it.
_WIPE_ON_FORK = 18
_HAS_WIPE_ON_FORK = sys.platform.startswith("linux")


class Original:
    """Knows whether this process is the one that made it.

    Attributes:
        mark: its first item is true in the process that made it, and false in every copy.
    """

    def __init__(self) -> None:
        self.mark: mmap.mmap | _Mark = _Mark()
        if not _HAS_WIPE_ON_FORK:
            return
        try:
            memory = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            memory.madvise(_WIPE_ON_FORK)
        except (AttributeError, TypeError, OSError):
            return
        memory[0] = 1
        self.mark = memory


class _Mark:
    """Does the same where there is no such memory."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __getitem__(self, index: int) -> bool:
        return os.getpid() == self._pid
