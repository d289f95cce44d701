"""Calls hooks at the end of the interpreter, before the executors of others are ended."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

__all__ = ["at_exit"]

_hooks: list[Callable[[], None]] = []


def at_exit(hook: Callable[[], None]) -> None:
    """Have ``hook`` called, which may be called more than once, when the interpreter ends."""
    if hook not in _hooks:
        _hooks.append(hook)
    # Anew each time: the last one registered runs first, and executors that were made meanwhile
    # register theirs when their module is imported.
    threading._register_atexit(_run)  # type: ignore[attr-defined]


def _run() -> None:
    for hook in list(_hooks):
        hook()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_hooks.clear)
