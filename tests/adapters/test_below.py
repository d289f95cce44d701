"""What tasks, and the executors that run them, may do that they should not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import multiprocessing
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from typing import Any

import pytest
from helpers import PATIENCE, wait_until

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor, TerminatedWorkerError
from bounded_executor.events import TaskEvent


class Thing:
    """An argument that can be seen to be gone."""

    def __reduce__(self) -> Any:
        raise TypeError("it stays here")


@contextlib.contextmanager
def no_collector() -> Iterator[None]:
    """Only what nothing refers to is freed in here."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def assert_gone(seen: weakref.ref[Any]) -> None:
    wait_until(lambda: seen() is None, "what was used is gone", 5)


@contextlib.contextmanager
def over_threads(workers: int = 1, **options: Any) -> Iterator[BoundedExecutor]:
    with ThreadPoolExecutor(workers) as threads, BoundedExecutor(threads, **options) as ex:
        yield ex


# What is kept alive.


def fail(thing: object) -> None:
    raise LookupError("a task")


def by_submit(ex: BoundedExecutor, thing: object) -> None:
    assert isinstance(ex.submit(fail, thing).exception(PATIENCE), LookupError)


def by_result(ex: BoundedExecutor, thing: object) -> None:
    with pytest.raises(LookupError):
        ex.submit(fail, thing).result(PATIENCE)


def by_map(ex: BoundedExecutor, thing: object) -> None:
    with contextlib.suppress(LookupError):
        list(ex.map(fail, [thing]))


def by_stop(ex: BoundedExecutor, thing: object) -> None:
    with contextlib.suppress(RuntimeError):
        list(ex.map(lambda thing: next(iter(())), [thing]))


@pytest.mark.parametrize("how", [by_submit, by_result, by_map, by_stop])
def test_an_error_over_threads_keeps_nothing_alive(how: Callable[[BoundedExecutor, object], None]) -> None:
    with no_collector(), over_threads() as ex:
        thing = Thing()
        seen = weakref.ref(thing)
        how(ex, thing)
        del thing
        assert_gone(seen)


def test_what_cannot_be_pickled_is_not_kept_alive() -> None:
    with ProcessPoolExecutor(1) as processes, BoundedExecutor(processes) as ex, no_collector():
        thing = Thing()
        seen = weakref.ref(thing)
        assert isinstance(ex.submit(abs, thing).exception(PATIENCE), TypeError)
        del thing
        assert_gone(seen)


# Tasks in a thread that use the executor that runs them.


def test_a_task_need_not_wait_for_the_slot_that_it_holds() -> None:
    threads = ThreadPoolExecutor(1)
    ex = BoundedExecutor(threads, queue_size=1)
    submitted = ex.submit(lambda: ex.submit(abs, -1)).result(PATIENCE)
    assert submitted.result(PATIENCE) == 1
    assert ex.stats().above_bound > 0
    ex.shutdown()
    threads.shutdown()


def test_a_map_in_a_task_goes_on() -> None:
    threads = ThreadPoolExecutor(2)
    ex = BoundedExecutor(threads, queue_size=1)
    assert ex.submit(lambda: list(ex.map(abs, range(5)))).result(PATIENCE) == [0, 1, 2, 3, 4]
    ex.shutdown()
    threads.shutdown()


def test_a_task_that_shuts_its_executor_down_does_not_wait_for_itself() -> None:
    threads = ThreadPoolExecutor(2)
    ex = BoundedExecutor(threads)
    assert ex.submit(ex.shutdown).result(PATIENCE) is None
    ex.shutdown()
    threads.shutdown()


def test_tasks_of_one_executor_wait_for_slots_of_another() -> None:
    with over_threads() as first, over_threads(queue_size=1) as second:
        gate = threading.Event()
        held = second.submit(gate.wait)
        waiting = first.submit(lambda: second.submit(abs, -1))
        assert wait([waiting], 0.2).done == set()
        gate.set()
        assert held.result(PATIENCE)
        assert waiting.result(PATIENCE).result(PATIENCE) == 1
        assert second.stats().above_bound == 0


