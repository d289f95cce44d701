"""``map``: lazy, bounded, in order or not, and the habits of existing programs."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, Counted, Gate, assert_all_free, broken_input, wait_until

from bounded_executor import BoundedProcessPoolExecutor


class FirstIsFree:
    """Holds every call but that for item 0 at a gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __call__(self, value: int) -> int:
        return value if value == 0 else self.gate.hold(value)


class HoldZero:
    """Holds the call for item 0 at a gate."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate

    def __call__(self, value: int) -> int:
        return self.gate.hold(value) if value == 0 else value


# Results.


@pytest.mark.parametrize("chunksize", [None, 1, 7, 1_000])
@pytest.mark.parametrize("unordered", [False, True])
def test_every_result_once(chunksize: int | None, unordered: bool) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=50) as ex:
        results = list(ex.map(tasks.double, range(500), chunksize=chunksize, unordered=unordered))
        expected = [2 * number for number in range(500)]
        assert (sorted(results) if unordered else results) == expected
        assert_all_free(ex)


def test_several_inputs_end_with_the_shortest() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert list(ex.map(tasks.add, [1, 2, 3], itertools.count(10))) == [11, 13, 15]
        assert list(ex.map(tasks.add, [], itertools.count())) == []
        assert list(ex.map(tasks.add)) == []


def test_order_is_that_of_the_inputs(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        results = ex.map(HoldZero(gate), range(6), chunksize=1)
        wait_until(lambda: ex.stats().succeeded == 5)
        gate.open()
        assert list(results) == [0, 1, 2, 3, 4, 5]


def test_unordered_yields_what_is_there(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        results = ex.map(HoldZero(gate), range(6), chunksize=1, unordered=True)
        assert sorted(itertools.islice(results, 5)) == [1, 2, 3, 4, 5]
        gate.open()
        assert list(results) == [0]


@pytest.mark.parametrize("chunksize", [3, 10])
def test_a_chunk_stays_together(chunksize: int) -> None:
    with BoundedProcessPoolExecutor(3) as ex:
        pids = list(ex.map(tasks.pid, range(120), chunksize=chunksize))
    for start in range(0, 120, chunksize):
        assert len(set(pids[start : start + chunksize])) == 1


def test_the_error_of_a_task_comes_in_its_place_and_ends_the_map() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex:
        results = ex.map(tasks.fail_if, itertools.count(), itertools.repeat(5))
        assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(ValueError, match="bad 5"):
            next(results)
        assert list(results) == []
        assert_all_free(ex)


@pytest.mark.parametrize("good", [0, 3, 40])
@pytest.mark.parametrize("chunksize", [None, 4])
def test_the_error_of_the_input_comes_after_the_results_before_it(good: int, chunksize: int | None) -> None:
    got = []
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex:
        with pytest.raises(LookupError, match="input"):
            for result in ex.map(tasks.double, broken_input(good), chunksize=chunksize):
                got.append(result)
        assert got == [2 * number for number in range(good)]
        assert_all_free(ex)


# Laziness.


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("chunksize", [None, 1, 3, 50])
@pytest.mark.parametrize("buffersize", [1, 5, None])
def test_inputs_are_pulled_no_further_than_the_buffer(
    buffersize: int | None, chunksize: int | None, unordered: bool
) -> None:
    bound = buffersize or 8
    inputs = Counted(itertools.count())
    with BoundedProcessPoolExecutor(2, queue_size=8) as ex:
        results = ex.map(
            tasks.double, inputs, buffersize=buffersize, chunksize=chunksize, unordered=unordered
        )
        assert 1 <= inputs.pulled <= bound, "the first items are submitted at the call"
        for fetched in range(1, 101):
            next(results)
            assert inputs.pulled - fetched <= bound
        results.close()
        pulled = inputs.pulled
        assert list(results) == []
        assert inputs.pulled == pulled
        assert_all_free(ex)


def test_the_first_items_run_before_anybody_asks(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        results = ex.map(tasks.mark, itertools.repeat(log, 5))
        wait_until(lambda: tasks.marks(log) == 5)
        assert len(list(results)) == 5


def test_a_buffer_larger_than_the_bound_keeps_to_the_bound(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=4) as ex, Gate(tmp_path) as gate:
        results = ex.map(gate.hold, range(50), buffersize=40)
        assert ex.stats().unfinished <= 4
        gate.open()
        assert list(results) == list(range(50))


def test_submit_inside_a_loop_over_map_cannot_deadlock() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=1) as ex:
        got = [ex.submit(tasks.double, number).result(PATIENCE) for number in ex.map(tasks.give, range(30))]
    assert got == [2 * number for number in range(30)]


def test_a_map_inside_a_loop_over_map_cannot_deadlock() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=1) as ex:
        got = [
            outer * inner for outer in ex.map(tasks.give, range(5)) for inner in ex.map(tasks.give, range(5))
        ]
    assert got == [outer * inner for outer in range(5) for inner in range(5)]


def test_results_nobody_fetched_hold_no_slots() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=3) as ex:
        results = ex.map(tasks.give, itertools.count())
        assert next(results) == 0
        wait_until(lambda: ex.stats().unfinished == 0)
        assert ex.submit(tasks.give, "between").result(PATIENCE) == "between"
        assert next(results) == 1


# timeout, close, bad parameters.


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_timeout(tmp_path: Path, timeout: float) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=4) as ex, Gate(tmp_path) as gate:
        results = ex.map(gate.hold, range(10), timeout=timeout)
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        gate.open()
        assert_all_free(ex)


def test_there_is_one_deadline_from_the_call(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=4) as ex, Gate(tmp_path) as gate:
        # The start of a first process, and its import of this module, may take their time, and are not what
        # this is about.
        assert ex.submit(FirstIsFree(gate), 0).result(PATIENCE) == 0
        results = ex.map(FirstIsFree(gate), range(10), timeout=1, chunksize=1)
        assert next(results) == 0
        with pytest.raises(concurrent.futures.TimeoutError):
            next(results)
        gate.open()


def test_a_generous_timeout_changes_nothing() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert list(ex.map(tasks.double, range(20), timeout=PATIENCE)) == list(range(0, 40, 2))


@pytest.mark.parametrize("way", ["close", "drop"])
def test_leaving_a_map_that_has_begun_cancels_what_has_not_started(tmp_path: Path, way: str) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=10) as ex, Gate(tmp_path) as gate:
        results = ex.map(FirstIsFree(gate), itertools.count(), chunksize=1)
        assert next(results) == 0
        gate.wait_started(1)
        assert ex.stats().waiting > 0
        if way == "close":
            results.close()
            results.close()
            assert list(results) == []
        else:
            del results
            gc.collect()
        wait_until(lambda: ex.stats().waiting == 0 and ex.stats().unfinished == 1)
        assert ex.stats().cancelled > 0
        gate.open()
        assert_all_free(ex)
    assert gate.started == 1


@pytest.mark.parametrize(
    ("keywords", "error", "words"),
    [
        ({"chunk_size": 1}, TypeError, "chunk_size"),
        ({"max_workers": 1}, TypeError, "max_workers"),
        ({"chunksize": 0}, ValueError, "chunksize must be >= 1.*0"),
        ({"chunksize": -3}, ValueError, "chunksize must be >= 1.*-3"),
        ({"chunksize": 1.5}, TypeError, "chunksize must be an integer.*1.5"),
        ({"chunksize": True}, TypeError, "chunksize must be an integer.*True"),
        ({"buffersize": 0}, ValueError, "buffersize must be None or > 0, got 0"),
        ({"buffersize": -1}, ValueError, "buffersize must be None or > 0, got -1"),
        ({"buffersize": 2.0}, TypeError, "buffersize must be an integer or None, got 2.0"),
        ({"buffersize": True}, TypeError, "buffersize must be an integer or None, got True"),
        ({"timeout": "1"}, TypeError, "timeout.*'1'"),
        ({"timeout": float("nan")}, ValueError, "timeout.*nan"),
    ],
)
def test_bad_parameters(keywords: dict[str, Any], error: type[Exception], words: str) -> None:
    inputs = Counted(range(3))
    with BoundedProcessPoolExecutor(1) as ex:
        with pytest.raises(error, match=words):
            ex.map(tasks.give, inputs, **keywords)
        assert inputs.pulled == 0
        with pytest.raises(TypeError):
            ex.map(tasks.give, 5)  # type: ignore[arg-type]


def test_an_endless_map_left_half_way_does_not_stop_the_block() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=20) as ex:
        for number, result in enumerate(ex.map(tasks.double, itertools.count())):
            assert result == 2 * number
            if number == 300:
                break


def test_many_items_of_many_sizes() -> None:
    sizes = [0, 1, 1_000, 100_000, 3_000_000, 10]
    items = [bytes([index]) * size for index, size in enumerate(sizes)] * 3
    with BoundedProcessPoolExecutor(2, queue_size=4) as ex:
        assert list(ex.map(tasks.give, items)) == items
        assert Counter(ex.map(tasks.give, items, unordered=True)) == Counter(items)


def test_a_task_that_raises_stop_iteration_does_not_end_the_map_in_silence() -> None:
    with BoundedProcessPoolExecutor(1) as ex, pytest.raises(RuntimeError, match="StopIteration"):
        list(ex.map(next, [iter([1]), iter([])]))
