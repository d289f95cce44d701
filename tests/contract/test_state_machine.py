"""Ledger and dispatcher against a simple model, with a fake backend, in any order of events."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bounded_executor import BrokenProcessPool, QueueFull
from bounded_executor._core.dispatcher import Dispatcher
from bounded_executor._core.semaphore import Account, Ledger
from bounded_executor._core.work import FutureSink, Sink, Work
from bounded_executor._future import BoundedFuture
from bounded_executor._serialize.functions import Function
from bounded_executor._serialize.outcomes import Group

Item = tuple[int, int]  # number of the submission, index in it


class FakeDelivery:
    """Keeps what is to be delivered until the test delivers it."""

    def __init__(self) -> None:
        self.queue: deque[tuple[BoundedFuture, bool | None, Any]] = deque()

    def put(self, future: BoundedFuture, ok: bool, body: bytes) -> None:
        self.queue.append((future, ok, body))

    def put_group(self, futures: list[BoundedFuture], group: Group) -> None:
        assert len(futures) == group.count
        self.queue.extend((future, True, b"") for future in futures)

    def put_error(self, future: BoundedFuture, error: BaseException) -> None:
        self.queue.append((future, None, error))

    def deliver(self) -> None:
        future, ok, body = self.queue.popleft()
        if ok:
            future.set_result(body)
        else:
            future.set_exception(body if ok is None else ValueError(body))


class MapSink:
    """Waits for a chunk, as a map does, and records how each item ended."""

    to_deliver = False
    revocable = False
    revoked = False

    def __init__(self) -> None:
        self.ends: dict[int, str] = {}
        self.is_full = False

    def start(self) -> bool:
        return True

    def full(self, work: Work) -> bool:
        return self.is_full

    def wait_again(self, forget: object) -> None:
        """A map is told nothing that it does not know."""

    def outcome(self, index: int, ok: bool, body: bytes, seconds: float, attempts: int) -> Callable[[], None]:
        return partial(self._end, index, "ok" if ok else "error")

    def outcomes(self, index: int, group: Group, seconds: float | None) -> Callable[[], None]:
        return partial(self._end_all, range(index, index + group.count), "ok")

    def fail(self, index: int, error: BaseException, attempts: int) -> None:
        self._end(index, "lost")

    def cancelled(self, work: Work) -> None:
        self._end_all(range(work.first, work.first + work.count), "cancelled")

    def _end_all(self, indexes: Iterable[int], how: str) -> None:
        for index in indexes:
            self._end(index, how)

    def _end(self, index: int, how: str) -> None:
        assert index not in self.ends, "an item ended twice"
        self.ends[index] = how


class Running:
    """What the fake backend has taken and not finished."""

    def __init__(self, work: Work, items: list[Item]) -> None:
        self.work = work
        self.items = items  # those without an outcome


class Machine(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 5), limit=st.none() | st.integers(1, 30), floor=st.integers(1, 3))
    def begin(self, size: int, limit: int | None, floor: int) -> None:
        self.ledger = Ledger(size, limit, floor)
        self.limit = limit
        self.floor = floor
        self.account = Account()
        self.kept = 0  # bytes of results that a map holds
        self.sizes: dict[int, list[int]] = {}
        self.parked: dict[int, deque[list[Item]]] = {}
        self.claimed = 0
        self.delivery = FakeDelivery()
        self.dispatcher = Dispatcher(self.ledger, self.delivery)  # type: ignore[arg-type]
        self.size = size
        self.forced = 0
        self.call = Function("call")
        self.chunk = Function("chunk")
        self.apart: set[int] = set()  # maps whose chunks travel each for itself
        self.futures: dict[int, BoundedFuture] = {}
        self.sinks: dict[int, Any] = {}
        self.waiting: deque[list[Item]] = deque()
        self.running: list[Running] = []
        self.resting: list[list[Item]] = []
        self.past: set[Item] = set()  # what a worker has had before, past cancelling
        self.losses: dict[Item, int] = {}
        self.ended = 0
        self.cancelled = 0
        self.numbers = 0
        self.closed = False
        self.cancelling = False
        self.broken = False

    # Submitting.

    def _fits(self, held: int, weight: int, size: int) -> bool:
        if held + self.claimed >= self.size:
            return False
        return self.limit is None or held < self.floor or weight + size <= self.limit

    def _acquire(self, work: Work, force: bool) -> int:
        """Take slots as an executor would; 0 when that is refused, as the model expects."""
        sizes = work.sizes
        if self.broken or self.closed:
            with pytest.raises(BrokenProcessPool if self.broken else RuntimeError):
                self.ledger.acquire(lease=work, sizes=sizes, block=False, force=force)
            return 0
        held, weight = self._held(), self._weight()
        fitting = 0
        for size in sizes if len(self.delivery.queue) < self.size else ():
            if not self._fits(held + fitting, weight + sum(sizes[:fitting]), size):
                break
            fitting += 1
        assert self.ledger.free(sizes[0]) == (self.size - held - self.claimed if fitting else 0)
        if fitting:
            assert self.ledger.acquire(lease=work, sizes=sizes, block=False, force=force) == fitting
            return fitting
        if not force:
            with pytest.raises(QueueFull):
                self.ledger.acquire(lease=work, sizes=sizes, block=False)
            return 0
        assert self.ledger.acquire(lease=work, sizes=sizes, force=True) == 1
        self.forced += 1
        return 1

    def _held(self) -> int:
        waiting = sum(map(len, self.waiting)) + len(self.resting)
        return waiting + sum(len(one.items) for one in self.running)

    def _everything(self) -> list[Item]:
        places = [*self.waiting, *self.resting, *(one.items for one in self.running)]
        places += [items for queue in self.parked.values() for items in queue]
        return [item for items in places for item in items]

    def _weight(self) -> int:
        return self.kept + sum(self.sizes[number][index] for number, index in self._everything())

    @rule(size=st.integers(0, 20), force=st.booleans())
    def submit(self, size: int, force: bool) -> None:
        future = BoundedFuture()
        sink = FutureSink(future, self.delivery)  # type: ignore[arg-type]
        work = Work(self.call, [bytes(size)], sink, joins=True)
        if self._acquire(work, force):
            future._forget = partial(self.dispatcher.discard, work)
            self.dispatcher.submit(work)
            self.numbers += 1
            self.futures[self.numbers] = future
            self.sinks[self.numbers] = sink
            self.sizes[self.numbers] = [size]
            self.waiting.append([(self.numbers, 0)])

    @rule(
        sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6),
        force=st.booleans(),
        joins=st.booleans(),
    )
    def submit_map(self, sizes: list[int], force: bool, joins: bool) -> None:
        self._submit_chunk(sizes, force, joins, None)

    @precondition(lambda self: len(self.sinks) > len(self.futures))
    @rule(data=st.data(), sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6))
    def submit_next_chunk(self, data: st.DataObject, sizes: list[int]) -> None:
        number = data.draw(st.sampled_from(sorted(set(self.sinks) - set(self.futures))))
        self._submit_chunk(sizes, False, number not in self.apart, number)

    def _submit_chunk(self, sizes: list[int], force: bool, joins: bool, number: int | None) -> None:
        sink = MapSink() if number is None else self.sinks[number]
        first = 0 if number is None else len(self.sizes[number])
        work = Work(self.chunk, [bytes(size) for size in sizes], sink, first, joins=joins)
        granted = self._acquire(work, force)
        if not granted:
            return
        if number is None:
            self.numbers += 1
            number = self.numbers
            self.sinks[number] = sink
            self.sizes[number] = []
            if not joins:
                self.apart.add(number)
        if granted < len(sizes):
            work.rest(granted)
        self.dispatcher.submit(work)
        self.sizes[number] += sizes[:granted]
        self.waiting.append([(number, first + index) for index in range(granted)])

    @rule(size=st.integers(1, 20))
    def keep_result(self, size: int) -> None:
        self.ledger.weigh(self.account, size)
        self.kept += size

    @precondition(lambda self: self.kept)
    @rule()
    def fetch_results(self) -> None:
        self.ledger.weigh(self.account, -self.kept)
        self.kept = 0

    @precondition(lambda self: self.sinks)
    @rule(data=st.data())
    def fill_or_empty(self, data: st.DataObject) -> None:
        """A map cannot take more results now, or can again."""
        sink = self.sinks[data.draw(st.sampled_from(sorted(self.sinks)))]
        if isinstance(sink, MapSink):
            sink.is_full = not sink.is_full

    @precondition(lambda self: self.closed or self.broken)
    @rule()
    def submit_too_late(self) -> None:
        """Slots were granted before the end, the work comes after it: they are given back."""
        work = Work(self.call, [b""], MapSink())
        granted = self.ledger.acquire(lease=work, force=True, after_close=True)
        before = self.ledger.counts()
        self.forced += before.above_bound - self.forced
        with pytest.raises(BrokenProcessPool if self.broken else RuntimeError):
            self.dispatcher.submit(work)
        self.dispatcher.withdraw(work)
        assert self.ledger.counts().held == before.held - granted

    # The backend.

    @rule(limit=st.none() | st.integers(1, 4), among=st.none() | st.integers(1, 3))
    def take(self, limit: int | None, among: int | None) -> None:
        assert self.dispatcher.rouse() is None
        work = self.dispatcher.take(limit, beside=len(self.running), among=among)
        items = self._next_items()
        if items is not None and self.running and self.losses.get(items[0], 0) >= 2:
            self.waiting.appendleft(items)
            items = None
        if items is None:
            assert work is None
            return
        assert work is not None
        if limit is not None and len(items) > limit:
            self.waiting.appendleft(items[limit:])
            items = items[:limit]
        if among is not None:
            self._join(items, limit, among)
        assert [self._sink_of(work, index) for index in range(work.count)] == [
            (self.sinks[number], 0 if number in self.futures else index) for number, index in items
        ], "first come, first served"
        assert work.losses == self.losses.get(items[0], 0)
        for number, _ in items:
            if number in self.futures:
                assert self.futures[number].running()
                assert not self.futures[number].cancel()
        self.running.append(Running(work, items))

    def _sink_of(self, work: Work, index: int) -> tuple[Sink, int]:
        """Whose outcome it is, and what he calls it."""
        sinks = getattr(work.sink, "sinks", None)
        return (work.sink, work.first + index) if sinks is None else (sinks[work.first + index], 0)

    def _join(self, items: list[Item], limit: int | None, among: int) -> None:
        """Add what may travel with the first, where the function is known to be quick."""
        function = self.call if items[0][0] in self.futures else self.chunk
        if function.seconds is None or not self._joins(items):
            return
        parked = [one for queue in self.parked.values() for one in queue]
        waits = sum(map(len, [items, *self.waiting, *parked]))
        most = min(waits, -(-waits // among), waits if limit is None else limit)
        while self.waiting and len(items) + len(self.waiting[0]) <= most:
            both = {items[-1][0], self.waiting[0][0][0]}
            calls = both <= set(self.futures)
            follows = self.waiting[0][0] == (items[-1][0], items[-1][1] + 1)
            if not self._joins(self.waiting[0]) or not (calls or follows):
                break
            items += self.waiting.popleft()

    def _joins(self, items: list[Item]) -> bool:
        return items[0] not in self.past and items[0][0] not in self.apart

    def _may_start(self, number: int) -> bool:
        return self.closed or not getattr(self.sinks[number], "is_full", False)

    def _next_items(self) -> list[Item] | None:
        self.waiting.extendleft(reversed(self.resting))
        self.resting.clear()
        number = next((one for one in self.parked if self._may_start(one)), None)
        self.claimed = 0
        if number is not None:
            queue = self.parked[number]
            if not self._held() or self._held() + len(queue[0]) <= self.size:
                items = queue.popleft()
                if not queue:
                    del self.parked[number]
                return items
            self.claimed = len(queue[0])
        while self.waiting:
            items = self.waiting.popleft()
            if items[0] in self.past or self._may_start(items[0][0]):
                return items
            self.parked.setdefault(items[0][0], deque()).append(items)
        return None

    @precondition(lambda self: self.running)
    @rule(data=st.data(), ok=st.booleans())
    def finish_item(self, data: st.DataObject, ok: bool) -> None:
        one = data.draw(st.sampled_from(self.running))
        self.dispatcher.outcome(one.work, one.work.done, ok, 0.0, b"body")
        self.dispatcher.deliver()
        one.items.pop(0)
        self.ended += 1
        if not one.items:
            self.running.remove(one)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def finish_items(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.running))
        count = data.draw(st.integers(1, len(one.items)))
        self.dispatcher.outcomes(one.work, Group(b"", count, together=True), 0.0)
        self.dispatcher.deliver()
        del one.items[:count]
        self.ended += count
        if not one.items:
            self.running.remove(one)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["fails", "is run again", "is suspected and run again"]))
    def lose(self, data: st.DataObject, how: str) -> None:
        """A worker dies in its current item; the others of the work go back."""
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.dispatcher.give_back(one.work, skip=1)
        self._go_back(one.items[1:])
        if how == "fails":
            self.dispatcher.fail_item(one.work, one.work.done, RuntimeError("died"))
            self.ended += 1
            return
        item = one.work.current()
        if how != "is run again":
            item.losses += 1
            self.losses[one.items[0]] = item.losses
        # Longer rests are the clock's matter.
        self.dispatcher.again(item, 0.0, RuntimeError("died"))
        if self.broken or self.cancelling:
            self.ended += 1
        else:
            self.resting.append(one.items[:1])
            self.past.add(one.items[0])

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose_before_it_began(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.running))
        self.running.remove(one)
        self.dispatcher.give_back(one.work)
        self._go_back(one.items)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """A worker goes on with some of what it has, and the rest goes back."""
        one = data.draw(st.sampled_from(self.running))
        stays = data.draw(st.integers(1, len(one.items)))
        self.dispatcher.give_back(one.work, skip=stays)
        self._go_back(one.items[stays:])
        del one.items[stays:]

    def _go_back(self, items: list[Item]) -> None:
        if not items:
            return
        if items[0][0] in self.futures and len(items) > 1:
            # Calls wait each for itself again.
            for item in reversed(items):
                self._go_back([item])
            return
        if self.broken or (self.cancelling and items[0] in self.past):
            self.ended += len(items)
        elif self.cancelling:
            self.cancelled += len(items)
        else:
            self.waiting.appendleft(items)

    @precondition(lambda self: self.delivery.queue)
    @rule()
    def deliver(self) -> None:
        self.delivery.deliver()
        self.ledger.delivered()

    # Ends.

    @precondition(lambda self: self.futures)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.futures)))
        waits = [(number, 0)] in self.waiting and (number, 0) not in self.past
        future = self.futures[number]
        expected = waits or future.cancelled()
        assert future.cancel() is expected
        if waits:
            self.waiting.remove([(number, 0)])
            self.cancelled += 1

    @precondition(lambda self: self.sinks)
    @rule(data=st.data())
    def discard_sink(self, data: st.DataObject) -> None:
        """A map is closed: what of it waits goes, what runs runs on."""
        number = data.draw(st.sampled_from(sorted(self.sinks)))
        sink = self.sinks[number]
        if isinstance(sink, MapSink):
            self.dispatcher.discard_sink(sink)
            self.cancelled += sum(len(items) for items in self.waiting if items[0][0] == number)
            self.waiting = deque(items for items in self.waiting if items[0][0] != number)
            self.cancelled += sum(map(len, self.parked.pop(number, ())))
            self.cancelled += sum(items[0][0] == number for items in self.resting)
            self.resting = [items for items in self.resting if items[0][0] != number]

    @rule()
    def close(self) -> None:
        self.dispatcher.close()
        self.closed = True

    @precondition(lambda self: self.closed)
    @rule()
    def cancel_waiting(self) -> None:
        self.dispatcher.cancel_waiting()
        self.cancelling = True
        gone = set(self._everything()) - {item for one in self.running for item in one.items}
        self.ended += len(gone & self.past)
        self.cancelled += len(gone - self.past)
        self.waiting.clear()
        self.parked.clear()
        self.resting.clear()

    @rule()
    def break_(self) -> None:
        self.dispatcher.break_(lambda: BrokenProcessPool("broken"))
        if not self.broken:
            self.ended += len(self._everything()) - sum(len(one.items) for one in self.running)
            self.waiting.clear()
            self.parked.clear()
            self.resting.clear()
        self.broken = True

    # What always holds.

    @invariant()
    def slots_are_those_of_unfinished_items(self) -> None:
        counts = self.ledger.counts()
        assert counts.held == self._held()
        assert counts.held <= self.size + counts.above_bound
        assert counts.above_bound == self.forced
        assert counts.undelivered == len(self.delivery.queue)
        assert counts.weight == self._weight()

    @invariant()
    def every_item_is_in_one_place(self) -> None:
        submitted, waiting, cancelled = self.dispatcher.counters()
        parked = [items for queue in self.parked.values() for items in queue]
        assert waiting == self.dispatcher.waiting == sum(map(len, self.waiting)) + sum(map(len, parked))
        works = len(self.waiting) + len(self.resting) + (len(parked) if self.closed else 0)
        assert self.dispatcher.waiting_works == works
        assert self.dispatcher.parking == bool(parked)
        assert cancelled == self.cancelled
        assert self.dispatcher.succeeded + self.dispatcher.failed == self.ended
        assert submitted == self.ended + cancelled + len(self._everything())

    def teardown(self) -> None:
        """Whatever happened, everything can be brought to an end, and all slots are free then."""
        if not hasattr(self, "ledger"):
            return
        for sink in self.sinks.values():
            if isinstance(sink, MapSink):
                sink.is_full = False
        while True:
            while self.running:
                one = self.running.pop()
                while one.items:
                    self.dispatcher.outcome(one.work, one.work.done, True, 0.0, b"")
                    self.dispatcher.deliver()
                    one.items.pop()
            self.dispatcher.rouse()
            work = self.dispatcher.take()
            if work is None:
                break
            assert self.ledger.counts().held <= self.size + self.forced
            self.running.append(Running(work, [(0, 0)] * work.count))
        while self.delivery.queue:
            self.deliver()
        assert self.ledger.counts().held == 0
        assert self.ledger.counts().weight == self.kept
        assert self.ledger.counts().undelivered == 0
        assert all(future.done() for future in self.futures.values())
        assert self.dispatcher.waiting == 0


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
