"""How a coroutine waits: for a slot, for something that blocks, and for what must come to its end."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from math import inf
from typing import Any

from .._core.semaphore import Lease, Ledger

__all__ = ["finish", "in_thread", "retrieve", "slot"]


async def slot(ledger: Ledger, lease: Lease, size: int, timeout: float | None) -> None:
    """Wait for a slot; where that fails, :meth:`Ledger.give_up` is to follow.

    Args:
        ledger: where the slots are.
        lease: what is to hold it. It must lead to no coroutine: the ledger would keep alive what a closed
            loop has left behind.
        size: bytes that it weighs.
        timeout: as with :meth:`Ledger.acquire`.
    """
    loop = asyncio.get_running_loop()
    turn = asyncio.Event()
    # Those that wait for it are reached from the event.
    weak_turn = weakref.ref(turn)

    def wake() -> bool:
        turn = weak_turn()
        try:
            if turn is not None:
                loop.call_soon_threadsafe(turn.set)
        except RuntimeError:
            # A loop that was closed has left a coroutine behind that does not run any more.
            return False
        return turn is not None

    waiter = ledger.line_up(lease, (size,), timeout, wake, gone=loop.is_closed)
    while (patience := ledger.look(waiter)) is not None:
        again = None if patience == inf else loop.call_later(patience, turn.set)
        try:
            await turn.wait()
            turn.clear()
        finally:
            if again is not None:
                again.cancel()
    ledger.step_out(waiter)


def in_thread(call: Callable[[], object]) -> asyncio.Future[Any]:
    """Run something that blocks in a thread of its own: the loop's may all be in use."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Any] = loop.create_future()
    # Whoever waits for it may be cancelled before.
    result.add_done_callback(retrieve)

    def tell(error: BaseException | None) -> None:
        if not result.done():
            if error is None:
                result.set_result(None)
            else:
                result.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            call()
        except BaseException as failure:
            error = failure
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name="bounded-blocking", daemon=True).start()
    return result


async def finish(future: asyncio.Future[Any]) -> None:
    """Wait for what must come to its end, whoever cancels in the meantime."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])


def retrieve(future: asyncio.Future[Any]) -> None:
    """Have asyncio not complain of an error that nobody is going to look at."""
    if not future.cancelled():
        future.exception()
