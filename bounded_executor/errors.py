"""The exceptions a caller can meet, and nothing else.

``BrokenProcessPool`` is the standard library's own class, so that ``except`` clauses written for
``ProcessPoolExecutor`` keep working.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

__all__ = ["BrokenProcessPool", "QueueFull", "SubmitTimeout", "TerminatedWorkerError"]


class QueueFull(Exception):
    """Raised by ``submit_nowait`` when all ``queue_size`` slots are taken or ``queue_bytes`` is reached."""


class SubmitTimeout(TimeoutError):
    """Raised by ``submit`` when no slot became free within ``submit_timeout`` seconds."""


class TerminatedWorkerError(BrokenProcessPool):
    """The outcome of a task whose process died before the task was finished.

    Only that task fails; the executor goes on. The message names the function, the process and
    how the process ended.
    """
