"""Arrays and the like: what protocol 5 of pickle sends beside the pickle."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tasks
from batching import assert_nothing_left
from helpers import PATIENCE, Gate
from tasks import Buffer

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError

LARGE = 300_000
SMALL = 300


@pytest.fixture
def ex() -> Iterator[BoundedProcessPoolExecutor]:
    with BoundedProcessPoolExecutor(2) as executor:
        yield executor
        assert_nothing_left(executor)


@pytest.mark.parametrize("size", [0, 1, SMALL, 1 << 16, LARGE, 5_000_000])
@pytest.mark.parametrize("writable", [True, False])
def test_a_buffer_comes_back_as_it_was(ex: BoundedProcessPoolExecutor, size: int, writable: bool) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    found = ex.submit(tasks.give, Buffer(bytearray(data) if writable else data)).result(PATIENCE)
    assert bytes(found.data) == data
    assert memoryview(found.data).readonly is not writable


def test_what_is_sent_is_what_there_was_at_the_call(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        buffer = Buffer(bytearray(LARGE))
        future = ex.submit(tasks.give, buffer)
        buffer.data[:] = b"x" * LARGE
        gate.open()
        assert bytes(future.result(PATIENCE).data) == bytes(LARGE)


def test_a_task_may_change_what_it_was_given(ex: BoundedProcessPoolExecutor) -> None:
    buffer = Buffer(bytearray(LARGE))
    assert ex.submit(tasks.fill_buffer, buffer, 7).result(PATIENCE) == 7 * LARGE
    assert bytes(buffer.data) == bytes(LARGE)


def test_small_and_large_ones_mixed_with_other_things(ex: BoundedProcessPoolExecutor) -> None:
    def make(number: int) -> Any:
        size = LARGE if number % 3 == 0 else SMALL
        return [Buffer(bytes([number % 256]) * size), number, "text", Buffer(bytes([1]) * LARGE)]

    for results in (
        ex.map(tasks.give, map(make, range(40))),
        ex.map(tasks.give, map(make, range(40)), chunksize=7),
        [future.result(PATIENCE) for future in [ex.submit(tasks.give, make(number)) for number in range(40)]],
    ):
        for number, result in enumerate(results):
            expected = make(number)
            assert result[1:3] == expected[1:3]
            assert bytes(result[0].data) == expected[0].data
            assert bytes(result[3].data) == expected[3].data


def test_what_is_sent_by_value_has_its_buffers_too(ex: BoundedProcessPoolExecutor) -> None:
    buffer = Buffer(bytes([3]) * LARGE)
    future = ex.submit(lambda one, *, factor: (one, sum(one.data) * factor), buffer, factor=2)
    found, total = future.result(PATIENCE)
    assert total == 6 * LARGE
    assert bytes(found.data) == buffer.data


def test_buffers_weigh_what_they_are_long(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_bytes=10 * LARGE) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        futures = [ex.submit(tasks.give, Buffer(bytes(LARGE))) for _ in range(5)]
        assert 5 * LARGE < ex.stats().held_bytes < 6 * LARGE
        gate.open()
        assert [len(future.result(PATIENCE).data) for future in futures] == [LARGE] * 5
        assert_nothing_left(ex)


def test_one_that_cannot_be_unpickled_fails_alone(ex: BoundedProcessPoolExecutor) -> None:
    good = [ex.submit(tasks.give, Buffer(bytes(LARGE))) for _ in range(2)]
    bad = ex.submit(tasks.give, Buffer(bytes(LARGE), "cannot be unpickled"))
    good.append(ex.submit(tasks.give, Buffer(bytes(LARGE))))
    with pytest.raises(ValueError, match="cannot be unpickled"):
        bad.result(PATIENCE)
    assert [len(future.result(PATIENCE).data) for future in good] == [LARGE] * 3


def test_a_process_that_dies_with_a_buffer(ex: BoundedProcessPoolExecutor) -> None:
    future = ex.submit(tasks.kill_self_with, Buffer(bytes(5_000_000)))
    others = [ex.submit(tasks.give, Buffer(bytes(LARGE))) for _ in range(4)]
    with pytest.raises(TerminatedWorkerError):
        future.result(PATIENCE)
    assert [len(future.result(PATIENCE).data) for future in others] == [LARGE] * 4


def test_nothing_keeps_a_buffer_once_it_is_done(ex: BoundedProcessPoolExecutor) -> None:
    buffer = Buffer(bytearray(LARGE))
    future = ex.submit(tasks.give, buffer)
    gone = weakref.ref(buffer)
    result = weakref.ref(future.result(PATIENCE))
    del buffer, future
    # The callbacks' thread lets go of the last one when it has told the ledger of it.
    ex.submit(tasks.give).result(PATIENCE)
    gc.collect()
    assert gone() is None
    assert result() is None
