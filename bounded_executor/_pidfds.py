"""Waits for the ends of processes that are not our children, by the process descriptors of Linux."""

from __future__ import annotations

import contextlib
import os
import select
from time import monotonic

__all__ = ["await_ends"]

# The kernel needs next to nothing for it; one that is stuck in the kernel is not waited for.
ENDS_SECONDS = 1.0


def await_ends(pids: list[int]) -> None:
    """Wait until processes that the kernel is about to kill are gone.

    Where there are no such descriptors it does not wait.

    Args:
        pids: their process ids; those that are gone already do not matter.
    """
    if not hasattr(os, "pidfd_open"):
        return
    poll = select.poll()
    fds = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            fd = os.pidfd_open(pid)
            fds.add(fd)
            poll.register(fd, select.POLLIN)
    deadline = monotonic() + ENDS_SECONDS
    while fds and (left := deadline - monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            fds.discard(fd)
            os.close(fd)
    for fd in fds:
        os.close(fd)
