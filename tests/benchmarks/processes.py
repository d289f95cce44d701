"""What the kernel says about a process and those below it."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def tree(root: int) -> list[int]:
    """Return the ids of a process and of all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    alive = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        if fields[0] != "Z":
            alive.add(int(name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return [pid for pid in found if pid in alive]


def pss_mb(pid: int) -> float:
    """Return the proportional set size: own memory, and of shared memory the process's part."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def own_rss_mb() -> float:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_MB


def kill_all(leader: int) -> None:
    """Kill a process that leads its own session, and everything below it."""
    for pid in tree(leader):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # Orphans are not below it any more, but still in its group.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
