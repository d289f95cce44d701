"""What ends a run with one line on standard error."""

from __future__ import annotations

import contextlib
import sys

__all__ = ["PROGRAM", "Unusable", "one_line", "say"]

PROGRAM = "bounded-executor"


class Unusable(Exception):
    """Something the user gave cannot be used; the message is one line that names it."""


def one_line(error: BaseException) -> str:
    """Return ``TypeName: message`` with the message's first line only."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def say(text: str) -> None:
    """Write one line of ours to standard error."""
    if sys.stderr is None:
        # `print` would take standard output.
        return
    # It may be closed, or nothing reads it any more, as after `2>&1 | head`. The run goes on.
    with contextlib.suppress(OSError, ValueError):
        # The newline in the same write: more than one thread says something.
        print(f"{PROGRAM}: {text}\n", end="", file=sys.stderr, flush=True)
