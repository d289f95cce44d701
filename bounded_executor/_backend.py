"""What stands below the queue: the contract between an executor and whatever runs its work.

Two keep it: ``_workers`` starts task processes of its own, ``_inner`` hands work on to an executor that
exists already. The executor, its ``Core`` and its maps know nothing else of either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Protocol

from ._function import Codec
from ._work import Work

__all__ = ["Backend"]


class Backend(Protocol):
    """Runs a dispatcher's work. Has a thread of its own, which alone calls ``Dispatcher.take``.

    ``wake``, ``note``, ``discard`` and ``ignore_sigterm`` take no lock, and never block.

    Attributes:
        codec: what calls become on their way.
        travels_together: short tasks may travel together where nobody has asked for it.
        ended: all has ended, and everybody has been told.
        launched: there is a thread.
    """

    codec: Codec
    travels_together: bool
    ended: threading.Event
    launched: bool

    @property
    def capacity(self) -> int:
        """Tasks that it can run at once, as far as it knows now; at least 1."""
        ...

    def wake(self) -> None:
        """Have the thread look for work, and whether it is to end."""

    def note(self, action: Callable[[], None]) -> None:
        """Have the thread do something soon."""

    def needs(self, fn: Callable[..., Any]) -> Any:
        """Return what :meth:`start` wants to know of the first task's function; may run user code."""

    def start(self, needs: Any) -> None:
        """Start the thread.

        Raises:
            BaseException: there is none to be had, or the caller was interrupted; ``launched`` tells
                whether there is one all the same.
        """

    def wait_until_started(self) -> None:
        """Wait until the first task could be run, or the dispatcher is broken because none ever can."""

    def at_exit(self, hook: Callable[[], None]) -> None:
        """Have ``hook`` called when the interpreter ends, while work can still be run."""

    def revoke(self, work: Work) -> None:
        """End this work, which is by itself and which nobody wants any more, if it can be ended."""

    def kill(self, number: int) -> None:
        """End what runs, as far as it can be ended, where there are processes by this signal."""

    def ignore_sigterm(self) -> None:
        """Start nothing from now on that SIGTERM to all of the program's processes would end."""

    def discard(self) -> None:
        """Let go of what was opened, for an executor that ends before it started."""

    def join(self) -> None:
        """Wait until all has ended; not for a thread of its own to call."""

    def is_current(self) -> bool:
        """Whether the caller is on a thread that :meth:`join` would wait for."""
        ...

    def running(self) -> int:
        """Return how many tasks it has been given that have not ended."""
        ...

    def children(self) -> dict[str, Any]:
        """Return what it knows of processes of its own: fields of ``ExecutorStats``."""
        ...
