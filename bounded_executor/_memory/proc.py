"""What /proc says of a process's memory, in bytes. Task processes read it, so it imports next to nothing."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

__all__ = ["CAN_MEASURE", "data_size", "kernel_text", "peak", "resident"]

CAN_MEASURE = os.path.exists("/proc/self/statm")

_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def resident(pid: int | str = "self") -> int:
    """Return a process's resident memory now; 0 when it is gone or cannot be read."""
    return _statm(pid, 1)


def data_size() -> int:
    """Return what the kernel counts of this process against ``RLIMIT_DATA``."""
    return _statm("self", 5)


def peak(usage: Any) -> int:
    """Return the most memory that a process ever had resident, from its resource usage."""
    # In kilobytes, but for macOS.
    return int(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024)


def kernel_text(path: str | os.PathLike[str]) -> str:
    """Return what is in a file of /proc or /sys, whose paths may be any bytes; raises OSError."""
    with open(path, "rb") as file:
        return os.fsdecode(file.read())


def _statm(pid: int | str, field: int) -> int:
    with contextlib.suppress(OSError, IndexError), open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[field]) * _PAGE
    return 0
