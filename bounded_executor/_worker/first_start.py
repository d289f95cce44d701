"""Runs first in an interpreter that ``_pool.launch`` has started, and makes it what it is to be.

Unpickled and called by :func:`multiprocessing.spawn.spawn_main`, to which an interpreter comes by its
command, and a frozen program by ``freeze_support()``. It imports next to nothing, for the trackers' sake.
"""

import os
import pickle
import sys

__all__ = ["STARTED", "Start", "run_frozen"]

# In the environment of what a frozen program has started, until it is known to be no copy of the program.
STARTED = "_BOUNDED_EXECUTOR_STARTED"


class Start:
    """What a new interpreter is to run.

    Args:
        call: pickle of a callable without arguments, which returns the exit status; unpickled in the last
            moment, because that imports.
        trackers: each resource tracker that the process is to know: name of its module, and descriptor.
        report: descriptor of the file that is standard error so far, and of standard error; None: it is
            what it should be.
    """

    def __init__(
        self,
        call: bytes,
        trackers: tuple[tuple[str, int], ...] = (),
        report: "tuple[int, int] | None" = None,
    ) -> None:
        self._call = call
        self._trackers = trackers
        self._report = report
        self.ready: int | None = None
        """Descriptor on which the process tells that it has come up; None: it need not."""

    def _bootstrap(self, parent_sentinel: int) -> int:
        """Stand in for a process of multiprocessing."""
        os.environ.pop(STARTED, None)
        if self.ready is not None:
            os.write(self.ready, b"1")
            os.close(self.ready)
        # A copy of the file that this object came in.
        os.close(parent_sentinel)
        for module, fd in self._trackers:
            __import__(module)
            sys.modules[module]._resource_tracker._fd = fd
        call = pickle.loads(self._call)
        if self._report is not None:
            from .._ipc.crash_report import hand_on

            report, stderr = self._report
            os.dup2(stderr, 2)
            os.close(stderr)
            hand_on(report)
            os.close(report)
        return call() or 0


def run_frozen() -> None:
    """In a frozen program that was started as a process of this package: be that process, and end.

    Up to Python 3.13 ``multiprocessing.freeze_support()`` does nothing but on Windows.
    """
    if STARTED in os.environ and sys.argv[1:2] == ["--multiprocessing-fork"]:
        from multiprocessing.spawn import freeze_support

        # The import that this is called in never ends; threads would wait for it.
        sys.modules[__name__.partition(".")[0]].__spec__._initializing = False  # type: ignore[union-attr]
        freeze_support()
