"""Ledger and dispatcher together, with a fake backend, in any order of events."""

from __future__ import annotations

from concurrent.futures import CancelledError
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bounded_executor import BrokenProcessPool, QueueFull
from bounded_executor._delivery import load_outcome
from bounded_executor._dispatch import BoundedFuture, Dispatcher, FutureSink, Work
from bounded_executor._ledger import Ledger
from bounded_executor._pickling import dump, dump_error


class InlineDelivery:
    """Delivers when told to, so that the backlog of callbacks is an event like the others."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.pending: list[tuple[BoundedFuture, bool | None, Any]] = []

    def put(self, future: BoundedFuture, ok: bool, body: bytes) -> None:
        self.pending.append((future, ok, body))

    def put_error(self, future: BoundedFuture, error: BaseException) -> None:
        self.pending.append((future, None, error))

    def deliver(self) -> None:
        future, ok, body = self.pending.pop(0)
        try:
            if ok is None:
                raise body
            future.set_result(load_outcome(ok, body))
        except Exception as error:
            future.set_exception(error)
        self.ledger.delivered()


class ChunkSink:
    """Stands for a map: every item of its chunks must end exactly once."""

    to_deliver = False

    def __init__(self) -> None:
        self.ends: dict[int, str] = {}
        self.wanted = True

    def start(self) -> bool:
        return self.wanted

    def end(self, index: int, how: str) -> None:
        assert index not in self.ends, f"item {index} ended as {self.ends[index]} and as {how}"
        self.ends[index] = how

    def outcome(self, index: int, ok: bool, seconds: float, body: bytes) -> None:
        self.end(index, "result" if ok else "error")

    def fail(self, index: int, error: BaseException) -> None:
        self.end(index, "failed")

    def cancelled(self, work: Work) -> None:
        for index in range(work.first, work.first + work.count):
            self.end(index, "cancelled")


class ExecutorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.size = 4
        self.ledger = Ledger(self.size)
        self.delivery = InlineDelivery(self.ledger)
        self.dispatcher = Dispatcher(self.ledger, self.delivery)  # type: ignore[arg-type]
        self.futures: list[BoundedFuture] = []
        self.works: dict[BoundedFuture, Work] = {}
        self.chunks: list[tuple[ChunkSink, int]] = []
        self.running: list[Work] = []
        self.forced = 0
        self.closed = False
        self.broken = False

    @rule(force=st.booleans())
    def submit(self, force: bool) -> None:
        full = self.ledger.free() == 0
        try:
            self.ledger.acquire(block=False, force=force)
        except QueueFull:
            assert full and not force
            return
        except (RuntimeError, BrokenProcessPool):
            assert self.closed or self.broken
            return
        self.forced += full
        future = BoundedFuture()
        work = Work("f", dump(len(self.futures))[0], None, FutureSink(future, self.delivery))  # type: ignore[arg-type]
        future._forget = lambda: self.dispatcher.discard(work)
        self.dispatcher.submit(work)
        self.futures.append(future)

    @rule(count=st.integers(1, 5))
    def submit_chunk(self, count: int) -> None:
        try:
            granted = self.ledger.acquire(count, block=False)
        except (QueueFull, RuntimeError, BrokenProcessPool):
            return
        assert 1 <= granted <= min(count, self.size)
        sink = ChunkSink()
        self.dispatcher.submit(Work("g", b"", [b"x"] * granted, sink))
        self.chunks.append((sink, granted))

    @rule(limit=st.none() | st.integers(1, 3))
    def take(self, limit: int | None) -> None:
        work = self.dispatcher.take(limit)
        if work is not None:
            assert limit is None or work.count <= limit
            self.running.append(work)

    @precondition(lambda self: self.running)
    @rule(ok=st.booleans(), data=st.data())
    def finish(self, ok: bool, data: st.DataObject) -> None:
        work = data.draw(st.sampled_from(self.running))
        body = dump(1)[0] if ok else dump_error(ValueError("task"))
        self.dispatcher.outcome(work, work.done, ok, 0.0, body)
        if work.done == work.count:
            self.running.remove(work)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        work = data.draw(st.sampled_from(self.running))
        self.running.remove(work)
        self.dispatcher.lost(work, BrokenProcessPool("killed"))

    @precondition(lambda self: self.futures)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        future = data.draw(st.sampled_from(self.futures))
        pending = not future.done() and not future.running()
        assert future.cancel() == (pending or future.cancelled())

    @precondition(lambda self: self.chunks)
    @rule(data=st.data())
    def close_map(self, data: st.DataObject) -> None:
        sink, _ = data.draw(st.sampled_from(self.chunks))
        sink.wanted = False
        self.dispatcher.discard_sink(sink)

    @precondition(lambda self: self.delivery.pending)
    @rule()
    def deliver(self) -> None:
        self.delivery.deliver()

    @rule(cancel=st.booleans())
    def shutdown(self, cancel: bool) -> None:
        self.closed = True
        self.dispatcher.close()
        if cancel:
            self.dispatcher.cancel_waiting()
            assert self.dispatcher.waiting == 0

    @rule()
    def break_(self) -> None:
        self.broken = True
        self.dispatcher.break_(lambda: BrokenProcessPool("broken"))
        for work in self.running:
            for index in range(work.done, work.count):
                self.dispatcher.fail_item(work, index, BrokenProcessPool("broken"))
        self.running.clear()

    @invariant()
    def slots_are_those_of_unfinished_items(self) -> None:
        running = sum(work.count - work.done for work in self.running)
        assert self.ledger.counts().held == self.dispatcher.waiting + running
        assert self.ledger.counts().held <= self.size + self.forced

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        submitted, waiting, cancelled = self.dispatcher.counters()
        running = sum(work.count - work.done for work in self.running)
        ended = self.dispatcher.succeeded + self.dispatcher.failed + cancelled
        assert submitted == waiting + running + ended

    @invariant()
    def backlog_is_what_waits_for_delivery(self) -> None:
        assert self.ledger.counts().undelivered == len(self.delivery.pending)

    def teardown(self) -> None:
        while (work := self.dispatcher.take()) is not None:
            self.running.append(work)
        for work in self.running:
            while work.done < work.count:
                self.dispatcher.outcome(work, work.done, True, 0.0, dump(1)[0])
        while self.delivery.pending:
            self.delivery.deliver()
        counts = self.ledger.counts()
        assert counts.held == counts.undelivered == 0
        for future in self.futures:
            assert future.done()
            if future.cancelled():
                with pytest.raises(CancelledError):
                    future.result()
        errors = [
            id(future.exception()) for future in self.futures if not future.cancelled() and future.exception()
        ]
        assert len(errors) == len(set(errors))
        for sink, granted in self.chunks:
            assert sorted(sink.ends) == list(range(granted))


TestExecutor = ExecutorMachine.TestCase
TestExecutor.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
