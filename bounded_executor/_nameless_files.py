"""Files without a name, which only processes that are handed a descriptor can open."""

from __future__ import annotations

import os
import sys

__all__ = ["new_file"]


def new_file(purpose: str) -> int:
    """Make a file that is empty; in memory where the system has such files, else a temporary one.

    Args:
        purpose: a word for tools that list the files of a process.

    Returns:
        Its descriptor, for reading and writing. Programs that this process starts do not inherit it.

    Raises:
        OSError: there is no memory or no descriptor left, or no folder for temporary files.
    """
    if sys.platform == "linux" and hasattr(os, "memfd_create"):
        return os.memfd_create(f"bounded-executor-{purpose}", os.MFD_CLOEXEC)
    # Not by all processes: it brings much along.
    import tempfile

    with tempfile.TemporaryFile(prefix=f"bounded-executor-{purpose}-") as file:
        return os.dup(file.fileno())
