"""``map``: pulls its inputs lazily, holds slots only for what runs, and yields in order or not.

Two objects. :class:`MapRun` is what the dispatcher and the executor know: inputs, buffer, chunks.
:class:`MapIterator` is what the caller holds; that the two are apart is how a dropped iterator is
noticed.

Nobody but the thread that calls ``next`` (or, for a map never begun, ``shutdown``) pulls inputs.
``_changed`` guards ``_ready``, ``_order`` and ``_seconds``, which the backend's thread fills; no
user code runs, nothing is pickled and no other lock is taken while it is held.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from functools import partial
from time import monotonic
from typing import Any

from . import _pickling
from ._admission import must_not_block
from ._delivery import load_outcome
from ._dispatch import Dispatcher, Work, shutdown_error
from .errors import SubmitTimeout

__all__ = ["MapIterator", "MapRun"]

_log = logging.getLogger("bounded_executor")

# How long a chunk that is sized by the tasks' own speed should take.
CHUNK_SECONDS = 0.005

_Outcome = Callable[[], Any]  # returns the result or raises the error


class MapRun:
    """The running side of one ``map`` call.

    Args:
        dispatcher: where chunks go.
        note: has the backend's thread do something, without taking a lock.
        fn: the function, and ``inputs``: tuples of its arguments, pulled as needed.
        workers: processes that may work at once.
        buffersize: items submitted and not yet yielded at most.
        chunksize: items that travel together; None adapts it.
        unordered: yield as results arrive.
        timeout: seconds from now for the whole map; None for no limit.
        submit: what each item is to be submitted by, where somebody has replaced the executor's own
            ``submit`` and expects to see the calls, as the standard library's map makes them.
    """

    to_deliver = False

    def __init__(
        self,
        dispatcher: Dispatcher,
        note: Callable[[Callable[[], None]], None],
        fn: Callable[..., Any],
        inputs: Iterator[tuple[Any, ...]],
        *,
        workers: int,
        buffersize: int,
        chunksize: int | None,
        unordered: bool,
        timeout: float | None,
        submit: Callable[..., Future[Any]] | None,
    ) -> None:
        self.note = note
        self.begun = False
        self.finished = False
        self.dropped = False
        self._dispatcher = dispatcher
        self._fn = fn
        self._submit_call = submit
        self._futures: dict[int, Future[Any]] = {}
        self._inputs: Iterator[tuple[Any, ...]] | None = inputs
        self._buffersize = buffersize
        self._chunksize = chunksize
        self._longest = max(1, buffersize // (4 * workers))
        self._unordered = unordered
        self._timeout = timeout
        self._deadline = None if timeout is None else monotonic() + timeout
        self._name = _pickling.name_of(fn)
        self._error: BaseException | None = None
        self._body = b""
        self._pulled = 0
        self._yielded = 0
        self._changed = threading.Condition()
        self._ready: dict[int, _Outcome] = {}
        self._order: deque[int] = deque()
        self._stored_bytes = 0
        self._seconds: float | None = None
        self._run_on = False
        self._input_failed = False
        try:
            self._body = _pickling.dump_call(fn, fn)
        except Exception as error:
            self._end_input(error)

    # The dispatcher's side

    def start(self) -> bool:
        return not self.finished

    def outcome(self, index: int, ok: bool, seconds: float, body: bytes | bytearray) -> None:
        self._store(index, partial(load_outcome, ok, body), seconds, len(body))

    def fail(self, index: int, error: BaseException) -> None:
        self._store(index, partial(_raise, error))

    def cancelled(self, work: Work) -> None:
        for index in range(work.first, work.first + work.count):
            self._store(index, partial(_raise, CancelledError()))

    def _store(self, index: int, outcome: _Outcome, seconds: float | None = None, size: int = 0) -> None:
        with self._changed:
            if seconds is not None:
                known = self._seconds
                self._seconds = seconds if known is None else known + (seconds - known) / 16
            if self.finished or self.dropped:
                return
            self._ready[index] = outcome
            self._stored_bytes += size
            if self._unordered:
                self._order.append(index)
            self._changed.notify()

    # The consumer's side

    def advance(self) -> Any:
        """Return the next result, or raise its error; StopIteration after the last."""
        self.begun = True
        if self.finished:
            raise StopIteration
        try:
            self.top_up()
            outcome = self._await_outcome()
            if outcome is None:
                if self._error is not None:
                    raise self._error
                raise StopIteration
            self._yielded += 1
            return _end_noisily(outcome)
        except BaseException:
            self.cancel()
            raise

    def top_up(self) -> None:
        """Submit inputs while there is room and a slot; wait for one only to have a first."""
        while self._inputs is not None:
            outstanding = self._pulled - self._yielded
            room = self._buffersize - outstanding
            free = self._dispatcher.ledger.free()
            if room <= 0 or (outstanding and not free):
                return
            if self._dispatcher.closed and not self._run_on:
                if not outstanding:
                    self._refuse()
                return
            self._submit(self._pull(min(self._chunk(), room, max(free, 1))))

    def run_on(self) -> BaseException | None:
        """Submit all remaining inputs, for a map that nobody began; return the inputs' error."""
        self._run_on = True
        self._submit_call = None
        while self._inputs is not None and not self._dispatcher.broken:
            self._submit(self._pull(self._chunk()))
        return self._error if self._input_failed else None

    def kept_bytes(self) -> int:
        """Return the bytes of the results that arrived so far, none of which has been fetched."""
        with self._changed:
            return self._stored_bytes

    def cancel(self) -> None:
        """Cancel what has not started, and let go of everything."""
        self.finished = True
        self._end_input(None)
        self._dispatcher.discard_sink(self)
        for future in list(self._futures.values()):
            future.cancel()
        with self._changed:
            self._ready.clear()
            self._order.clear()

    def drop(self) -> None:
        """The iterator is gone: nobody will fetch results. Takes no lock."""
        self.dropped = True
        self.note(self.cancel if self.begun else self._ready.clear)

    def _await_outcome(self) -> _Outcome | None:
        with self._changed:
            while self._pulled > self._yielded:
                if self._unordered:
                    if self._order:
                        return self._ready.pop(self._order.popleft())
                elif self._yielded in self._ready:
                    return self._ready.pop(self._yielded)
                left = None if self._deadline is None else self._deadline - monotonic()
                if left is not None and left <= 0:
                    raise self._timed_out()
                self._changed.wait(left)
        return None

    def _timed_out(self) -> Exception:
        # concurrent.futures' own class is this one only since Python 3.11.
        from concurrent.futures import TimeoutError as FuturesTimeoutError

        return FuturesTimeoutError(
            f"map did not finish within timeout={self._timeout} seconds: "
            f"{self._yielded} results yielded, {self._pulled - self._yielded} outstanding"
        )

    def _refuse(self) -> None:
        """The executor is shut down: a map with further inputs must not end as if it were done."""
        assert self._inputs is not None
        try:
            next(self._inputs)
        except StopIteration:
            self._end_input(None)
        except BaseException as error:
            self._end_input(error)
        else:
            try:
                self._dispatcher.check()
                self._end_input(shutdown_error())
            except Exception as error:
                self._end_input(error)

    def _chunk(self) -> int:
        if self._chunksize is not None:
            return self._chunksize
        if self._seconds is None:
            return 1
        return max(1, min(self._longest, int(CHUNK_SECONDS / max(self._seconds, 1e-9))))

    def _end_input(self, error: BaseException | None) -> None:
        self._inputs = None
        self._error = error

    def _pull(self, want: int) -> list[tuple[Any, ...]]:
        items: list[tuple[Any, ...]] = []
        while len(items) < want and self._inputs is not None:
            try:
                items.append(next(self._inputs))
            except StopIteration:
                self._end_input(None)
            except BaseException as error:
                self._input_failed = True
                self._end_input(error)
        return items

    def _submit(self, items: list[tuple[Any, ...]]) -> None:
        if self._submit_call is not None:
            for args in items:
                self._submit_through(self._submit_call, args)
            return
        chunk: list[bytes] = []
        for args in items:
            try:
                chunk.append(_pickling.dump(args)[0])
            except Exception as error:
                # It fails alone: those before it go first, so that indices stay in order.
                self._submit_chunk(chunk)
                chunk = []
                self._store(self._pulled, partial(_raise, error))
                self._pulled += 1
        self._submit_chunk(chunk)

    def _submit_chunk(self, chunk: list[bytes]) -> None:
        while chunk:
            granted = self._acquire(len(chunk))
            if not granted:
                return
            work = Work(self._name, self._body, chunk[:granted], self, self._pulled)
            try:
                self._dispatcher.submit(work, after_close=self._run_on)
            except Exception as error:
                self._end_input(error)
                return
            self._pulled += granted
            del chunk[:granted]
            self._dispatcher.wake()

    def _submit_through(self, submit: Callable[..., Future[Any]], args: tuple[Any, ...]) -> None:
        try:
            future = submit(self._fn, *args)
        except Exception as error:
            self._end_input(error)
            return
        index = self._pulled
        self._pulled += 1
        self._futures[index] = future
        future.add_done_callback(partial(self._take_future, index))

    def _take_future(self, index: int, future: Future[Any]) -> None:
        self._futures.pop(index, None)
        self._store(index, future.result)

    def _acquire(self, want: int) -> int:
        ledger = self._dispatcher.ledger
        force = ledger.free() == 0 and must_not_block(_caller()) is not None
        left = None if self._deadline is None or self._run_on else max(0.0, self._deadline - monotonic())
        try:
            return ledger.acquire(want, timeout=left, force=force, after_close=self._run_on)
        except SubmitTimeout:
            raise self._timed_out() from None
        except Exception as error:
            self._end_input(error)
            return 0


