"""What a task process may take of memory, as seen from inside it."""

from __future__ import annotations

import importlib
import os
from typing import Any

from .._memory import proc
from .bootstrap import Config

__all__ = ["Limits"]

# Windows has none.
resource: Any = importlib.import_module("resource") if os.name == "posix" else None


class Limits:
    """Watches one task process.

    Args:
        config: has the limits, in bytes.

    Attributes:
        any: there is a limit, or somebody wants to know what a task has taken.
    """

    def __init__(self, config: Config) -> None:
        self._per_child = config.max_memory_per_child
        self._hard = config.max_memory_hard
        self._measure = config.measure_memory
        self.any = self._measure or self._per_child is not None or self._hard is not None
        self._data: Any = getattr(resource, "RLIMIT_DATA", None)
        self._before: tuple[int, int] = (-1, -1)

    def unfit(self) -> str | None:
        """Say why no task could ever run within the limits, before the first one has run."""
        if self._per_child is not None and (size := proc.resident()) >= self._per_child:
            return f"max_memory_per_child={self._per_child} bytes is not more than the {size} bytes"
        if self._hard is not None and (size := proc.data_size()) >= self._hard:
            return f"max_memory_hard={self._hard} bytes is not more than the {size} bytes of data"
        return None

    def enter(self) -> None:
        """Put the hard ceiling up, just before user code runs."""
        if self._hard is not None:
            # Data, and not the address space: of that, each thread alone reserves tens of megabytes.
            self._before = resource.getrlimit(self._data)
            hard = self._before[1]
            soft = self._hard if hard == resource.RLIM_INFINITY else min(self._hard, hard)
            resource.setrlimit(self._data, (soft, hard))

    def leave(self) -> None:
        """Take the hard ceiling down again, so that the outcome can be reported."""
        if self._hard is not None:
            # The task may have lowered its own hard limit, and this process's with it.
            soft, hard = self._before[0], resource.getrlimit(self._data)[1]
            if hard != resource.RLIM_INFINITY and not 0 <= soft <= hard:
                soft = hard
            resource.setrlimit(self._data, (soft, hard))

    def spent(self, error: BaseException | None) -> bool:
        """Return whether this process should run no further task.

        Args:
            error: what the last task raised.
        """
        if self._exceeded(error):
            return True
        return self._per_child is not None and proc.resident() > self._per_child

    def explain(self, error: BaseException) -> None:
        """Add to a ``MemoryError``, which says nothing by itself, what it may be due to."""
        add_note: Any = getattr(error, "add_note", None)  # since Python 3.11
        if add_note is not None and self._exceeded(error):
            add_note(f"the task ran under max_memory_hard={self._hard} bytes")

    def _exceeded(self, error: BaseException | None) -> bool:
        return self._hard is not None and isinstance(error, MemoryError)

    def peak(self) -> int | None:
        """Return the most resident memory that this process ever had, if anybody wants to know."""
        return proc.peak(resource.getrusage(resource.RUSAGE_SELF)) if self._measure else None
