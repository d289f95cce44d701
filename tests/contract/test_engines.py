"""Executors below that grow, shrink, break, cancel, refuse, or run tasks where they are submitted."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, wait
from typing import Any

import pytest
from helpers import PATIENCE, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual import HeldExecutor, SynchronousExecutor, VirtualExecutor, spend

from bounded_executor import BoundedExecutor, BrokenProcessPool

LONG = 1.0  # seconds of a task that nothing is held ahead of


@contextlib.contextmanager
def ending(*hows: Callable[[], bool]) -> Iterator[None]:
    """Have what is held end, by a thread for each of these ways."""
    stop = threading.Event()

    def end(how: Callable[[], bool]) -> None:
        while not stop.is_set():
            if not how():
                stop.wait(0.0005)

    threads = [threading.Thread(target=end, args=(how,)) for how in hows]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextlib.contextmanager
def over(engine: HeldExecutor, **options: Any) -> Iterator[BoundedExecutor]:
    """Have an executor over this one; at the end, also of a test that fails, what is held ends."""
    ex = BoundedExecutor(engine, **options)
    try:
        yield ex
    finally:
        with ending(engine.finish):
            ex.shutdown()


def all_end(futures: Sequence[Future[Any]], how: Callable[[], bool]) -> None:
    """Have what is held end until all these futures are resolved."""
    with ending(how):
        assert wait(futures, PATIENCE).not_done == set()


def assert_nothing_held(ex: BoundedExecutor) -> None:
    wait_until(lambda: ex.stats().undelivered == 0, "all callbacks run")
    stats = ex.stats()
    assert (stats.unfinished, stats.waiting, stats.running, stats.held_bytes) == (0, 0, 0, 0)
    assert stats.succeeded + stats.failed + stats.cancelled == stats.submitted


def runs_on(ex: BoundedExecutor, engine: HeldExecutor) -> bool:
    """Whether it still takes ``queue_size`` tasks at once."""
    futures = [ex.submit_nowait(spend, LONG, number) for number in range(ex.stats().queue_size)]
    all_end(futures, engine.finish)
    return [future.result() for future in futures] == list(range(len(futures)))


# How much the executor below is given.


def test_the_window_follows_the_workers() -> None:
    engine = HeldExecutor(3)
    with over(engine, queue_size=60) as ex:
        futures = [ex.submit(spend, LONG, number) for number in range(60)]
        for workers in (3, 8, 2, 5):
            engine.resize(workers)
            # It is looked for once a second while tasks wait.
            wait_until(lambda workers=workers: ex._max_workers == workers, "the change seen")
            while engine.tasks > workers:
                before = ex.stats().running
                engine.finish()
                wait_until(lambda before=before: ex.stats().running < before, "its end seen")
            wait_until(lambda workers=workers: engine.tasks == workers, "as many held as there are workers")
            # One for one: so it stays.
            for _ in range(3):
                done = ex.stats().succeeded
                engine.finish()
                wait_until(lambda done=done: ex.stats().succeeded > done, "its end seen")
                wait_until(lambda workers=workers: engine.tasks == workers, "another one held")
        assert ex.stats().waiting > 0
        all_end(futures, engine.finish)
        assert [future.result() for future in futures] == list(range(60))
        assert_nothing_held(ex)


def test_more_workers_are_noticed_with_nothing_else_happening() -> None:
    engine = HeldExecutor(1)
    with over(engine, queue_size=20) as ex:
        futures = [ex.submit(spend, LONG) for _ in range(20)]
        wait_until(lambda: engine.tasks == 1)
        engine.resize(20)
        wait_until(lambda: engine.tasks == 20, "every worker has a task")
        all_end(futures, engine.finish)


@settings(max_examples=40, deadline=None)
@given(
    window=st.integers(1, 9),
    workers=st.integers(1, 12),
    chunk=st.integers(1, 7),
    lengths=st.lists(st.sampled_from([0.0, 0.001, LONG]), min_size=1, max_size=60),
)
def test_a_window_is_never_exceeded(window: int, workers: int, chunk: int, lengths: list[float]) -> None:
    engine = HeldExecutor(workers)
    with over(engine, queue_size=40, window=window) as ex:
        with ending(engine.finish):
            results = ex.map(spend, lengths, range(len(lengths)), chunksize=chunk)
            futures = [ex.submit(spend, length, number) for number, length in enumerate(lengths)]
            assert list(results) == [future.result(PATIENCE) for future in futures]
        assert 1 <= engine.most <= window
        assert_nothing_held(ex)


def test_a_window_is_reached() -> None:
    engine = HeldExecutor(2)
    with over(engine, queue_size=40, window=7) as ex:
        futures = [ex.submit(spend, LONG) for _ in range(40)]
        wait_until(lambda: engine.tasks == 7)
        all_end(futures, engine.finish)
        assert engine.most == 7


def test_all_of_the_queue_goes_to_an_executor_that_does_not_tell_its_workers() -> None:
    engine = HeldExecutor(2)
    del engine._max_workers
    with over(engine, queue_size=30) as ex:
        futures = [ex.submit(spend, LONG) for _ in range(30)]
        wait_until(lambda: engine.tasks == 30)
        all_end(futures, engine.finish)
        assert engine.most == 30


# How what it was given may end.


def test_cancelled_behind_our_back() -> None:
    engine = HeldExecutor(4)
    with over(engine, queue_size=10) as ex:
        futures = [ex.submit(spend, LONG, number) for number in range(10)]
        all_end(futures, engine.cancel)
        assert all(future.cancelled() for future in futures)
        assert wait(futures, 0).not_done == set()
        assert_nothing_held(ex)
        assert ex.stats().cancelled == 10
        assert runs_on(ex, engine)


def test_a_map_whose_items_are_cancelled_behind_our_back() -> None:
    engine = HeldExecutor(2)
    with over(engine, queue_size=10) as ex:
        results = ex.map(spend, [LONG] * 10, range(10))
        wait_until(engine.finish)
        assert next(results) == 0
        wait_until(engine.cancel)
        with pytest.raises(CancelledError):
            next(results)
        with ending(engine.finish):
            wait_until(lambda: ex.stats().unfinished == 0)
        assert_nothing_held(ex)
        assert runs_on(ex, engine)


@pytest.mark.parametrize("kind", [ValueError, OSError, MemoryError, KeyboardInterrupt])
def test_a_future_that_fails_fails_its_task_alone(kind: type[BaseException]) -> None:
    engine = HeldExecutor(4)
    with over(engine, queue_size=10) as ex:
        futures = [ex.submit(spend, LONG, number) for number in range(10)]
        all_end(futures, lambda: engine.fail(kind("below")))
        assert {type(future.exception()) for future in futures} == {kind}
        assert_nothing_held(ex)
        assert runs_on(ex, engine)


def test_a_chunk_that_fails_is_run_again_item_by_item() -> None:
    engine = HeldExecutor(1)
    with over(engine, queue_size=10) as ex:
        results = ex.map(spend, [LONG] * 4, range(4), chunksize=4)
        wait_until(lambda: engine.tasks == 4)
        engine.fail(ValueError("below"))
        # The first of them runs, and the others wait, which is known.
        wait_until(lambda: engine.tasks == 1)
        assert ex.stats().waiting == 3
        with ending(engine.finish):
            assert list(results) == list(range(4))
        assert_nothing_held(ex)


def break_by_future(engine: HeldExecutor) -> None:
    wait_until(lambda: engine.fail(BrokenExecutor("below")))


def break_by_submit(engine: HeldExecutor) -> None:
    engine.error = RuntimeError("cannot schedule new futures after shutdown")
    wait_until(engine.finish)


@pytest.mark.parametrize("break_it", [break_by_future, break_by_submit])
def test_one_that_breaks_fails_all_that_is_left(break_it: Callable[[HeldExecutor], None]) -> None:
    engine = HeldExecutor(4)
    with over(engine, queue_size=10) as ex:
        futures = [ex.submit(spend, LONG, number) for number in range(10)]
        blocked: Future[Any] = Future()

        def block() -> None:
            try:
                blocked.set_result(ex.submit(spend, LONG))
            except BaseException as error:
                blocked.set_exception(error)

        producer = threading.Thread(target=block)
        producer.start()
        wait_until(lambda: engine.tasks == 4)
        break_it(engine)
        errors = [future.exception(PATIENCE) for future in futures]
        # What had ended before keeps its result.
        assert sum(error is None for error in errors) == (break_it is break_by_submit)
        failed = [error for error in errors if error is not None]
        assert all(isinstance(error, BrokenProcessPool) for error in failed)
        assert all(error.__cause__ is not None for error in failed)
        assert len({id(error) for error in failed}) == len(failed)
        producer.join(PATIENCE)
        # It was admitted and failed, or never was.
        late = blocked.exception() or blocked.result().exception(PATIENCE)
        assert isinstance(late, BrokenProcessPool)
        with pytest.raises(BrokenProcessPool):
            ex.submit(spend, LONG)
        assert_nothing_held(ex)
        # What it still tells about the others is of no use to anybody, and harmless.
        while engine.finish():
            pass
    assert_nothing_held(ex)


def test_one_that_is_shut_down_in_the_middle() -> None:
    with VirtualExecutor(8, latency=0.001) as engine, BoundedExecutor(engine, queue_size=40) as ex:
        begun = [ex.submit(spend, 0.01, number) for number in range(40)]
        engine.shutdown(wait=False)
        with pytest.raises(BrokenProcessPool) as caught:
            for number in range(1000):
                begun.append(ex.submit(spend, 0.01, number))
        assert isinstance(caught.value.__cause__, RuntimeError)
        wait(begun, PATIENCE)
        for future in begun:
            error = future.exception(0)
            assert error is None or isinstance(error, BrokenProcessPool)
        assert_nothing_held(ex)


def test_ends_that_come_from_many_threads_at_once() -> None:
    engine = HeldExecutor(16)
    hows = [engine.finish, engine.finish, engine.cancel, lambda: engine.fail(LookupError("below"))] * 2
    with over(engine, queue_size=64) as ex:
        with ending(*hows):
            futures = [ex.submit(spend, 0.001 * (number % 3), number) for number in range(3000)]
            wait(futures, PATIENCE)
        ended = [future.cancelled() or future.exception(0) or future.result() for future in futures]
        for number, end in enumerate(ended):
            assert end is True or isinstance(end, LookupError) or end == number
        assert_nothing_held(ex)
        assert runs_on(ex, engine)


# Tasks that run where they are submitted.


def test_tasks_that_run_in_submit() -> None:
    with BoundedExecutor(SynchronousExecutor(), queue_size=8) as ex:
        assert [ex.submit(abs, -number).result(PATIENCE) for number in range(20)] == list(range(20))
        assert list(ex.map(abs, range(0, -100, -1))) == list(range(100))
        assert list(ex.map(abs, range(0, -100, -1), chunksize=7)) == list(range(100))
        assert isinstance(ex.submit(divmod, 1, 0).exception(PATIENCE), ZeroDivisionError)
        assert_nothing_held(ex)
        assert ex.stats().above_bound == 0


def test_tasks_that_run_in_submit_and_submit_further_ones(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedExecutor(SynchronousExecutor(), queue_size=2) as ex:
        _Tree.executor = ex
        try:
            total = _Tree.count(ex.submit(_Tree.grow, 6).result(PATIENCE))
        finally:
            _Tree.executor = None
        assert total == 2**7 - 1
        assert_nothing_held(ex)
        # It cannot wait there for itself.
        assert ex.stats().above_bound > 0
    assert "one of the executor's own tasks" in caplog.text


class _Tree:
    executor: Executor | None = None
    children: dict[int, list[Future[int]]] = {}  # noqa: RUF012
    names = iter(range(1_000_000))

    @classmethod
    def grow(cls, depth: int) -> int:
        """Run as a task: leave two further ones behind, whose futures cannot travel."""
        name = next(cls.names)
        if depth:
            assert cls.executor is not None
            cls.children[name] = [cls.executor.submit(_Tree.grow, depth - 1) for _ in range(2)]
        return name

    @classmethod
    def count(cls, name: int) -> int:
        return 1 + sum(cls.count(child.result(PATIENCE)) for child in cls.children.pop(name, ()))
