"""``map``: pulls its inputs lazily, holds slots only for what runs, and yields in order or not.

Two objects. :class:`MapRun` is what the dispatcher and the executor know: inputs, buffer, chunks.
:class:`MapIterator` is what the caller holds; that the two are apart is how a dropped iterator is
noticed.

Nobody but the thread that calls ``next`` (or, for a map never begun, ``shutdown``) pulls inputs. The
backend's thread only fills the ``_map.results``, which have a lock of their own, and reads a few numbers.

Results that nobody has fetched weigh in the ledger as unfinished tasks do. When that is full, no
inputs are pulled, and what was submitted is not started (:meth:`MapRun.full`), except for the
oldest items, one for each worker: whoever waits for them must not wait for what stands behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FuturesTimeoutError
from functools import partial
from itertools import islice
from math import inf
from time import monotonic
from typing import Any

from .._core.admission import must_not_block, outer_frame
from .._core.backend import Backend
from .._core.callbacks import load_outcome
from .._core.dispatcher import Dispatcher
from .._core.lifecycle import late_map, shutdown_error
from .._core.work import Work
from .._flag import Flag
from .._serialize import pickling
from .._serialize.functions import Function
from .._serialize.outcomes import Group
from .._serialize.payload import Item, Pickled, Remote
from ..errors import QueueFull, SubmitTimeout
from .fetched import Fetched
from .inputs import Inputs
from .results import Results

__all__ = ["MapRun"]

# A part of the buffer is on its way while others are worked on, filled, and fetched.
CHUNKS_PER_WORKER = 2
# How long a chunk that is sized by the tasks' own speed should take.
CHUNK_SECONDS = 0.005
# And what it should weigh at most, going or coming; one of a given length ends where the bound does.
CHUNK_BYTES = 1 << 20


class MapRun:
    """The running side of one ``map`` call.

    Args:
        dispatcher: where chunks go.
        backend: says what calls become on their way, and how many run at once.
        fn: the function, and ``inputs``: tuples of its arguments, pulled as needed.
        buffersize: items submitted and not yet yielded at most.
        chunksize: items that travel together; None adapts it.
        unordered: yield as results arrive.
        timeout: seconds from now for the whole map; None for no limit.
        submit: what each item is to be submitted by, where somebody has replaced the executor's own
            ``submit`` and expects to see the calls, as the standard library's map makes them.
    """

    to_deliver = False
    revocable = False
    revoked = False

    def __init__(
        self,
        dispatcher: Dispatcher,
        backend: Backend,
        fn: Callable[..., Any],
        inputs: Iterator[tuple[Any, ...]],
        *,
        buffersize: int,
        chunksize: int | None,
        unordered: bool,
        timeout: float | None,
        submit: Callable[..., Future[Any]] | None,
    ) -> None:
        self.note = backend.note
        self.begun = False
        self.finished = False
        self._dispatcher = dispatcher
        self._fn = fn
        self._submit_call = submit
        self._futures: dict[int, Future[Any]] = {}
        codec = backend.codec
        self._inputs: Inputs | None = Inputs(inputs, partial(codec.item, fn), numbers=codec.numbers)
        self._backend = backend
        self._buffersize = buffersize
        self._chunksize = 1 if chunksize is None and not backend.travels_together else chunksize
        self._timeout = timeout
        self._deadline = None if timeout is None else monotonic() + timeout
        self._error: BaseException | None = None
        self._pulled = 0
        self._fetched = 0
        self.fetched = Fetched()
        self._pending: list[Item] = []  # the last that were pulled, and are not submitted yet
        self._pending_first = 0
        self._results = Results(dispatcher.ledger, unordered)
        self._run_on = False
        # Set where nobody but the consumer's thread pulls inputs: before and after `run_on`.
        self._consumer_feeds = Flag(is_set=True)
        self._input_failed = False
        try:
            self._function = codec.for_map(fn)
        except Exception as error:
            self._function = Function(pickling.name_of(fn))
            self._end_input(error)

    # The dispatcher's side

    def start(self) -> bool:
        return not self.finished

    def wait_again(self, forget: Callable[[], object]) -> None:
        if self.finished:
            # It was on its way when what waited was discarded.
            forget()

    def full(self, work: Work) -> bool:
        if (
            self._run_on
            or self.finished
            or self._results.closed
            or work.first < self._fetched + self._backend.capacity
        ):
            return False
        return self._dispatcher.ledger.room() == 0

    def outcome(
        self, index: int, ok: bool, body: Pickled, seconds: float | None, attempts: int
    ) -> Callable[[], None]:
        found = partial(self._load, body) if isinstance(body, Remote) else partial(load_outcome, ok, body)
        self._results.put(index, found, len(body), quietly=True)
        return self._results.ring

    def outcomes(self, index: int, group: Group, seconds: float | None) -> Callable[[], None]:
        self._results.put(index, group, group.size, quietly=True)
        return self._results.ring

    def fail(self, index: int, error: BaseException, attempts: int) -> None:
        self._results.put(index, partial(_raise, error))

    def break_off(self, make_error: Callable[[], BaseException]) -> None:
        self._results.break_off(partial(_raise, make_error()))

    def cancelled(self, work: Work) -> None:
        for index in range(work.first, work.first + work.count):
            error = CancelledError("not started: it was cancelled, because the executor was shut down")
            self._results.cancel(index, partial(_raise, error))

    # The consumer's side

    def advance(self) -> Any:
        """Return the next result, or raise its error; StopIteration after the last."""
        self.begun = True
        if self.finished:
            raise StopIteration
        try:
            if not self.fetched:
                self._fetch()
            return self.fetched.next()
        except BaseException:
            self.cancel()
            raise

    def _fetch(self) -> None:
        """Wait for the next results, which may be several."""
        if not self._consumer_feeds.wait(self._seconds_left()):
            raise self._timed_out()
        self.top_up()
        if self._pulled == self._fetched:
            if self._error is not None:
                raise self._error
            raise StopIteration
        outcome = self._results.take(self._fetched, self._pulled - self._fetched, self._deadline)
        if outcome is None:
            raise self._timed_out()
        self._fetched += self.fetched.add(outcome)
        if self._dispatcher.parking:
            self._dispatcher.wake()

    def top_up(self) -> None:
        """Submit inputs while there is room and a slot; wait for one only to have a first."""
        ledger = self._dispatcher.ledger
        while self._inputs is not None or self._pending:
            outstanding = self._pulled - self._fetched
            if not self._pending:
                room = self._buffersize - outstanding
                free = ledger.free()
                full = ledger.room() == 0 and outstanding >= self._backend.capacity
                if room <= 0 or (outstanding and (full or not free)):
                    return
                if self._dispatcher.closed:
                    if not outstanding:
                        self._refuse()
                    return
                chunk = self._chunk()
                if outstanding and room < min(chunk, self._longest()):
                    # There will be room for more than a scrap.
                    return
                self._pull(min(chunk, room, max(free, 1)))
            self._submit_pending(block=len(self._pending) == self._pulled - self._fetched)
            if self._pending:
                return

    def hand_over(self) -> None:
        """Leave the inputs to :meth:`run_on`, which is to follow, and then :meth:`hand_back`.

        No thread may be feeding the map now.
        """
        self._run_on = True
        self._consumer_feeds.clear()

    def hand_back(self) -> None:
        """Leave to the consumer what :meth:`run_on` has not submitted."""
        self._consumer_feeds.set()

    def run_on(self) -> BaseException | None:
        """Submit all remaining inputs, for a map that nobody began; return the inputs' error."""
        self._results.make_weightless()
        self._submit_call = None
        self._dispatcher.wake()
        while (self._inputs is not None or self._pending) and not self._dispatcher.broken:
            if self.finished:
                self._end_input(None)
                break
            if not self._pending:
                self._pull(self._chunk())
            self._submit_pending(block=True)
        return self._error if self._input_failed else None

    def kept_bytes(self) -> int:
        """Return the bytes of the results that arrived so far, none of which has been fetched."""
        return self._results.bytes_so_far()

    def cancel(self) -> None:
        """Cancel what has not started, and let go of everything."""
        self.finished = True
        try:
            self._let_go()
        except BaseException:
            # Interrupted: what is left would keep its slots and bytes.
            self._let_go()
            raise

    def _let_go(self) -> None:
        if self._consumer_feeds.is_set():
            self._end_input(None)
        self.fetched.clear()
        self._dispatcher.discard_sink(self)
        for future in list(self._futures.values()):
            future.cancel()
        self._results.close()

    def drop(self) -> None:
        """The iterator is gone: no results will be fetched. Takes no lock that is held for long."""
        self._results.closed = True
        if not self.note(self.cancel if self.begun else self._results.close):
            # The executor has ended; its books are kept all the same.
            self._results.close()

    @property
    def yielded(self) -> int:
        """Results that were handed out."""
        return self._fetched - len(self.fetched)

    @property
    def submitted(self) -> bool:
        """Whether no inputs are left that would have to be pulled or submitted."""
        return self._inputs is None and not self._pending

    @property
    def dropped(self) -> bool:
        """Whether nobody will fetch any more results."""
        return self._results.closed

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def _load(self, result: Remote) -> Any:
        """Fetch a result that is elsewhere, in what is left of the time."""
        try:
            return result.fetch(self._seconds_left())
        except FuturesTimeoutError:
            raise self._timed_out() from None

    def _timed_out(self) -> Exception:
        return late_map("map", self._timeout, self._fetched, self._pulled - self._fetched)

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
        seconds = self._function.seconds
        if seconds is None:
            return 1
        quick = int(CHUNK_SECONDS / max(seconds, 1e-9))
        light = int(CHUNK_BYTES / max(self._function.size, 1.0))
        return max(1, min(self._longest(), quick, light))

    def _longest(self) -> int:
        return max(1, self._buffersize // (CHUNKS_PER_WORKER * self._backend.capacity))

    def _end_input(self, error: BaseException | None) -> None:
        self._inputs = None
        self._error = error
        if self._pending:
            self._pulled = self._pending_first
            # A new list: the last one may be what was submitted.
            self._pending = []

    def _pull(self, want: int) -> None:
        """Take up to ``want`` inputs, fewer when they are heavy, or when one cannot be pickled."""
        assert self._inputs is not None
        room = self._dispatcher.ledger.room() if self._chunksize is not None else CHUNK_BYTES
        try:
            if self._submit_call is not None:
                self._submit_each(self._submit_call, want)
                return
            # One at least, also where there is no room: that is asked for only where a worker would starve.
            items, error, ended = self._inputs.pull(want, inf if room is None else max(room, 1))
        except BaseException as failure:
            self._input_failed = True
            self._inputs, self._error = None, failure
            return
        self._pending_first = self._pulled
        self._pending = items
        self._pulled += len(items)
        if error is not None:
            self._results.put(self._pulled, partial(_raise, error))
            self._pulled += 1
        if ended:
            self._inputs = None

    def _submit_pending(self, *, block: bool) -> None:
        """Submit what was pulled, as far as there are slots."""
        while self._pending:
            joins = self._chunksize is None
            work = Work(self._function, self._pending, self, self._pending_first, joins=joins)
            try:
                granted = self._acquire(work, block)
                if not granted:
                    return
                rest = work.rest(granted).items if granted < work.count else []
                self._dispatcher.submit(work, after_close=self._run_on)
            except BaseException as error:
                # A signal's handler may have raised it anywhere in between; then the map ends with it.
                self._dispatcher.withdraw(work)
                if not (isinstance(error, Exception) and self._dispatcher.closed):
                    raise
                self._end_input(error)
                return
            self._pending = rest
            self._pending_first += granted

    def _submit_each(self, submit: Callable[..., Future[Any]], want: int) -> None:
        """Submit up to ``want`` inputs one by one."""
        before = self._pulled
        assert self._inputs is not None
        for args in islice(self._inputs, want):
            try:
                future = submit(self._fn, *args)
            except Exception as error:
                self._end_input(error)
                return
            index = self._pulled
            self._pulled += 1
            self._futures[index] = future
            future.add_done_callback(partial(self._take_future, index))
        if self._pulled < before + want:
            self._inputs = None

    def _take_future(self, index: int, future: Future[Any]) -> None:
        self._futures.pop(index, None)
        self._results.put(index, future.result)

    def _acquire(self, work: Work, block: bool) -> int:
        ledger = self._dispatcher.ledger
        force = False
        if block and not ledger.free(work.sizes[0]):
            force = must_not_block(outer_frame(), self._backend.is_current()) is not None
        left = None if self._run_on else self._seconds_left()
        try:
            return ledger.acquire(
                lease=work,
                sizes=work.sizes,
                block=block,
                timeout=left,
                force=force,
                after_close=self._run_on,
            )
        except QueueFull:
            return 0
        except SubmitTimeout:
            raise self._timed_out() from None


def _raise(error: BaseException) -> Any:
    raise error
