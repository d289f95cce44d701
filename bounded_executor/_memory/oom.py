"""Whether the kernel has killed a process because memory was used up, by its own counters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from . import cgroups
from .proc import kernel_text

__all__ = ["KillCounter"]


class KillCounter:
    """Looks whether the kernel's count of out-of-memory kills has grown; used by one thread.

    The counter of our own memory control group is the right one. Where there is none, that of the
    machine has to do, which counts everybody's.
    """

    def __init__(self) -> None:
        self._file: Path | None = None
        self._source = ""
        for self._file, self._source in _counters():
            break
        self._count = self._read()
        self._read_at = monotonic()

    @property
    def counts(self) -> bool:
        """Whether there is such a count."""
        return self._file is not None

    def grown(self) -> str | None:
        """Return where, and in what time, the count has grown since the last call; None when it has not."""
        before, self._count = self._count, self._read()
        began, self._read_at = self._read_at, monotonic()
        if self._count <= before:
            return None
        return f"{self._source} in the last {self._read_at - began:.0f} seconds"

    def _read(self) -> int:
        return 0 if self._file is None else _read(self._file) or 0


def _counters() -> Iterator[tuple[Path, str]]:
    for group in cgroups.memory_groups():
        for name in ("memory.events", "memory.oom_control"):
            if _read(group.folder / name) is not None:
                yield group.folder / name, f"in the memory control group {group.folder}"
    if _read(Path("/proc/vmstat")) is not None:
        yield Path("/proc/vmstat"), "on this machine"


def _read(file: Path) -> int | None:
    try:
        for line in kernel_text(file).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return None
