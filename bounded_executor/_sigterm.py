"""Ends an executor gently at SIGTERM, which is how systemd and containers ask a program to leave.

The handler runs in the main thread wherever that is, perhaps in the middle of a step of ours. So it
only leaves a note for the executor's own thread.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Drain"]


class Drain:
    """What ``drain_on_sigterm`` returns: whether SIGTERM has come.

    Args:
        begin: has the executor drain; must not block, and take no lock.
        ended: whether the executor has ended.

    Attributes:
        requested: SIGTERM has come, and the executor accepts nothing any more.
    """

    def __init__(self, begin: Callable[[], None], ended: Callable[[], bool]) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise ValueError("drain_on_sigterm only works in the main thread, as signal handlers do")
        self.requested: bool = False
        self._pid = os.getpid()
        self._begin = begin
        self._ended = ended
        self._before: Any = _handler_of_others()
        signal.signal(signal.SIGTERM, self._handle)

    def __repr__(self) -> str:
        return f"<drain on SIGTERM: {'requested' if self.requested else 'not requested'}>"

    def restore(self) -> None:
        """Put back the handler that was there before, if ours is the one in place and may be moved."""
        ours = signal.getsignal(signal.SIGTERM) == self._handle
        # None is one that was not set from Python, and cannot be from here.
        if ours and self._before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # A forked copy of this process has the handler too, and nothing to drain.
        first = not self.requested and not self._ended() and self._pid == os.getpid()
        if first:
            self.requested = True
            self._begin()
        if callable(self._before):
            # Another executor's, or the program's own.
            self._before(number, frame)
        elif not first and self._before == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)


def _handler_of_others() -> Any:
    """Return the handler in place, or the one before it where it is that of an executor that has ended."""
    handler: Any = signal.getsignal(signal.SIGTERM)
    while isinstance(drain := getattr(handler, "__self__", None), Drain) and drain._ended():
        handler = drain._before
    return handler
