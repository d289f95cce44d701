"""What is seen of batches from outside: the bound, limits of processes, functions, futures."""

from __future__ import annotations

import functools
import gc
import operator
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import tasks
from batching import Batch, act, assert_nothing_left
from helpers import PATIENCE, Gate, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor

# The bound.


@pytest.mark.parametrize("size", [1, 2, 7, 120])
@pytest.mark.parametrize("mapped", [False, True])
def test_the_bound_is_exact(size: int, mapped: bool) -> None:
    peak = 0
    found = []

    def look() -> None:
        nonlocal peak
        stats = ex.stats()
        peak = max(peak, stats.unfinished - stats.above_bound)

    with BoundedProcessPoolExecutor(2, queue_size=size) as ex:
        if mapped:
            for result in ex.map(tasks.double, range(1_000)):
                look()
                found.append(result)
        else:
            futures: list[Future[int]] = []
            for number in range(1_000):
                futures.append(ex.submit(tasks.double, number))
                look()
            found = [future.result(PATIENCE) for future in futures]
        assert peak <= size
        if not mapped:
            assert peak >= min(size, 2)
        assert found == list(range(0, 2_000, 2))
        assert_nothing_left(ex)


# Recycling.


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
@pytest.mark.parametrize("way", ["submit", None, 1, 5, 100])
def test_no_process_runs_more_than_its_limit(way: Any, limit: int) -> None:
    count = 30 * min(limit, 4)
    call = tasks.numbered_identity
    with BoundedProcessPoolExecutor(2, max_tasks_per_child=limit) as ex:
        if way == "submit":
            found = [f.result(PATIENCE) for f in [ex.submit(call, number) for number in range(count)]]
        else:
            found = list(ex.map(call, range(count), chunksize=way))
        assert [number for number, _ in found] == list(range(count))
        runs = Counter(process for _, process in found)
        assert max(runs.values()) <= limit
        assert ex.stats().children_crashed == 0
        assert_nothing_left(ex)


# All that can be called.


class Scale:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def by(self, number: int) -> int:
        return self.factor * number


def callables() -> dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[int], Any]]]:
    offset = 7
    return {
        "lambda": (lambda number: number + offset, {}, lambda number: number + 7),
        "method": (Scale(3).by, {}, lambda number: 3 * number),
        "partial": (functools.partial(pow, 2), {}, lambda number: 2**number),
        "builtin": (operator.neg, {}, operator.neg),
        "keywords": (tasks.everything, {"key": "value"}, lambda number: ((number,), {"key": "value"})),
        "class": (complex, {}, complex),
    }


@pytest.mark.parametrize("what", callables())
def test_many_quick_calls_of(what: str) -> None:
    fn, keywords, expected = callables()[what]
    with BoundedProcessPoolExecutor(2) as ex:
        futures = [ex.submit(fn, number, **keywords) for number in range(300)]
        assert [future.result(PATIENCE) for future in futures] == list(map(expected, range(300)))
        if not keywords:
            assert list(ex.map(fn, range(300))) == list(map(expected, range(300)))


def test_functions_in_turn() -> None:
    other = [lambda number, factor=factor: factor * number for factor in (5, 7)]  # type: ignore[misc]
    fns = [tasks.double, operator.neg, *other]
    expected: list[Any] = [lambda n: 2 * n, operator.neg, *other]
    with BoundedProcessPoolExecutor(2) as ex:
        futures = [ex.submit(fns[number // 3 % 4], number) for number in range(600)]
        assert [f.result(PATIENCE) for f in futures] == [expected[n // 3 % 4](n) for n in range(600)]


def test_functions_of_the_main_script() -> None:
    code = """
        from bounded_executor import BoundedProcessPoolExecutor

        def triple(number):
            return 3 * number

        if __name__ == "__main__":
            with BoundedProcessPoolExecutor(2) as ex:
                futures = [ex.submit(triple, number) for number in range(300)]
                found = [future.result() for future in futures]
                print(found == list(ex.map(triple, range(300))) == [3 * number for number in range(300)])
    """
    assert run_script(code) == "True\n"


# Futures.


def test_callbacks_of_a_batch_run_once_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    called: list[int] = []
    submitted: list[Future[int]] = []
    slow = threading.Event()

    def add(future: Future[int]) -> None:
        called.append(future.result())
        if future.result() == 1:
            raise SystemExit("by a callback")
        if future.result() == 2:
            assert slow.wait(PATIENCE)
        if future.result() == 3:
            submitted.append(ex.submit(tasks.double, 21))

    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        with Gate(tmp_path) as gate:
            log = batch.log_for(6)
            blocked = ex.submit(tasks.hold_member, log, -1, gate)
            gate.wait_started(1)
            futures = [ex.submit(tasks.member, log, number) for number in range(6)]
            for future in futures:
                future.add_done_callback(add)
        # A slow callback holds no slot and no worker back.
        wait_until(lambda: ex.stats().unfinished == 0)
        assert blocked.result(PATIENCE) == -1
        assert futures[2].result(PATIENCE) == 2
        assert not futures[3].done()
        slow.set()
        assert [future.result(PATIENCE) for future in futures] == list(range(6))
        wait_until(lambda: ex.stats().undelivered == 0)
        assert called == list(range(6))
        assert submitted[0].result(PATIENCE) == 42
        assert_nothing_left(ex)
    assert "a done-callback raised" in caplog.text


@pytest.mark.parametrize("place", [0, 3, 5])
def test_nothing_is_kept_of_those_that_are_done(tmp_path: Path, place: int) -> None:
    """Though one of their batch still runs."""
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        give = act(tasks.give, tasks.Tracked())
        futures = batch.submit([gate.hold if number == place else give for number in range(6)])
        wait_until(lambda: not any(future.running() for future in futures[place + 1 :]), "they wait again")
        assert all(future.cancel() for future in futures[place + 1 :])
        results = [future.result(PATIENCE) for future in futures[:place]]
        wait_until(lambda: ex.stats().undelivered == 0)
        held = futures.pop(place)
        watched = [weakref.ref(one) for one in (*futures, *results, give.args[0])]
        futures.clear()
        del results, give
        wait_until(lambda: gc.collect() is not None and not any(ref() for ref in watched), "they are gone")
        gate.open()
        assert held.result(PATIENCE) is None


def test_nothing_is_kept_of_a_batch_that_is_done(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        argument = tasks.Tracked()
        futures = batch.submit([act(tasks.give, argument)] * 6)
        results = [future.result(PATIENCE) for future in futures]
        wait_until(lambda: ex.stats().undelivered == 0)
        watched = [weakref.ref(one) for one in (argument, *futures, *results)]
        del argument, futures, results
        wait_until(lambda: gc.collect() is not None and not any(ref() for ref in watched), "they are gone")
        mapped = batch.map([act(tasks.give, tasks.Tracked())] * 6)
        watched = [weakref.ref(one) for one in mapped]
        wait_until(lambda: gc.collect() is not None and not any(ref() for ref in watched[:-1]))
