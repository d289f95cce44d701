"""What an executor offers to coroutines: the same calls, with waits that leave the event loop free.

Everything here runs on the thread of the caller's event loop. A coroutine that waits for a slot stands in
the ledger's line with all threads that wait; it is woken through ``call_soon_threadsafe``, which the
ledger may call under its lock because it neither blocks nor runs user code.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .._core.runtime import Core
from .._core.semaphore import Lease
from .._core.work import Work
from .._future import BoundedFuture
from .._options import check_buffersize, check_seconds
from .._serialize import pickling
from .map import AsyncMap, AsyncSink, AwaitedFuture, Source, fit_for_asyncio
from .waiting import finish, in_thread, slot

__all__ = ["Coroutines"]

P = ParamSpec("P")
T = TypeVar("T")
Self = TypeVar("Self")


class Coroutines:
    """The part of an executor that is for coroutines."""

    _core: Core
    _pid: int

    if TYPE_CHECKING:

        def _check_usable(self) -> None: ...

    # With it the arguments are unchecked: a keyword beside those of a ParamSpec has no type (PEP 612).
    @overload
    async def asubmit(
        self, fn: Callable[..., T], /, *args: Any, cancel_running: bool, **kwargs: Any
    ) -> asyncio.Future[T]: ...

    @overload
    async def asubmit(
        self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Future[T]: ...

    async def asubmit(  # type: ignore[misc]
        self, fn: Callable[..., T], /, *args: Any, cancel_running: bool = False, **kwargs: Any
    ) -> asyncio.Future[T]:
        """Run ``fn(*args, **kwargs)`` in a worker process; to be awaited twice.

        The first ``await`` waits for a slot, in one line with all other callers, while the event loop goes
        on. What it returns is awaited for the result.

        Args:
            fn: the callable; a call that cannot be pickled fails its future.
            args: positional arguments.
            cancel_running: cancelling the future kills the call's process if it runs already; what it
                has started is killed too. Without it the call is run to its end, and its result is lost.
            kwargs: keyword arguments, of any name but ``cancel_running``.

        Returns:
            The future of the call's result. Cancelling it, or the task that awaits it, cancels the call and
            gives its slot back, unless a worker has been given the call.

        Raises:
            RuntimeError: the executor is, or while waiting becomes, shut down.
            BrokenProcessPool: the executor is, or while waiting becomes, broken.
            SubmitTimeout: no slot became free within ``submit_timeout``.

        A caller that is cancelled while it waits has submitted nothing.
        """
        return await self._asubmit(fn, args, kwargs, cancel_running, None)

    def amap(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any] | AsyncIterable[Any],
        timeout: float | None = None,
        buffersize: int | None = None,
        unordered: bool = False,
        cancel_running: bool = False,
    ) -> AsyncGenerator[T, None]:
        """Run ``fn`` over the inputs and yield the results, for ``async for``.

        Inputs are pulled when the iteration has begun and as results are fetched. Unfetched results weigh
        in ``queue_bytes``.

        Args:
            fn: callable that takes one argument from each iterable.
            iterables: the inputs, plain or asynchronous, endless ones welcome; the shortest ends the map.
            timeout: seconds from the first ``anext`` for the whole map; None: no limit.
            buffersize: int >= 1, items submitted and not yet yielded. Default ``queue_size``.
            unordered: yield results as they arrive, not in the order of the inputs.
            cancel_running: as with :meth:`asubmit`, for what runs when the map ends early.

        Returns:
            An asynchronous generator. An exception of a task, of an input (after the results before it) or a
            ``TimeoutError`` ends it; that, cancellation and ``aclose()`` cancel what has not started.

        Raises:
            RuntimeError: the executor is, or becomes, shut down; here or by the generator.
            BrokenProcessPool: the executor is, or becomes, broken; here or by the generator.
            concurrent.futures.CancelledError: by the generator, where the executor cancelled what was not
                started. It is not asyncio's: nobody has cancelled the task that iterates.
            TypeError: a parameter is of the wrong type.
            ValueError: a parameter is out of its range.
        """
        if timeout is not None:
            timeout = check_seconds("timeout", timeout)
        check_buffersize(buffersize)
        sources = [Source(iterable) for iterable in iterables]
        self._check_usable()
        run = AsyncMap(self._core, buffersize or self._core.bounds.queue_size, unordered=bool(unordered))
        submit = partial(self._asubmit, cancel_running=cancel_running, run=run)
        results = run.results(fn, sources, submit, timeout)
        # A loop that is closed ends no generators. This must not hold the run, which leads back to the
        # generator by what waits for its results. It runs wherever the collector does: the ledger allows it.
        weakref.finalize(results, run.settle()).atexit = False
        return results

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Do what the end of a ``with`` block does, while the event loop goes on.

        A block that is left because its task is cancelled, which is how Ctrl-C comes to a coroutine, cancels
        what waits and kills what runs. So does a cancellation while it waits here.
        """
        if self._pid != os.getpid():
            # Inherited through a fork: there is nothing of it here that could end.
            return
        core = self._core
        if isinstance(exc_val, asyncio.CancelledError) or pickling.is_interrupt(exc_val):
            aborted = in_thread(core.abort)
            await finish(aborted)
            aborted.result()
            return
        ended = in_thread(partial(core.shutdown, True, run_maps=exc_type is None))
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            # An error that comes now says less than that somebody wants this task to end.
            await finish(in_thread(core.abort))
            await finish(ended)
            raise

    async def _asubmit(
        self,
        fn: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        cancel_running: bool,
        run: AsyncMap | None,
    ) -> asyncio.Future[T]:
        self._check_usable()
        core = self._core
        loop = asyncio.get_running_loop()
        future: BoundedFuture[T] = AwaitedFuture()
        try:
            function, body = core.backend.codec.call(fn, args, kwargs)
        except Exception as error:
            failed: asyncio.Future[T] = loop.create_future()
            failed.set_exception(fit_for_asyncio(error))
            return failed
        if not core.started:
            # Launching a process takes longer than an event loop should stand still.
            await asyncio.shield(in_thread(partial(core.start, fn)))
        size = len(body)
        sink = AsyncSink(future, core.dispatcher.delivery, run, cancel_running)
        work = Work(function, [body], sink, joins=not cancel_running, sizes=[size])
        if run is not None:
            work.first = run.submitted
        future._forget = partial(core.dispatcher.discard, work)
        lease = Lease()
        try:
            if not core.ledger.take(work, size):
                await slot(core.ledger, lease, size, core.bounds.submit_timeout)
                work.held, lease.held = lease.held, None
            core.dispatcher.submit(work)
        except BaseException:
            core.ledger.give_up(lease)
            core.dispatcher.withdraw(work)
            raise
        result = asyncio.wrap_future(future, loop=loop)
        if run is not None:
            run.weights[result] = sink
        if cancel_running:
            result.add_done_callback(partial(_revoke, core, work, sink))
        return result


def _revoke(core: Core, work: Work, sink: AsyncSink, result: asyncio.Future[Any]) -> None:
    if result.cancelled() and not sink.future.cancelled():
        sink.revoked = True
        core.backend.revoke(work)
