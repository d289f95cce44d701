"""The process pool: an executor (``_executor``) with task processes of our own below it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal

from loky import cpu_count

from ._core.backend import KILL, Backend
from ._core.dispatcher import Dispatcher
from ._core.runtime import Core
from ._executor import BoundedExecutor
from ._options import Settings, is_portable
from .events import TaskEvent

if sys.platform != "win32":
    # Not only with an executor: a forked copy of the program has to let go of locks that it would find taken.
    pass

__all__ = ["BoundedProcessPoolExecutor"]


class BoundedProcessPoolExecutor(BoundedExecutor):
    """A process pool that never holds more than ``queue_size`` unfinished tasks.

    It takes the place of :class:`concurrent.futures.ProcessPoolExecutor`: same first parameters,
    same methods, same errors. ``submit`` waits for a slot, so the producer is never further ahead
    than the bound; worker processes are replaced after a number of tasks; a worker that dies
    fails its own task only.

    Args:
        max_workers: int >= 1, tasks that run at once. Default: the number of CPUs this process
            may use.
        mp_context: a multiprocessing context, the name of a start method, or None for the
            default: how the warm process is started that all others come from. The default starts
            an interpreter with the flags and the ``sys.path`` of this one. ``"spawn"`` is the same,
            and ``"fork"`` is taken as it, because that process has to be a clean one.
        initializer: callable run in every fresh worker process before its first task.
        initargs: its arguments. Both are pickled by the constructor.
        max_tasks_per_child: int >= 1, tasks a worker process runs before a fresh one, started
            ahead, replaces it. None: no limit. A map's items count one each.
        max_tasks_jitter: int >= 0; each process's own limit is ``max_tasks_per_child`` plus a
            random number up to this one, so that not all are replaced in the same moment.
        max_memory_per_child: bytes of resident memory; a worker process that has more after a task
            is replaced. One that has as much before its first task breaks the executor. Linux only,
            as are the next two.
        max_memory_hard: bytes of data that a worker process may have while a task runs: the task gets
            a ``MemoryError``, and if it ends in that, its process is replaced.
        max_memory_total: bytes for this process and all below it, or ``"auto"`` for 90 % of what the
            control group or the machine grants: near it fewer tasks run at once, but always one.
        queue_size: int >= 1, tasks submitted and unfinished. Default
            ``max(6 * max_workers, 512)``.
        queue_bytes: int >= 1, bytes that the pickled calls of unfinished tasks and the results that
            maps hold unfetched may weigh together; default 64 MiB. None: no limit. Weight alone
            never keeps fewer than ``max_workers`` tasks from being admitted.
        submit_timeout: seconds ``submit`` waits for a slot before it raises ``SubmitTimeout``.
            None: no limit.
        task_timeout: seconds > 0 that a task may run, its unpickling and the pickling of its result
            included, before its process and what that has started are killed, and it fails with
            ``TaskTimeout``. Each item of a map has this time for itself. None: no limit.
        on_crash: ``"isolate"``: a process that dies fails its own task only. ``"break"``: it breaks
            the executor, as the standard library's does.
        task_retries: int >= 0, how often a task is run again whose process died while it ran, or that
            timed out. The first time after 0.1 seconds at most, then after twice as long each time, up to
            10. With ``"break"`` only one that timed out is.
        stall_warning: seconds > 0 without an outcome, while tasks run, after which one log record says
            which are the oldest. None: never.
        idle_timeout: seconds for which a clean process is kept for the next executor after this
            one has been shut down. 0: everything has ended when ``shutdown`` returns.
        preload: names of modules that are imported once, before the first task, and shared by all
            workers. One whose import fails breaks the executor, with that error as the cause.
        on_event: called with a ``TaskEvent`` for each task that ended or is run again, one at a time, on the
            thread that runs done-callbacks. What it raises is logged. None: nobody wants to know.
        forward_logs: log records made in tasks reach this process's handlers, on the thread of done-callbacks
            and before the task's future is resolved. Levels are those set when this is called.
        import_main: worker processes import the main script where it has a guard, once for all of them.
            False: its functions travel by value, as those of a script without a guard do.

    Raises:
        TypeError: a parameter is of the wrong type.
        ValueError: a parameter is out of its range.

    On Windows, and where the environment has ``BOUNDED_EXECUTOR_PORTABLE=1``, worker processes are loky's
    own, and options that cannot work there are refused by a ``ValueError``.

    All methods may be called from any thread. An executor that a process inherited through
    ``os.fork`` raises ``RuntimeError``.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        max_tasks_jitter: int = 0,
        max_memory_per_child: int | None = None,
        max_memory_hard: int | None = None,
        max_memory_total: int | Literal["auto"] | None = None,
        queue_size: int | None = None,
        queue_bytes: int | None = 64 * 2**20,
        submit_timeout: float | None = None,
        task_timeout: float | None = None,
        on_crash: Literal["isolate", "break"] = "isolate",
        task_retries: int = 0,
        stall_warning: float | None = 300.0,
        idle_timeout: float = 10.0,
        preload: Iterable[str] = (),
        on_event: Callable[[TaskEvent], object] | None = None,
        forward_logs: bool = False,
        import_main: bool = True,
    ) -> None:
        settings = Settings.check(
            max_workers=max_workers,
            mp_context=mp_context,
            initializer=initializer,
            initargs=initargs,
            max_tasks_per_child=max_tasks_per_child,
            max_tasks_jitter=max_tasks_jitter,
            max_memory_per_child=max_memory_per_child,
            max_memory_hard=max_memory_hard,
            max_memory_total=max_memory_total,
            queue_size=queue_size,
            queue_bytes=queue_bytes,
            submit_timeout=submit_timeout,
            task_timeout=task_timeout,
            on_crash=on_crash,
            task_retries=task_retries,
            stall_warning=stall_warning,
            idle_timeout=idle_timeout,
            preload=preload,
            on_event=on_event,
            forward_logs=forward_logs,
            import_main=import_main,
            default_workers=cpu_count,
        )
        self._adopt(Core(settings, settings.max_workers, _backend_of(settings)))

    def terminate_workers(self) -> None:
        """Shut down at once: cancel what waits and send SIGTERM to the worker processes.

        Tasks that this ends fail with ``TerminatedWorkerError``. Returns without waiting.
        """
        self._end_workers(signal.SIGTERM)

    def kill_workers(self) -> None:
        """Do what :meth:`terminate_workers` does, with SIGKILL, which no task can ignore."""
        self._end_workers(KILL)

    def _end_workers(self, number: int) -> None:
        self._check_process()
        self._core.end_killing(number)


def _backend_of(settings: Settings) -> Callable[[Dispatcher, Callable[[], None]], Backend]:
    """Return what makes the backend of a pool with these settings.

    Raises:
        ValueError: an option cannot work in the portable way.
    """
    # Not at the top: each way needs modules that the other may not have.
    if sys.platform == "win32" or is_portable():
        from ._adapters.portable import Portable, PortableSession, check

        check(settings)
        portable = PortableSession(settings)
        return lambda dispatcher, on_end: Portable(dispatcher, settings, portable, on_end)
    from ._pool.backend import Workers
    from ._pool.session import Session

    session = Session(settings)
    return lambda dispatcher, on_end: Workers(dispatcher, settings, session, on_end)
