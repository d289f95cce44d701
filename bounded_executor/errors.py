"""The exceptions a caller can meet, and nothing else.

``BrokenProcessPool`` is the standard library's own class, so that ``except`` clauses written for
``ProcessPoolExecutor`` keep working.
"""

from __future__ import annotations

from concurrent.futures.process import BrokenProcessPool

__all__ = ["BrokenProcessPool", "QueueFull", "SubmitTimeout", "TaskTimeout", "TerminatedWorkerError"]


class QueueFull(Exception):
    """Raised by ``submit_nowait`` when all ``queue_size`` slots are taken or ``queue_bytes`` is reached."""


class SubmitTimeout(TimeoutError):
    """Raised by ``submit`` when no slot became free within ``submit_timeout`` seconds."""


class TaskTimeout(TimeoutError):
    """The outcome of a task that ran longer than ``task_timeout`` seconds and was killed for that.

    Args:
        message: what happened.
        stack: the stack that the task was at, the innermost call first, of each of its threads; empty
            where it could not be had, as with a task that has closed all its file descriptors.
    """

    def __init__(self, message: str, stack: str = "") -> None:
        super().__init__(message)
        self.stack = stack

    def __reduce__(self) -> tuple[type[TaskTimeout], tuple[object, str]]:
        return type(self), (self.args[0], self.stack)


class TerminatedWorkerError(BrokenProcessPool):
    """The outcome of a task whose process died before the task was finished.

    Only that task fails; the executor goes on. The message names the function, the process, how the
    process ended, the most memory that it had, and an out-of-memory kill where the kernel counts one.
    """
