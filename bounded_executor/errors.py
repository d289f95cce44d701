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


class _OfTask(Exception):
    """What the errors of tasks whose process was ended know; each is None where it is not known.

    Args:
        message: what happened.
        stack: the stack that the task was at, the innermost call first, of each of its threads.
        pid: the process id of the process.
        signal: the number of the signal that ended the process, as ``signal.Signals`` has it.
        exit_status: the exit status of a process that no signal ended.
        peak_memory_bytes: the most bytes that the process ever had resident.
        oom_killed: the kernel counts an out-of-memory kill in the time in which the process was killed.
        task_name: module and name of the function.
        attempts: how often the task was started.
        arguments: the arguments as a call has them, in 300 characters at most.
    """

    def __init__(
        self,
        message: str = "",
        stack: str | None = None,
        *,
        pid: int | None = None,
        signal: int | None = None,
        exit_status: int | None = None,
        peak_memory_bytes: int | None = None,
        oom_killed: bool | None = None,
        task_name: str | None = None,
        attempts: int | None = None,
        arguments: str | None = None,
    ) -> None:
        # With nothing but the message in `args`, so that a pickle or a copy, which brings the rest as the
        # object's state, can be made.
        super().__init__(message)
        self.stack = stack
        self.pid = pid
        self.signal = signal
        self.exit_status = exit_status
        self.peak_memory_bytes = peak_memory_bytes
        self.oom_killed = oom_killed
        self.task_name = task_name
        self.attempts = attempts
        self.arguments = arguments


class TaskTimeout(_OfTask, TimeoutError):
    """The outcome of a task that ran longer than ``task_timeout`` seconds and was killed for that.

    Its attributes are those of :class:`TerminatedWorkerError`.

    Attributes:
        stack: the stack that the task was at, the innermost call first, of each of its threads; None
            where it could not be had, as with a task that has closed all its file descriptors.
    """


class TerminatedWorkerError(_OfTask, BrokenProcessPool):
    """The outcome of a task whose process died before the task was finished.

    Only that task fails; the executor goes on. The message names the function, the process, how the
    process ended, the most memory that it had, and an out-of-memory kill where the kernel counts one.
    The same stands in attributes, each of them None where it is not known. They survive pickling and copying.

    Attributes:
        task_name: module and name of the function, as in ``"package.module.function"``.
        attempts: how often the task was started, this time included.
        arguments: the arguments as a call has them, shortened to 300 characters at most. It is made of their
            pickle without running code of theirs: an object is shown by its class and state, not by its
            ``repr``. It may hold what should not be logged; the message is without it.
        pid: the process id of the process.
        signal: the number of the signal that ended the process; ``signal.Signals(number).name`` is its name.
        exit_status: the exit status of a process that no signal ended.
        peak_memory_bytes: the most bytes that the process ever had resident.
        oom_killed: whether the kernel counts an out-of-memory kill in the time in which the process died.
        stack: the stack that the task was at.
    """
