"""Memory control groups for tests: made where this machine lets us, version 1 or 2."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from bounded_executor._memory import cgroups


class MemoryGroup:
    """A control group with a limit, and what the kernel counts in it."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self._version = version

    def command(self, *command: str) -> list[str]:
        """Return a command that runs another one inside the group."""
        return ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(self.folder), *command]

    def limit(self, size: int) -> None:
        if self._version == 1:
            (self.folder / "memory.limit_in_bytes").write_text(str(size))
            with contextlib.suppress(OSError):
                # Without it the kernel would push pages out instead of killing.
                (self.folder / "memory.swappiness").write_text("0")
        else:
            (self.folder / "memory.max").write_text(str(size))
            with contextlib.suppress(OSError):
                (self.folder / "memory.swap.max").write_text("0")

    def peak(self) -> int:
        """The most bytes that were ever charged to the group, cached files included."""
        name = "memory.max_usage_in_bytes" if self._version == 1 else "memory.peak"
        return int((self.folder / name).read_text())

    def kills(self) -> int:
        """Processes of the group that the kernel killed because its memory was used up."""
        name = "memory.oom_control" if self._version == 1 else "memory.events"
        lines = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(lines["oom_kill"])

    def remove(self) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                os.rmdir(self.folder)
                return
            except OSError:
                # Processes that are just ending still belong to it.
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


@contextlib.contextmanager
def memory_group(size: int) -> Iterator[MemoryGroup]:
    """Make a group with a limit in bytes; skip the test, with the reason, where that cannot be."""
    reasons = []
    for found in cgroups.memory_groups():
        version = 1 if (found.folder / "memory.limit_in_bytes").exists() else 2
        folder = found.folder / f"bounded-executor-test-{uuid.uuid4().hex}"
        try:
            folder.mkdir()
        except OSError as error:
            reasons.append(f"{found.folder}: {error.strerror}")
            continue
        group = MemoryGroup(folder, version)
        try:
            group.limit(size)
            group.peak()
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror}")
            group.remove()
            continue
        try:
            yield group
        finally:
            group.remove()
        return
    pytest.skip(f"no memory control group can be made here: {'; '.join(reasons) or 'none is mounted'}")
