"""A file in memory in which a child leaves what it could not say any more: its stack, its last words.

The parent makes it and reads it when the child is dead; it has no name, and only the two know it.

A task that has run for too long is sent ``STACK_SIGNAL``. ``faulthandler`` writes the stack and then
passes the signal on to what was its handler before, which is the default: the process ends. So its
end says that the stack is complete.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    raise ImportError(f"{__name__} cannot be imported on Windows, where _adapters.portable takes its place")

import contextlib
import faulthandler
import os
import signal

from .._nameless_files import new_file

__all__ = ["STACK_SIGNAL", "Recording", "Report", "hand_on", "leave_stack", "unblock"]

# A real-time signal: the others have a meaning for some program or other.
STACK_SIGNAL = int(getattr(signal, "SIGRTMAX", getattr(signal, "SIGUSR2", 0)) or 0)
STACK_BYTES = 1 << 16
# What an error message shows of standard error.
WORDS_CHARACTERS = 4000

# Where user code is called from; what is further out is the same for all.
_OURS = tuple(os.path.join("bounded_executor", "_worker", name) for name in ("loop.py", "supervisor.py"))


class Report:
    """The parent's side of the file."""

    def __init__(self) -> None:
        self._fd = new_file("report")

    def share(self) -> int:
        """Return a new descriptor of the file, for the child."""
        return os.dup(self._fd)

    def stack(self) -> str:
        """Return the stack that the child was at, the innermost call first; empty if it left none."""
        return _without_ours(self._read(0, STACK_BYTES))

    def words(self) -> str:
        """Return the last that was written."""
        size = os.fstat(self._fd).st_size
        return _without_ours(self._read(max(0, size - STACK_BYTES), STACK_BYTES))[-WORDS_CHARACTERS:]

    def last_words(self) -> str:
        """Return the same, and close the file."""
        try:
            return self.words()
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _read(self, start: int, size: int) -> str:
        return os.pread(self._fd, size, start).decode(errors="replace")


def _without_ours(text: str) -> str:
    """Leave out how our own code came to call the task."""
    lines = []
    ours = False
    for line in text.splitlines():
        ours = line.startswith("  File ") and (ours or any(one in line for one in _OURS))
        if not ours:
            lines.append(line)
    return "\n".join(lines).strip()


def leave_stack(fd: int) -> None:
    """In a child: have ``STACK_SIGNAL`` write the stacks of all threads and end the process."""
    if hasattr(faulthandler, "register"):
        faulthandler.register(STACK_SIGNAL, fd, all_threads=True, chain=True)


def unblock() -> None:
    """In a child: let ``STACK_SIGNAL`` through, as the program may block all signals that there are."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (STACK_SIGNAL,))


class Recording:
    """In a child: standard error goes into the file, until :meth:`stop`; a crash adds its stack."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stderr = os.dup(2)
        self._enabled = faulthandler.is_enabled()
        os.dup2(fd, 2)
        faulthandler.enable(2)

    def stop(self) -> None:
        """Write what was recorded where it would have gone, and record no more."""
        if not self._enabled:
            faulthandler.disable()
        os.dup2(self._stderr, 2)
        os.close(self._stderr)
        hand_on(self._fd)


def hand_on(fd: int) -> None:
    """Write what was recorded in this file to standard error."""
    with contextlib.suppress(OSError):
        os.write(2, os.pread(fd, os.fstat(fd).st_size, 0))
        # A stack that is left later begins the file anew.
        os.ftruncate(fd, 0)
        os.lseek(fd, 0, os.SEEK_SET)
