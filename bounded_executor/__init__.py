"""A process pool executor with bounded memory, in place of ``ProcessPoolExecutor``."""

from ._executor import BoundedProcessPoolExecutor
from .errors import BrokenProcessPool, QueueFull, SubmitTimeout, TerminatedWorkerError
from .stats import ExecutorStats

__all__ = [
    "BoundedProcessPoolExecutor",
    "BrokenProcessPool",
    "ExecutorStats",
    "QueueFull",
    "SubmitTimeout",
    "TerminatedWorkerError",
]
