"""The executor: what a user calls.

The way of a task: :meth:`BoundedExecutor.submit` pickles the call, takes a slot from the ledger
(``_core.semaphore``) and puts the work into the dispatcher's queue (``_core.dispatcher``). The backend's
thread takes it from there: that of ``_adapters.backend`` hands it to an executor below, that of
``_pool.backend``, in the process pool (``_process_pool``), to a child of its own. When its outcome arrives
the slot is given back, and the delivery thread (``_core.callbacks``) resolves the future.

This module holds what a user calls. :class:`Core` (``_core.runtime``) is what goes on when the user has
dropped the executor.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from functools import partial
from types import FrameType, TracebackType
from typing import Any, NoReturn, ParamSpec, TypeVar

from ._adapters.backend import Inner
from ._adapters.engine import Engine, ExecutorEngine
from ._aio.executor import Coroutines
from ._core.admission import TellOnce, must_not_block
from ._core.runtime import Core
from ._core.work import FutureSink, Work
from ._future import BoundedFuture
from ._map.iterator import MapIterator, length_of
from ._map.run import MapRun
from ._options import Bounds, check_bool, check_buffersize, check_count, check_seconds
from ._serialize import pickling
from ._sigterm import Drain
from .events import TaskEvent
from .stats import ExecutorStats

__all__ = ["BoundedExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class BoundedExecutor(Coroutines, Executor):
    """An executor that never holds more than ``queue_size`` unfinished tasks, over one that exists already.

    The executor below starts and ends its workers as it always does, and is not shut down here: whoever
    made it ends it. A :class:`~concurrent.futures.ThreadPoolExecutor` is handed the calls as they are; what
    any other is handed is pickled here, so its workers need this package too.

    Args:
        executor: what runs the tasks, any :class:`concurrent.futures.Executor`. Nobody else should give it
            work in great numbers, since that is not bounded.
        queue_size: int >= 1, tasks submitted and unfinished. Default ``max(6 * workers, 512)``.
        queue_bytes: int >= 1, bytes that the pickled calls of unfinished tasks and the results that maps hold
            unfetched may weigh together; default 64 MiB. None: no limit. Calls that go to threads weigh
            nothing.
        window: int >= 1, tasks that the executor below holds at once. None: as many as its workers and one in
            twenty more, read again as it grows and shrinks, and the next ones where tasks are short; all of
            ``queue_size`` where it does not tell how many workers it has.
        submit_timeout: seconds ``submit`` waits for a slot before it raises ``SubmitTimeout``.
            None: no limit.
        on_event: called with a ``TaskEvent`` for each task that ended, one at a time, on the thread that runs
            done-callbacks. What it raises is logged. None: nobody wants to know.

    Raises:
        TypeError: a parameter is of the wrong type.
        ValueError: a parameter is out of its range.

    What the executor below fails with as a whole, such as ``BrokenExecutor``, or ``RuntimeError`` since it
    was shut down, breaks this one: every future that is left, and each further ``submit``, fails with a
    ``BrokenProcessPool`` that has it as its cause. Tasks that it was handed cannot be cancelled any more.

    All methods may be called from any thread. An executor that a process inherited through
    ``os.fork`` raises ``RuntimeError``.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        queue_size: int | None = None,
        queue_bytes: int | None = 64 * 2**20,
        window: int | None = None,
        submit_timeout: float | None = None,
        on_event: Callable[[TaskEvent], object] | None = None,
    ) -> None:
        if not isinstance(executor, Executor):
            raise TypeError(f"executor must be a concurrent.futures.Executor, got {executor!r}")
        self._open(
            ExecutorEngine(executor),
            queue_size=queue_size,
            queue_bytes=queue_bytes,
            window=window,
            submit_timeout=submit_timeout,
            on_event=on_event,
        )

    @staticmethod
    def for_dask(
        client: Any,
        *,
        queue_size: int | None = None,
        queue_bytes: int | None = 64 * 2**20,
        window: int | None = None,
        submit_timeout: float | None = None,
        on_event: Callable[[TaskEvent], object] | None = None,
        retries: int = 0,
        batches: bool = True,
    ) -> BoundedExecutor:
        """Return an executor whose tasks are run by a Dask cluster.

        Short tasks travel together, which the scheduler sees as one task. Results of more than 1 MiB stay
        with the worker that made them until they are asked for. Workers that end, of which Dask gives a task
        as many as its ``allowed-failures`` says, fail the task with ``TerminatedWorkerError``, and Dask's
        ``KilledWorker`` is the cause; what was with it is run again. If the connection to the scheduler is
        lost, or the cluster is restarted, all that is unfinished fails with ``BrokenProcessPool``.

        Args:
            client: a ``dask.distributed.Client``, which stays the caller's, or the address of a scheduler;
                that connection is closed at the end, after results that somebody holds have been fetched.
            queue_size, queue_bytes, window, submit_timeout, on_event: as with :class:`BoundedExecutor`. Each
                thread of the cluster's workers is one worker, and results that stay there weigh nothing.
            retries: int >= 0, times that Dask runs a task once more that has raised. With it, no tasks travel
                together, whatever a map's ``chunksize``.
            batches: short tasks travel together. To be False where tasks wait for each other.

        Raises:
            ImportError: ``dask.distributed`` is not installed.
            TypeError: a parameter is of the wrong type.
            ValueError: a parameter is out of its range.
            OSError: there is no scheduler at the address.

        The workers, and the scheduler, need this package too, in the same version.
        """
        try:
            from ._adapters.dask import DaskEngine, connect
        except ImportError as error:
            raise ImportError(
                f"for_dask needs dask.distributed ({error}): install loky-bounded-executor[dask]"
            ) from error
        check_count("retries", retries, least=0)
        check_bool("batches", batches)
        engine = DaskEngine(*connect(client), retries=retries, batches=batches)
        executor = BoundedExecutor.__new__(BoundedExecutor)
        try:
            executor._open(
                engine,
                queue_size=queue_size,
                queue_bytes=queue_bytes,
                window=window,
                submit_timeout=submit_timeout,
                on_event=on_event,
            )
        except BaseException:
            engine.close()
            raise
        return executor

    def _open(self, engine: Engine, *, window: int | None, **bounds: Any) -> None:
        """Begin with this below."""
        if window is not None:
            check_count("window", window, least=1)
        workers = engine.capacity
        checked = Bounds.check_bounds(workers=workers, **bounds)
        self._adopt(
            Core(
                checked,
                workers,
                lambda dispatcher, on_end: Inner(engine, dispatcher, checked.queue_size, window, on_end),
            )
        )

    def _adopt(self, core: Core) -> None:
        """Begin as the executor whose parts these are."""
        self._pid = os.getpid()
        self._tell = TellOnce()
        self._core = core
        self._finalizer = weakref.finalize(self, core.abandon)
        # The end of the interpreter is _at_exit's, which does more.
        self._finalizer.atexit = False

    @property
    def _max_workers(self) -> int:
        # As the standard library's executors call it; programs read it.
        return self._core.backend.capacity

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> BoundedFuture[T]:
        """Run ``fn(*args, **kwargs)`` in a worker.

        Waits for a slot, first come first served. A caller that must never block, that is a
        done-callback, ``loop.run_in_executor``, an ``async def`` with all that it calls, or a task of this
        executor in a thread, is admitted above the bound instead, which ``stats()`` counts.

        Args:
            fn: the callable; a call that cannot be pickled fails its future.
            args: positional arguments.
            kwargs: keyword arguments, of any name.

        Returns:
            The call's future. Until a worker is given the call, ``cancel`` cancels it and gives
            its slot back at once.

        Raises:
            RuntimeError: the executor is, or while waiting becomes, shut down.
            BrokenProcessPool: the executor is, or while waiting becomes, broken.
            SubmitTimeout: no slot became free within ``submit_timeout``.
        """
        return self._submit(fn, args, kwargs, True, sys._getframe(1))

    def submit_nowait(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> BoundedFuture[T]:
        """Do what :meth:`submit` does, but never wait.

        Raises:
            QueueFull: every slot is taken, or ``queue_bytes`` is reached; nothing was submitted.
        """
        return self._submit(fn, args, kwargs, False, None)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> MapIterator[T]:
        """Run ``fn`` over the inputs and yield the results, pulling inputs only as needed.

        The first items are submitted at the call; more are pulled as results are fetched. Items
        hold slots only until their outcome has arrived, so calling ``submit`` between two results
        cannot deadlock.

        Without ``buffersize``, a map of which nothing has been fetched when the executor is shut
        down with ``wait=True`` is run to its end then, with its results kept for the iterator if
        it still exists: ``results = ex.map(...)`` may be read after the ``with`` block. A map of
        which something was fetched is not run on: after the results it has, ``next`` raises
        ``RuntimeError``.

        Args:
            fn: callable that takes one argument from each iterable.
            iterables: the inputs, endless ones welcome; the shortest ends the map.
            timeout: seconds from this call for the whole map; None: no limit.
            chunksize: int >= 1, items that travel to a worker together. None adapts it to the
                tasks' speed. Never more than there is room for, and 1 where ``submit`` was replaced.
            buffersize: int >= 1, items submitted and not yet yielded. Default ``queue_size``.
            unordered: yield results as they arrive, not in the order of the inputs.

        Returns:
            A :class:`MapIterator`, with a ``len`` where all inputs have one. An exception of a task, of the
            input iterator (after the results before it) or a ``TimeoutError`` ends it; that, ``close()``
            and dropping it once it has begun cancel what has not started.

        Raises:
            RuntimeError: the executor is shut down.
            BrokenProcessPool: the executor is broken.
            TypeError: a parameter is of the wrong type, or an iterable is none.
            ValueError: a parameter is out of its range.
        """
        if timeout is not None:
            # The standard library takes a negative timeout as one that is over.
            past = isinstance(timeout, (int, float)) and timeout < 0
            timeout = check_seconds("timeout", 0 if past else timeout)
        if chunksize is not None:
            check_count("chunksize", chunksize, least=1)
        check_buffersize(buffersize)
        self._check_usable()
        core = self._core
        core.start(fn)
        # Programs that replace `submit`, on the object or in a subclass, expect `map` to call it.
        own = "submit" not in self.__dict__ and type(self).submit is BoundedExecutor.submit
        run = MapRun(
            core.dispatcher,
            core.backend,
            fn,
            zip(*iterables, strict=False),
            buffersize=core.bounds.queue_size if buffersize is None else buffersize,
            chunksize=chunksize,
            unordered=bool(unordered),
            timeout=timeout,
            submit=None if own else self.submit,
        )
        results: MapIterator[T] = MapIterator(run, self, core.begin_map, length_of(iterables))
        run.top_up()
        if buffersize is None:
            # Not before: a shutdown by another thread, or by a ``__del__``, would run it at the same time.
            core.add_map(run)
        return results

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Refuse new tasks and end the worker processes once the accepted ones are done.

        Args:
            wait: return only when every future is resolved and the processes have ended, apart
                from a clean one kept for ``idle_timeout``. Called from a done-callback, or by a
                task in a thread, it does not wait.
            cancel_futures: cancel what no worker has been given yet.

        Raises:
            BaseException: the error of an input iterator of a map that was run to its end here.

        May be called any number of times, from any thread.
        """
        if self._pid == os.getpid():
            wait = bool(wait)
            self._core.shutdown(wait, cancel=cancel_futures, run_maps=wait and not cancel_futures)

    def drain_on_sigterm(self) -> Drain:
        """Have SIGTERM end this executor gently from now on, which without this ends the program at once.

        At SIGTERM tasks that run are finished, futures of tasks that wait are cancelled, and ``submit``,
        also one that waits, raises ``RuntimeError`` as after :meth:`shutdown`. The program goes on, and
        finds what was not started by ``Future.cancelled()``. A map's iterator yields what was finished
        and then raises ``CancelledError``. A second SIGTERM, and one after the executor has ended, does
        what SIGTERM did before. A handler that was there before is called as well.

        To be called before the first task: SIGTERM to all processes, as systemd sends it, does not end
        tasks in processes that are started after this call. ``terminate_workers`` then uses SIGKILL.

        Returns:
            An object whose ``requested`` tells whether SIGTERM has come.

        Raises:
            ValueError: this is not the main thread.
            RuntimeError: the executor is shut down.
        """
        self._check_usable()
        return self._core.drain_on_sigterm()

    def stats(self) -> ExecutorStats:
        """Return the counters as they are now."""
        return self._core.stats()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} cannot be copied or pickled, since it has threads of its own. Pass it "
            "on as it is, or make another one. For a task whose function or arguments refer to it, leave it "
            "out of them, as by __getstate__ of the object that has it."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._core.describe()}>"

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if pickling.is_interrupt(exc_val) and self._pid == os.getpid():
            self._core.abort()
        elif exc_type is not None and self._pid == os.getpid():
            self._core.shutdown(True)
        else:
            self.shutdown(wait=True)

    def _submit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        block: bool,
        frame: FrameType | None,
    ) -> BoundedFuture[T]:
        self._check_usable()
        core = self._core
        future: BoundedFuture[T] = BoundedFuture()
        try:
            function, body = core.backend.codec.call(fn, args, kwargs)
        except Exception as error:
            future.set_running_or_notify_cancel()
            future.set_exception(error)
            core.dispatcher.delivery.unretrieved.watch(future, error)
            try:
                return future
            finally:
                # The error has this frame in its traceback.
                del future
        if not core.started:
            core.start(fn, wait=must_not_block(frame) is None)
        dispatcher = core.dispatcher
        size = len(body)
        sink = FutureSink(future, dispatcher.delivery)
        work = Work(function, [body], sink, joins=True, sizes=[size])
        future._forget = partial(dispatcher.discard, work)
        reason = None
        try:
            if not core.ledger.take(work, size):
                reason = must_not_block(frame, core.backend.is_current()) if block else None
                core.ledger.acquire(
                    lease=work,
                    sizes=(size,),
                    block=block,
                    timeout=core.bounds.submit_timeout,
                    force=reason is not None,
                )
            dispatcher.submit(work)
        except BaseException:
            # A signal's handler may have raised it anywhere in between.
            dispatcher.withdraw(work)
            raise
        if reason is not None:
            self._tell(reason, core.bounds.queue_size)
        return future

    def _check_usable(self) -> None:
        self._check_process()
        self._core.dispatcher.check()

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this executor belongs to process {self._pid} and was inherited by process "
                f"{os.getpid()} through os.fork(), where it has no workers. Make a new one there."
            )
