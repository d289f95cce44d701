"""Waits for the ends of processes that are not our children, by the process descriptors of Linux."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _portable takes its place")

import os
import select
from time import monotonic

__all__ = ["await_ends"]

# The kernel needs next to nothing for it; one that is stuck in the kernel is not waited for.
ENDS_SECONDS = 1.0


def await_ends(pids: list[int]) -> set[int]:
    """Wait until processes that are being killed are gone.

    Args:
        pids: their process ids; those that are gone already do not matter.

    Returns:
        Those that are not known to be gone: they are stuck in the kernel, or this system has no such
        descriptors, so that nothing was waited for.
    """
    if not hasattr(os, "pidfd_open"):
        return set(pids)
    poll = select.poll()
    fds: dict[int, int] = {}
    unknown = set()
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        except OSError:
            # No descriptor is left, or the kernel is too old.
            unknown.add(pid)
            continue
        fds[fd] = pid
        poll.register(fd, select.POLLIN)
    deadline = monotonic() + ENDS_SECONDS
    while fds and (left := deadline - monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            del fds[fd]
            os.close(fd)
    for fd in fds:
        os.close(fd)
    return unknown.union(fds.values())
