"""Waits for the ends of processes that are not our children.

On Linux by their process descriptors, elsewhere by the ends of their connections.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import os
import select
import socket
from collections.abc import Mapping
from time import monotonic

__all__ = ["await_ends"]

# The kernel needs next to nothing for it; one that is stuck in the kernel is not waited for.
ENDS_SECONDS = 1.0


def await_ends(pids: list[int], connections: Mapping[int, socket.socket] | None = None) -> set[int]:
    """Wait until processes that are being killed are gone, for a second at most.

    Args:
        pids: their process ids; those that are gone already do not matter.
        connections: our ends of their socket pairs, by process id. Where there are no process descriptors, a
            process that is being killed is gone when the kernel has closed the other end.

    Returns:
        Those that are not known to be gone: they are stuck in the kernel, or a copy that the process has
        forked holds the other end, or there is nothing to wait for.
    """
    if not hasattr(os, "pidfd_open"):
        return _await_hang_ups(pids, connections or {})
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


def _await_hang_ups(pids: list[int], connections: Mapping[int, socket.socket]) -> set[int]:
    poll = select.poll()
    fds = {connections[pid].fileno(): pid for pid in pids if pid in connections}
    for fd in fds:
        # Not for what there is to read: that is for others.
        poll.register(fd, select.POLLHUP)
    unknown = set(pids)
    deadline = monotonic() + ENDS_SECONDS
    while not unknown.isdisjoint(fds.values()) and (left := deadline - monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            poll.unregister(fd)
            unknown.discard(fds[fd])
    return unknown
