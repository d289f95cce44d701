"""Tells the callers that must never block: done-callbacks, coroutines, and tasks in this process.

A coroutine that waits for a slot stops the event loop, and with it perhaps the very code that
would let a slot become free. So such a caller is admitted above the bound, and so is a plain function that it
calls, at any depth. A notebook's kernel runs a cell, too, from a coroutine. That is the user's own code and
has the loop for itself, so it blocks: the top level of a module, between the two, is where the coroutine is
out of reach.

A task that submits to its own executor holds a slot itself, and others may hold all that are left.
"""

from __future__ import annotations

import inspect
import sys
from types import FrameType

from .._log import Log
from .callbacks import delivering

__all__ = ["TellOnce", "must_not_block", "outer_frame"]

_log = Log()

_PACKAGE = __name__.partition(".")[0]

_RUN_IN_EXECUTOR = "run_in_executor"
_COROUTINE = "the coroutine"

_ASYNC = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

# The first names that the body of a class uses, which has no locals as functions do, either.
_BEGIN_OF_CLASS = ("__name__", "__module__")


def must_not_block(frame: FrameType | None, own: bool = False) -> str | None:
    """Say why the code running in ``frame`` must not be blocked; None when it may be.

    Args:
        frame: the caller's.
        own: it is on a thread that the executor would wait for.

    Returns:
        What it is, as the log names it.
    """
    if delivering():
        return "a done-callback"
    if own:
        return "one of the executor's own tasks"
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or frame is None:
        return None
    try:
        asyncio.get_running_loop()
    except (RuntimeError, AttributeError):
        return None
    # A loop written in C has no frame of its own; then this is the function that called it.
    code = frame.f_code
    if not code.co_flags & _ASYNC and "run_in_executor" in (code.co_name, *code.co_names):
        return _RUN_IN_EXECUTOR
    while frame is not None:
        code = frame.f_code
        if code.co_flags & _ASYNC:
            return f"{_COROUTINE} {code.co_name}"
        if _is_top_level(frame):
            return None
        frame = frame.f_back
    return None


def _is_top_level(frame: FrameType) -> bool:
    """Return whether a frame is that of the top level of a module, or of a notebook's cell."""
    code = frame.f_code
    if code.co_flags & inspect.CO_OPTIMIZED:
        return False
    if frame.f_locals is frame.f_globals:
        return True
    # Since Python 3.12 a comprehension has no frame of its own. Its variables are the only ones that code
    # outside of functions can have, and while it runs a frame's locals are another object.
    return code.co_nlocals > 0 and code.co_names[:2] != _BEGIN_OF_CLASS


def _is_of_package(frame: FrameType) -> bool:
    package = frame.f_globals.get("__package__")
    return isinstance(package, str) and package.partition(".")[0] == _PACKAGE


def outer_frame() -> FrameType | None:
    """Return the frame of the code outside of this package that led here."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_of_package(frame):
        frame = frame.f_back
    return frame


class TellOnce:
    """Says in the log, at the first time, that a caller was admitted above the bound."""

    def __init__(self) -> None:
        self._told = False

    def __call__(self, reason: str, queue_size: int) -> None:
        """Say it.

        Args:
            reason: what :func:`must_not_block` has returned.
            queue_size: the bound.
        """
        if self._told:
            return
        self._told = True
        of_a_loop = reason == _RUN_IN_EXECUTOR or reason.startswith(_COROUTINE)
        _log.warning(
            "a task was submitted by %s while all of queue_size=%d tasks were unfinished, and "
            "admitted above the bound, since waiting there could block without end. %s, "
            "or use submit_nowait, which raises QueueFull, to stay within it.",
            reason,
            queue_size,
            "Use asubmit, which waits while the event loop goes on"
            if of_a_loop
            else "Submit from another thread",
        )
