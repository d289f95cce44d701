"""Which tasks have begun, and how often: each writes its number to one file."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import jobs


class RunLog:
    """The file of one executor; to be made before the executor, whose processes find it by the environment.

    Args:
        folder: a folder that only this user can read.
        first: the first number that may be given out, so that no two of a program are the same.
    """

    def __init__(self, folder: str, first: int) -> None:
        self.path = os.path.join(folder, f"runs-{first}")
        os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        os.environ[jobs.LOG] = self.path
        self._lock = threading.Lock()  # guards `next`
        self.next = first

    def idents(self, count: int) -> range:
        """Return so many numbers that nothing else has."""
        with self._lock:
            first = self.next
            self.next += count
        return range(first, first + count)

    def ident(self) -> int:
        return self.idents(1)[0]

    def runs(self) -> Counter[bytes]:
        """Return how often each task has begun; for the time after the executor's end."""
        lines = Path(self.path).read_bytes().splitlines()
        return Counter(line.split()[0] for line in lines)

    def pids(self, number: bytes) -> list[int]:
        """Return the processes that a task has begun in."""
        lines = Path(self.path).read_bytes().splitlines()
        return [int(line.split()[1]) for line in lines if line.split()[0] == number]

    def close(self) -> None:
        os.unlink(self.path)
