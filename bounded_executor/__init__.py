"""A process pool executor with bounded memory, in place of ``ProcessPoolExecutor``."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from ._executor import BoundedExecutor
    from ._future import BoundedFuture
    from ._map.iterator import MapIterator
    from ._process_pool import BoundedProcessPoolExecutor
    from .errors import BrokenProcessPool, QueueFull, SubmitTimeout, TaskTimeout, TerminatedWorkerError
    from .events import TaskEvent
    from .stats import ExecutorStats, Histogram

__all__ = [
    "BoundedExecutor",
    "BoundedFuture",
    "BoundedProcessPoolExecutor",
    "BrokenProcessPool",
    "ExecutorStats",
    "Histogram",
    "MapIterator",
    "QueueFull",
    "SubmitTimeout",
    "TaskEvent",
    "TaskTimeout",
    "TerminatedWorkerError",
]


_EXECUTORS = {"BoundedExecutor": "_executor", "BoundedProcessPoolExecutor": "_process_pool"}


def __getattr__(name: str) -> Any:
    # Our own processes import modules of this package too, and are to start without the executor:
    # it would cost each of them time and memory.
    if name == "__version__":
        from importlib.metadata import version

        return version("loky-bounded-executor")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _EXECUTORS and _main_is_imported():
        from ._deferred import Deferred

        return Deferred(f"{__name__}.{_EXECUTORS[name]}", name)
    from . import _executor, _future, _process_pool, errors, events, stats
    from ._map import iterator

    for module in (_executor, _future, iterator, _process_pool, errors, events, stats):
        globals().update({public: getattr(module, public) for public in module.__all__ if public in __all__})
    return globals()[name]


def _main_is_imported() -> bool:
    """Return whether this process imports a main module for tasks, which seldom need an executor."""
    module = sys.modules.get(f"{__name__}._serialize.main_module")
    return module is not None and module.is_importing()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if getattr(sys, "frozen", False):
    from ._worker.first_start import run_frozen

    run_frozen()