def test_one_executor_over_another_keeps_the_bound_of_that() -> None:
    with over_threads(queue_size=2) as inner, BoundedExecutor(inner, window=20) as outer:
        assert list(outer.map(abs, range(100))) == list(range(100))
        assert inner.stats().above_bound == 0


def interrupt() -> None:
    raise KeyboardInterrupt


def test_a_tasks_own_keyboard_interrupt_is_an_error_as_others_are() -> None:
    gate = threading.Event()
    futures: list[Future[Any]] = []
    # Not Ctrl-C, which would cancel what waits.
    with pytest.raises(KeyboardInterrupt), over_threads() as ex:
        interrupted = ex.submit(interrupt)
        wait([interrupted], PATIENCE)
        futures = [ex.submit(gate.wait) for _ in range(5)]
        threading.Timer(0.2, gate.set).start()
        interrupted.result(PATIENCE)
    assert [future.result(0) for future in futures] == [True] * 5


class Speechless(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")


def fail_speechless() -> None:
    raise Speechless


@pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_error_without_words_is_told_of(kind: Callable[[int], Executor]) -> None:
    events: list[TaskEvent] = []
    with kind(1) as below, BoundedExecutor(below, on_event=events.append) as ex:
        assert isinstance(ex.submit(fail_speechless).exception(PATIENCE), Speechless)
    assert [(event.kind, event.error) for event in events] == [("failed", "Speechless")]


# Executors below that tell odd things.


class Odd(Executor):
    """Ends every call by this."""

    def __init__(self, result: Any, error: BaseException | None) -> None:
        self._ended: Future[Any] = Future()
        if error is None:
            self._ended.set_result(result)
        else:
            self._ended.set_exception(error)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._ended


class Falsy(LookupError):
    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("odd", "kind"), [(Odd(None, None), AttributeError), (Odd(None, Falsy()), Falsy)], ids=["result", "error"]
)
def test_an_end_that_makes_no_sense_fails_the_task(odd: Executor, kind: type[Exception]) -> None:
    with BoundedExecutor(odd) as ex:
        assert type(ex.submit(abs, -1).exception(PATIENCE)) is kind
        assert ex.stats().failed == 1


def end_at(number: int, wrong: int) -> int:
    if number == wrong:
        os._exit(1)
    return number


def test_a_crash_in_a_process_pool_below_fails_its_task_alone() -> None:
    with BoundedProcessPoolExecutor(2) as below, BoundedExecutor(below) as ex:
        futures = [ex.submit(end_at, number, 3) for number in range(8)]
        errors = {number: future.exception(PATIENCE) for number, future in enumerate(futures)}
        assert isinstance(errors.pop(3), TerminatedWorkerError)
        assert set(errors.values()) == {None}
        results = ex.map(end_at, range(8), [5] * 8, chunksize=8)
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(TerminatedWorkerError):
            next(results)
        assert ex.submit(abs, -1).result(PATIENCE) == 1


async def submit_above_the_bound(ex: BoundedExecutor) -> None:
    for _ in range(3):
        ex.submit(abs, -1)


def said_in_a_worker() -> list[str]:
    """Have an executor say something, in a process that one below has forked."""
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("bounded_executor").addHandler(handler)
    gate = threading.Event()
    with over_threads(queue_size=1) as ex:
        ex.submit(gate.wait)
        asyncio.run(submit_above_the_bound(ex))
        gate.set()
    return said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_worker_that_was_forked_is_no_thread_of_ours() -> None:
    forking = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    with forking, BoundedExecutor(forking) as ex:
        (said,) = ex.submit(said_in_a_worker).result(PATIENCE)
        assert "the coroutine submit_above_the_bound" in said