def _end_noisily(outcome: _Outcome) -> Any:
    try:
        return outcome()
    except StopIteration as error:
        # As it is, it would end the map as if the inputs had ended.
        raise RuntimeError("a task of the map raised StopIteration") from error


def _raise(error: BaseException) -> Any:
    raise error


def _caller() -> Any:
    frame = sys._getframe(1)
    here = frame.f_globals
    while frame is not None and frame.f_globals.get("__package__") == here["__package__"]:
        frame = frame.f_back  # type: ignore[assignment]
    return frame


class MapIterator(Iterator[Any]):
    """The results of a ``map`` call; one thread at a time may use it.

    Closing or dropping one that has begun cancels what has not started. One that has not begun
    is run to its end by the executor's shutdown, see ``BoundedProcessPoolExecutor.map``.
    """

    def __init__(self, run: MapRun, executor: object, on_begin: Callable[[MapRun], None]) -> None:
        self._run = run
        # Held until the end, so that an executor which only the iterator needs is not collected.
        self._executor: object | None = executor
        self._on_begin = on_begin

    def __next__(self) -> Any:
        run = self._run
        if not run.begun:
            self._on_begin(run)
        try:
            return run.advance()
        finally:
            if run.finished:
                self._executor = None

    def close(self) -> None:
        """Cancel what has not started and drop what was not fetched; later calls do nothing."""
        self._on_begin(self._run)
        self._run.begun = True
        self._run.cancel()
        self._executor = None

    def __del__(self) -> None:
        run = getattr(self, "_run", None)
        if run is not None and not run.finished:
            run.drop()
