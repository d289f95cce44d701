"""Decides how many tasks may run at once, so that the whole tree of processes stays in its memory.

A task that is started takes its memory later, and several do so at the same time. So it is not enough
to look at what is used now: what the running ones have not taken yet is counted as if they
had, by the most that tasks were seen to take. Used by one thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from time import monotonic

from .._log import Log
from . import proc
from .cgroups import Allowance

__all__ = ["RETRY_SECONDS", "Governor"]

_log = Log()

# What a task is taken to need before one has been seen to its end.
UNKNOWN_TASK_BYTES = 32 * 2**20
# How often the memory is read at most, how long one reading may be used, and how soon to look again
# where nothing else happens: memory that becomes free says nothing.
READING_SECONDS = 0.01
FRESH_SECONDS = 0.05
RETRY_SECONDS = 0.1
# Looking through many processes takes time: for so many times as long nothing is read after it.
READING_PAUSE = 10


class Governor:
    """Keeps the tree below ``max_memory_total``, but never fewer than one task running.

    Args:
        allowance: the limit, and how to read what is used.
        max_workers: tasks that may run at once at most.
    """

    def __init__(self, allowance: Allowance, max_workers: int) -> None:
        self._allowance = allowance
        self._max_workers = max_workers
        self._task_bytes: float = UNKNOWN_TASK_BYTES
        self._seen = False
        self._used = 0
        self._taken: dict[int, int] = {}  # of that, what each running process had taken for its task
        self._next_reading = -FRESH_SECONDS  # there has been none
        self._told = False
        self.workers = 1
        """Task processes that there should be now: as many as may work, and one that is ready."""

    def tell(self) -> None:
        """Say what the limit is."""
        _log.info("the processes may take %d bytes: %s", self._allowance.limit, self._allowance.source)

    def learn(self, size: int) -> None:
        """Take note of how much more than an idle one a process took for its tasks."""
        if not self._seen or size > self._task_bytes:
            self._seen = True
            self._task_bytes = size
        else:
            # Tasks may have become lighter; a heavy one now and then is remembered for long.
            self._task_bytes += (size - self._task_bytes) / 64

    def allows(self, running: Iterable[tuple[int, int]]) -> bool:
        """Return whether one more task may be started.

        Args:
            running: process id of each process that runs a task, and its memory when it was idle.
        """
        processes = list(running)
        allowed = not processes or self._has_room(processes)
        if allowed:
            self.workers = min(self._max_workers, max(self.workers, len(processes) + 2))
        else:
            self.workers = len(processes) + 1
            if not self._told:
                self._told = True
                _log.warning(
                    "%d tasks run at once instead of %d, because the processes take %d bytes and the limit "
                    "is %s: slower, but not killed. A task %s to take %d bytes.",
                    len(processes),
                    self._max_workers,
                    self._used,
                    self._allowance.source,
                    "was seen" if self._seen else "is assumed, until one has ended,",
                    self._task_bytes,
                )
        return allowed

    def _has_room(self, processes: list[tuple[int, int]]) -> bool:
        began = monotonic()
        if began < self._next_reading + FRESH_SECONDS and self._room(processes) >= 0:
            return True
        if began < self._next_reading:
            return False
        with contextlib.suppress(OSError):
            # A control group may be gone; then the last reading has to do.
            self._used = self._allowance.used()
        self._taken = {pid: max(0, proc.resident(pid) - idle) for pid, idle in processes}
        ended = monotonic()
        self._next_reading = ended + max(READING_SECONDS, READING_PAUSE * (ended - began))
        return self._room(processes) >= 0

    def _room(self, processes: list[tuple[int, int]]) -> float:
        """Return what is left for one more task, by the last reading and what is still to come."""
        coming = self._task_bytes * (len(processes) + 1)
        taken = sum(min(self._task_bytes, self._taken.get(pid, 0)) for pid, _ in processes)
        return self._allowance.limit - self._used - coming + taken
