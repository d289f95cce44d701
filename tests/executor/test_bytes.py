"""The bound by bytes: what counts, who waits, and that nobody waits for ever."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Counted, Gate, assert_all_free, callers_waiting, run_script, wait_until
from test_ledger import Caller, waiting
from test_state_machine import FakeDelivery, MapSink

from bounded_executor import BoundedProcessPoolExecutor, QueueFull, SubmitTimeout
from bounded_executor._core import batching
from bounded_executor._core.dispatcher import Dispatcher
from bounded_executor._core.semaphore import Account, Lease, Ledger
from bounded_executor._core.work import Work
from bounded_executor._serialize.functions import Function

KB = 1 << 10
MB = 1 << 20


# The ledger alone.


def test_what_does_not_fit_waits_until_enough_is_given_back() -> None:
    ledger = Ledger(10, queue_bytes=100)
    account = Account()
    assert ledger.acquire(sizes=(60,)) == 1
    assert ledger.acquire(sizes=(40,)) == 1
    assert ledger.room() == 0
    with pytest.raises(QueueFull, match=r"100 bytes of queue_bytes=100"):
        ledger.acquire(sizes=(1,), block=False)
    caller = Caller(lambda: ledger.acquire(sizes=(50,)))
    wait_until(lambda: waiting(ledger) == 1)
    ledger.weigh(account, 1)
    ledger.finish(size=40)
    assert waiting(ledger) == 1
    ledger.weigh(account, -11)
    assert caller.outcome() == 1
    assert ledger.counts().weight == 100


def test_the_light_do_not_overtake_the_heavy() -> None:
    ledger = Ledger(10, queue_bytes=100)
    ledger.acquire(3, sizes=(30, 30, 30))
    heavy = Caller(lambda: ledger.acquire(sizes=(50,)))
    wait_until(lambda: waiting(ledger) == 1)
    light = Caller(lambda: ledger.acquire(sizes=(1,)))
    wait_until(lambda: waiting(ledger) == 2)
    assert ledger.free(1) == 0
    ledger.finish(size=30)
    assert ledger.counts().held == 2
    ledger.finish(size=30)
    assert (heavy.outcome(), light.outcome()) == (1, 1)


def test_of_several_as_many_are_granted_as_fit() -> None:
    ledger = Ledger(10, queue_bytes=100)
    assert ledger.acquire(5, sizes=(40, 40, 40, 1, 1)) == 2
    assert ledger.counts().weight == 80


def test_weight_alone_never_keeps_fewer_than_the_floor_waiting() -> None:
    ledger = Ledger(10, queue_bytes=100, floor=3)
    account = Account()
    ledger.weigh(account, 1_000)
    assert ledger.acquire(5, sizes=(500,) * 5) == 3
    with pytest.raises(SubmitTimeout):
        ledger.acquire(sizes=(0,), timeout=0)
    ledger.finish(size=500)
    assert ledger.acquire(sizes=(500,), block=False) == 1


def test_results_that_are_fetched_make_room_for_those_that_wait() -> None:
    ledger = Ledger(10, queue_bytes=100)
    account = Account()
    ledger.acquire()
    ledger.weigh(account, 100)
    caller = Caller(lambda: ledger.acquire(sizes=(1,)))
    wait_until(lambda: waiting(ledger) == 1)
    ledger.weigh(account, -50)
    assert caller.outcome() == 1


def test_slots_are_taken_back_ahead_of_all_that_wait() -> None:
    ledger = Ledger(2)
    ledger.acquire(2)
    caller = Caller(ledger.acquire)
    wait_until(lambda: waiting(ledger) == 1)
    assert not ledger.reclaim(1)
    ledger.finish()
    assert waiting(ledger) == 1
    assert ledger.reclaim(1)
    ledger.finish()
    assert caller.outcome() == 1


def test_a_claim_that_is_given_up_lets_the_others_through() -> None:
    ledger = Ledger(1)
    ledger.acquire()
    assert not ledger.reclaim(1)
    ledger.finish()
    caller = Caller(ledger.acquire)
    wait_until(lambda: waiting(ledger) == 1)
    ledger.reclaim(0)
    assert caller.outcome() == 1


# The dispatcher alone.


def dispatcher_of(size: int) -> Dispatcher:
    return Dispatcher(Ledger(size), FakeDelivery())  # type: ignore[arg-type]


def submit_chunk(dispatcher: Dispatcher, sink: MapSink, first: int, count: int) -> Work:
    work = Work(Function("chunk"), [b""] * count, sink, first)
    assert dispatcher.ledger.acquire(count, lease=work) == count
    dispatcher.submit(work)
    return work


def test_slots_that_parking_gives_back_go_to_who_waits_for_them() -> None:
    """Nothing else would make the backend look again."""
    dispatcher = dispatcher_of(2)
    first, second = MapSink(), MapSink()
    work = submit_chunk(dispatcher, first, 0, 1)
    first.is_full = True
    assert dispatcher.take() is None
    submit_chunk(dispatcher, second, 0, 1)
    submit_chunk(dispatcher, second, 1, 1)
    second.is_full = True
    first.is_full = False
    assert dispatcher.take() is work


def test_slots_that_cancelled_work_waited_for_are_free_again() -> None:
    """Also where every worker is busy, so that nobody takes work."""
    dispatcher = dispatcher_of(2)
    sink = MapSink()
    submit_chunk(dispatcher, sink, 0, 1)
    sink.is_full = True
    assert dispatcher.take() is None
    submit_chunk(dispatcher, MapSink(), 0, 1)
    submit_chunk(dispatcher, MapSink(), 0, 1)
    sink.is_full = False
    running = dispatcher.take()
    assert running is not None and running.sink is not sink
    dispatcher.outcome(running, 0, True, 0.0, b"")
    assert dispatcher.ledger.free() == 0
    dispatcher.discard_sink(sink)
    assert dispatcher.ledger.free() == 1


@pytest.mark.parametrize("loop_is_closed", [False, True])
def test_slots_that_a_coroutine_gives_up_wake_who_claims_them(loop_is_closed: bool) -> None:
    """Nobody else would: the backend has nothing to do, and no outcome is on its way."""
    dispatcher = dispatcher_of(2)
    sink = MapSink()
    work = submit_chunk(dispatcher, sink, 0, 1)
    sink.is_full = True
    assert dispatcher.take() is None
    assert dispatcher.parking
    # Two coroutines are granted all slots, and do not come to it, since their event loop stands still.
    granted = [Lease(), Lease()]
    for lease in granted:
        dispatcher.ledger.line_up(lease, (0,), None, lambda: True)
    waiting = Lease()
    dispatcher.ledger.line_up(waiting, (0,), None, lambda: not loop_is_closed)
    sink.is_full = False
    assert dispatcher.take() is None
    woken: list[bool] = []
    dispatcher.wake = lambda: woken.append(True)
    for lease in granted:
        dispatcher.ledger.give_up(lease)
    dispatcher.ledger.give_up(waiting)
    assert woken
    assert dispatcher.take() is work


def test_bytes_that_are_given_up_wake_who_waits_for_room() -> None:
    dispatcher = Dispatcher(Ledger(10, 100), FakeDelivery())  # type: ignore[arg-type]
    sink = MapSink()
    submit_chunk(dispatcher, sink, 0, 1)
    sink.is_full = True
    assert dispatcher.take() is None
    lease, account = Lease(), Account()
    dispatcher.ledger.acquire(lease=lease, sizes=(50,))
    dispatcher.ledger.weigh(account, 50)
    woken: list[str] = []
    dispatcher.wake = lambda: woken.append("woken")
    dispatcher.ledger.give_up(lease)
    assert woken == ["woken"]
    dispatcher.ledger.settle(account)
    assert woken == ["woken"] * 2


def test_work_that_is_given_and_taken_back_without_end_is_run_singly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispatcher = dispatcher_of(8)
    sink = MapSink()
    work = Work(Function("chunk"), [b""] * 3, sink, joins=True)
    dispatcher.ledger.acquire(3, lease=work)
    dispatcher.submit(work)
    taken = dispatcher.take()
    for _ in range(batching.MOST_REFUSALS - 1):
        assert taken is not None and taken.count == 3
        dispatcher.give_back(taken, refused=True)
        taken = dispatcher.take()
    assert not caplog.records
    assert taken is not None
    dispatcher.give_back(taken, refused=True)
    assert "chunk: 3 tasks were given to a worker and taken back 100 times in a row" in caplog.text
    for number in range(3):
        # What waits for a worker that has nothing else to do cannot be refused once more.
        assert dispatcher.take(within=1.0) is None
        taken = dispatcher.take(among=1)
        assert taken is not None
        assert (taken.first, taken.count, taken.joins) == (number, 1, False)
        dispatcher.outcome(taken, 0, True, 0.0, b"")
    assert sink.ends == {}


def test_an_outcome_begins_the_count_anew() -> None:
    dispatcher = dispatcher_of(8)
    work = Work(Function("chunk"), [b""] * 3, MapSink(), joins=True)
    dispatcher.ledger.acquire(3, lease=work)
    dispatcher.submit(work)
    taken = dispatcher.take()
    assert taken is not None
    for _ in range(batching.MOST_REFUSALS - 1):
        dispatcher.give_back(taken, refused=True)
        taken = dispatcher.take()
        assert taken is not None
    dispatcher.outcome(taken, 0, True, 0.0, b"")
    dispatcher.give_back(taken, refused=True)
    taken = dispatcher.take()
    assert taken is not None
    assert (taken.count, taken.joins) == (2, True)


def test_what_a_worker_left_undone_is_parked_ahead_of_what_follows_it() -> None:
    dispatcher = dispatcher_of(8)
    sink = MapSink()
    submit_chunk(dispatcher, sink, 0, 4)
    submit_chunk(dispatcher, sink, 4, 4)
    running = dispatcher.take()
    assert running is not None
    sink.is_full = True
    assert dispatcher.take() is None
    dispatcher.outcome(running, 0, True, 0.0, b"")
    dispatcher.give_back(running)
    assert dispatcher.take() is None
    sink.is_full = False
    order = [dispatcher.take() for _ in range(2)]
    assert [(work.first, work.count) for work in order if work is not None] == [(1, 3), (4, 4)]


# The executor.


def test_submit_waits_for_bytes_and_says_so(tmp_path: Path) -> None:
    with (
        BoundedProcessPoolExecutor(1, queue_bytes=100 * KB, submit_timeout=0.05) as ex,
        Gate(tmp_path) as gate,
    ):
        first = ex.submit(gate.hold)
        futures = [ex.submit(tasks.length, bytes(40 * KB)) for _ in range(2)]
        with pytest.raises(SubmitTimeout, match="queue_bytes=102400"):
            ex.submit(tasks.length, bytes(40 * KB))
        with pytest.raises(QueueFull, match="queue_bytes=102400"):
            ex.submit_nowait(tasks.length, bytes(40 * KB))
        assert 80 * KB < ex.stats().held_bytes < 100 * KB
        assert ex.stats().queue_bytes == 100 * KB
        gate.open()
        assert first.result(PATIENCE) is None
        assert [future.result(PATIENCE) for future in futures] == [40 * KB] * 2
        assert_all_free(ex)
        wait_until(lambda: ex.stats().held_bytes == 0)


def test_a_task_larger_than_the_limit_passes() -> None:
    with BoundedProcessPoolExecutor(2, queue_bytes=1) as ex:
        assert [ex.submit(tasks.length, bytes(MB)).result(PATIENCE) for _ in range(3)] == [MB] * 3
        assert list(ex.map(tasks.length, [bytes(MB)] * 5)) == [MB] * 5


def test_every_worker_has_a_task_whatever_the_tasks_weigh(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(3, queue_bytes=1) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, bytes(KB)) for _ in range(3)]
        gate.wait_started(3)
        with pytest.raises(QueueFull):
            ex.submit_nowait(int)
        gate.open()
        assert [len(future.result(PATIENCE)) for future in futures] == [KB] * 3


def test_without_a_limit_only_the_count_matters(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=40, queue_bytes=None) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        futures = [ex.submit_nowait(tasks.length, bytes(2 * MB)) for _ in range(39)]
        assert ex.stats().held_bytes > 64 * MB
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == [2 * MB] * 39


def test_cancelled_tasks_give_their_bytes_back(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_bytes=100 * KB) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        before = ex.stats().held_bytes
        future = ex.submit(tasks.length, bytes(90 * KB))
        caller = Caller(lambda: ex.submit(tasks.length, bytes(90 * KB)))
        wait_until(lambda: callers_waiting(ex) == 1)
        assert future.cancel()
        second = caller.outcome()
        assert second.cancel()
        assert ex.stats().held_bytes == before
        gate.open()


def full_and_at_rest(ex: BoundedProcessPoolExecutor) -> bool:
    """Whether nothing runs, and will not before a result is fetched: `queue_bytes` are reached.

    That nothing runs is not enough: it is so for a moment before parked work is started again.
    """
    stats = ex.stats()
    return stats.unfinished == 0 and stats.held_bytes >= (stats.queue_bytes or 0)


@pytest.mark.parametrize("unordered", [False, True])
def test_a_map_stops_when_its_unfetched_results_are_too_heavy(unordered: bool) -> None:
    with BoundedProcessPoolExecutor(2, queue_bytes=MB) as ex:
        inputs = Counted(range(300))
        results = ex.map(tasks.everything, inputs, [bytes(100 * KB)] * 300, unordered=unordered)
        first = next(results)
        wait_until(lambda: ex.stats().unfinished == 0)
        stats = ex.stats()
        # Two running ones may have come on top, chunks of what a megabyte holds at most.
        assert stats.held_bytes < 4 * MB
        assert inputs.pulled < 60
        rest = list(results)
        numbers = [args[0] for args, _ in (first, *rest)]
        assert (sorted(numbers) if unordered else numbers) == list(range(300))
        wait_until(lambda: ex.stats().held_bytes == 0)
        assert_all_free(ex)


@pytest.mark.parametrize("unordered", [False, True])
def test_a_map_whose_results_grow_is_held_back_before_they_are_made(unordered: bool) -> None:
    """What was submitted while results were light is parked when they are not any more."""
    with BoundedProcessPoolExecutor(2, queue_bytes=MB) as ex:
        results = ex.map(
            tasks.bytes_of, [1] * 100 + [200 * KB] * 400, buffersize=400, chunksize=1, unordered=unordered
        )
        lengths = [len(next(results))]
        wait_until(lambda: full_and_at_rest(ex))
        stats = ex.stats()
        assert stats.waiting > 200
        assert stats.succeeded < 120
        assert stats.held_bytes < 2 * MB
        # A map that waits for its consumer keeps nobody else from working.
        assert ex.submit(tasks.double, 4).result(PATIENCE) == 8
        lengths += map(len, results)
        assert sorted(lengths) == [1] * 100 + [200 * KB] * 400
        assert_all_free(ex)


def test_submit_inside_a_loop_over_a_heavy_map_does_not_deadlock() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=8, queue_bytes=300 * KB) as ex:
        futures = []
        for number, data in enumerate(ex.map(tasks.bytes_of, [100 * KB] * 50)):
            assert len(data) == 100 * KB
            futures.append(ex.submit(tasks.length, bytes(number)))
        assert [future.result(PATIENCE) for future in futures] == list(range(50))


def test_a_map_that_has_parked_gets_its_slots_back_before_newcomers(tmp_path: Path) -> None:
    with (
        BoundedProcessPoolExecutor(1, queue_size=4, queue_bytes=100 * KB) as ex,
        Gate(tmp_path) as gate,
    ):
        results = ex.map(tasks.bytes_of, [110 * KB] * 4, chunksize=1)
        wait_until(lambda: ex.stats().unfinished == 0 and ex.stats().waiting > 0)
        held = ex.submit(gate.hold)
        gate.wait_started(1)
        caller = Caller(lambda: ex.submit(tasks.double, 1))
        wait_until(lambda: callers_waiting(ex) == 1)
        gate.open()
        assert [len(data) for data in results] == [110 * KB] * 4
        assert caller.outcome().result(PATIENCE) == 2
        assert held.done()


def test_a_map_beside_a_heavy_one_is_not_held_up_by_its_own_later_items() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=100, queue_bytes=4 * MB, max_tasks_per_child=3) as ex:
        heavy = ex.map(tasks.bytes_of, [MB] * 30, chunksize=5)
        light = ex.map(tasks.double, range(30), chunksize=5)
        wait_until(lambda: full_and_at_rest(ex))
        assert ex.stats().waiting > 20
        assert list(light) == [2 * number for number in range(30)]
        assert [len(data) for data in heavy] == [MB] * 30


@pytest.mark.parametrize("how", ["close", "drop", "cancel"])
def test_a_map_that_is_given_up_gives_its_bytes_back(how: str) -> None:
    with BoundedProcessPoolExecutor(2, queue_bytes=MB) as ex:
        results = ex.map(tasks.bytes_of, [300 * KB] * 100, chunksize=1)
        next(results)
        wait_until(lambda: full_and_at_rest(ex))
        if how == "close":
            results.close()  # type: ignore[attr-defined]
        elif how == "drop":
            del results
        else:
            ex.shutdown(wait=True, cancel_futures=True)
            results.close()  # type: ignore[attr-defined]
        wait_until(lambda: ex.stats().held_bytes == 0)
        assert ex.stats().waiting == 0


def test_a_heavy_map_that_nobody_began_is_run_to_its_end_by_shutdown() -> None:
    with BoundedProcessPoolExecutor(2, queue_bytes=MB) as ex:
        results = ex.map(tasks.bytes_of, [200 * KB] * 100)
    assert [len(data) for data in results] == [200 * KB] * 100
    assert ex.stats().held_bytes == 0


def test_what_a_begun_heavy_map_has_submitted_is_run_by_shutdown() -> None:
    with BoundedProcessPoolExecutor(2, queue_bytes=MB) as ex:
        results = ex.map(tasks.bytes_of, [200 * KB] * 30, buffersize=30, chunksize=1)
        next(results)
    got = 1 + sum(1 for _ in zip(results, range(28), strict=False))
    assert got == 29


HEAVY = """
    import sys, threading, tasks
    from bounded_executor import BoundedProcessPoolExecutor

    MB = 2**20
    count, way = int(sys.argv[1]), sys.argv[2]
    with BoundedProcessPoolExecutor(2) as ex:
        if way == "results":
            for data in ex.map(tasks.bytes_of, [2 * MB] * count):
                assert len(data) == 2 * MB
                threading.Event().wait(0.004)  # slower than the workers
        else:
            inputs = (bytes(2 * MB) for _ in range(count))
            assert sum(ex.map(tasks.length, inputs, [0.004] * count)) == 2 * MB * count
    with open("/proc/self/status") as status:
        print(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize("way", ["results", "arguments"])
@pytest.mark.parametrize("count", [300, pytest.param(2_000, marks=pytest.mark.slow)])
def test_heavy_maps_stay_in_bounded_memory(way: str, count: int) -> None:
    assert int(run_script(HEAVY, count, way, seconds=200)) * KB < 200 * MB


def test_a_map_whose_results_turn_heavy_comes_to_its_end() -> None:
    """Its chunks are long by then, and whatever is taken back of one was not begun."""
    with BoundedProcessPoolExecutor(2) as ex:
        inputs = range(3400)
        list(ex.map(tasks.turn_heavy, inputs[:100]))
        began = time.monotonic()
        for _ in ex.map(tasks.turn_heavy, inputs, chunksize=1):
            pass
        singly = time.monotonic() - began
        began = time.monotonic()
        results = Caller(lambda: list(ex.map(tasks.turn_heavy, inputs))).outcome()
        assert results == [tasks.turn_heavy(number) for number in inputs]
        assert time.monotonic() - began < 3 * singly
        assert_all_free(ex)


def test_a_map_of_chunks_begins_though_another_has_filled_the_room() -> None:
    """While fewer items than workers are under way, one is taken whatever the weight."""
    with BoundedProcessPoolExecutor(2, queue_bytes=1000) as ex:
        filling = ex.map(str, ["x" * 2000] * 2)
        wait_until(lambda: ex.stats().held_bytes > 1000, "the room is full")
        assert Caller(lambda: list(ex.map(abs, range(5), chunksize=2))).outcome() == list(range(5))
        assert [len(result) for result in filling] == [2000] * 2
        wait_until(lambda: not ex.stats().held_bytes)
