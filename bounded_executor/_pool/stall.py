"""Notices that nothing comes back any more: a run that is stuck looks like one that is slow.

Used by the thread of the backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic
from typing import Protocol

from .._core.work import Work
from .._log import Log
from .._memory import proc

__all__ = ["StallWatch"]

_log = Log()

# Tasks that the log names.
SHOWN = 5


class Process(Protocol):
    """A task process, as far as it is looked at here; see ``_pool.workers.Child``."""

    pid: int | None
    work: Work | None
    since: float


class Processes(Protocol):
    """All task processes of an executor; see ``_pool.workers.Roster``."""

    def __len__(self) -> int: ...

    def working(self) -> Iterable[Process]: ...

    def starting(self) -> Iterable[Process]: ...


class StallWatch:
    """Says once, for each time that nothing comes back, which tasks are stuck.

    Args:
        seconds: for how long nothing may come back; None: for ever.
        processes: who runs what.
    """

    def __init__(self, seconds: float | None, processes: Processes) -> None:
        self._seconds = seconds
        self._processes = processes
        self._last = monotonic()
        self._told = False

    def heard(self, now: float) -> None:
        """Note that something has come back, or has begun after nothing was there."""
        self._last = now
        self._told = False

    def next(self) -> float | None:
        """Return when to look, on the clock of ``time.monotonic``; None where there is nothing to see."""
        if self._seconds is None or self._told or not len(self._processes):
            return None
        return self._last + self._seconds

    def look(self) -> None:
        """Log what is stuck, if it is time to."""
        due = self.next()
        now = monotonic()
        if due is None or due > now:
            return
        stuck = sorted(self._processes.working(), key=lambda child: child.since)
        starting = list(self._processes.starting())
        if not stuck and not starting:
            # Idle processes: there is nothing to wait for.
            self.heard(now)
            return
        self._told = True
        lines = [
            f"no outcome for {now - self._last:.0f} seconds (stall_warning={self._seconds}): "
            f"tasks running: {len(stuck)}, worker processes still starting: {len(starting)}"
        ]
        lines += [_describe(child, now) for child in stuck[:SHOWN]]
        if len(stuck) > SHOWN:
            lines.append(f"and {len(stuck) - SHOWN} more")
        if not stuck:
            oldest = min(child.since for child in starting)
            lines.append(
                f"the oldest process has been in its initializer or an import for {now - oldest:.0f} seconds"
            )
        _log.warning("%s", "; ".join(lines))


def _describe(child: Process, now: float) -> str:
    assert child.work is not None
    if not proc.CAN_MEASURE:
        return f"{child.work.name} in process {child.pid} for {now - child.since:.0f} seconds"
    return (
        f"{child.work.name} in process {child.pid} for {now - child.since:.0f} seconds, "
        f"{proc.resident(child.pid or 0) / 2**20:.1f} MiB"
    )
