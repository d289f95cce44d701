"""A module that takes 40 MB of memory, as large libraries and their tables do."""

from __future__ import annotations

import os
import time

# Many objects and not one block, as it is in real modules.
DATA = [bytes([number % 256]) * 4000 for number in range(10_000)]


def whoami(seconds: float) -> int:
    """Return the process id, late enough for every other worker to get a task as well."""
    # The data itself is left alone: to look at an object is to write to its page.
    assert len(DATA) == 10_000
    time.sleep(seconds)
    return os.getpid()
