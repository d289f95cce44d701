"""How much memory a tree of processes may use and does use, from /proc and the control groups of Linux.

All in bytes.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .proc import kernel_text

__all__ = ["Allowance", "granted", "memory_groups", "tree_allowance"]

# What "auto" leaves to the kernel and to everybody else.
AUTO_SHARE = 0.9


@dataclass(frozen=True)
class Allowance:
    """A limit and how to read what counts towards it.

    Attributes:
        limit: bytes that may be used.
        used: returns the bytes that are used now.
        source: where the limit comes from, for messages.
    """

    limit: int
    used: Callable[[], int]
    source: str


def tree_allowance(limit: int) -> Allowance:
    """Return an allowance for this process and all below it, shared pages counted in part."""
    return Allowance(limit, _tree_size, f"max_memory_total={limit} bytes")


def _tree_size() -> int:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                parent = int(file.read().rpartition(b")")[2].split()[1])
                children.setdefault(parent, []).append(int(name))
    total = 0
    todo = [os.getpid()]
    while todo:
        pid = todo.pop()
        todo += children.get(pid, ())
        total += _proportional(pid)
    return total


def _proportional(pid: int) -> int:
    # One that has just ended has nothing left to count.
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        for line in file:
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def granted() -> Allowance:
    """Return 90 % of what the tightest control group around this process, or the machine, grants."""
    machine = _meminfo()["MemTotal"]
    tightest = Allowance(int(machine * AUTO_SHARE), _machine_used, f"90 % of the machine's {machine} bytes")
    for group in memory_groups():
        limit = group.limit()
        if limit is not None and limit * AUTO_SHARE < tightest.limit:
            source = f"90 % of the {limit} bytes of the control group {group.folder}"
            tightest = Allowance(int(limit * AUTO_SHARE), group.used, source)
    return tightest


def _meminfo() -> dict[str, int]:
    lines = kernel_text("/proc/meminfo").splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}


def _machine_used() -> int:
    now = _meminfo()
    return now["MemTotal"] - now["MemAvailable"]


class MemoryGroup:
    """One memory control group; version 1 and 2 differ in names only."""

    def __init__(self, folder: Path, version: int) -> None:
        self.folder = folder
        self._limit = folder / ("memory.max" if version == 2 else "memory.limit_in_bytes")
        self._usage = folder / ("memory.current" if version == 2 else "memory.usage_in_bytes")
        self._prefix = "" if version == 2 else "total_"

    def limit(self) -> int | None:
        try:
            text = kernel_text(self._limit).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() else None

    def used(self) -> int:
        """Return what counts towards the limit, without cached files, which the kernel gives up first."""
        used = int(kernel_text(self._usage))
        for line in kernel_text(self.folder / "memory.stat").splitlines():
            name, _, value = line.partition(" ")
            if name in (self._prefix + "inactive_file", self._prefix + "active_file"):
                used -= int(value)
        return max(0, used)


def memory_groups() -> Iterator[MemoryGroup]:
    """Find the groups around this process, its own first, as far up as they can be seen."""
    paths: dict[int, str] = {}
    try:
        for line in kernel_text("/proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(","):
                paths[1] = path
            elif not controllers:
                paths[2] = path
        mounts = kernel_text("/proc/self/mountinfo").splitlines()
    except OSError:
        return
    for mount in mounts:
        left, _, right = mount.partition(" - ")
        kind, _, options = right.split(" ", 2)
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        if version is None or version not in paths or (version == 1 and "memory" not in options.split(",")):
            continue
        root, point = left.split()[3:5]
        path = paths[version]
        if root != "/" and path.startswith(root):
            path = path[len(root) :]
        top = Path(point)
        folder = top / path.strip("/")
        while True:
            yield MemoryGroup(folder, version)
            if folder in (top, folder.parent):
                break
            folder = folder.parent
