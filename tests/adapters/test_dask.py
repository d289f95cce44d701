"""A Dask cluster below: a real scheduler and real workers, some of which are killed."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import gc
import os
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, as_completed, wait
from pathlib import Path
from typing import Any

import dask
import numpy
import pytest
import tasks
from dask_cluster import BARE, Cluster, cluster
from distributed import Client, KilledWorker, get_worker
from helpers import PATIENCE, Counted, Gate, assert_all_free, run_script, wait_until

from bounded_executor import BoundedExecutor, BrokenProcessPool, QueueFull, TerminatedWorkerError
from bounded_executor._adapters.dask import _Stayed, _unwarned
from bounded_executor._adapters.remote_worker import Entry, Kind, Outcomes

pytestmark = pytest.mark.filterwarnings("ignore:.*:ResourceWarning")

LARGE = 300_000  # numbers of eight bytes: more than is brought without being asked for


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """A cluster with two workers, for tests that leave it as it was."""
    with cluster(2) as found:
        yield found


@pytest.fixture
def client(two: Cluster) -> Iterator[Client]:
    with Client(two.address, set_as_default=False) as found:
        found.wait_for_workers(2)
        yield found


def large(first: int) -> Any:
    return numpy.arange(first, first + LARGE)


def nap(number: int, seconds: float = 0.02) -> int:
    time.sleep(seconds)
    return number


def note(folder: str, number: int) -> int:
    """Leave a mark of having run, and take a moment."""
    Path(folder, f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
    time.sleep(0.005)
    return number


def kill_worker() -> None:
    os.kill(os.getpid(), 9)


# What travels.


def test_submit_and_map(client: Client) -> None:
    with BoundedExecutor.for_dask(client, queue_size=50) as ex:
        futures = [ex.submit(tasks.double, number) for number in range(500)]
        assert [future.result(PATIENCE) for future in futures] == list(range(0, 1000, 2))
        assert list(ex.map(tasks.add, range(300), range(300))) == list(range(0, 600, 2))
        assert sorted(ex.map(tasks.double, range(300), unordered=True)) == list(range(0, 600, 2))
        assert list(ex.map(tasks.double, range(100), chunksize=7)) == list(range(0, 200, 2))
        assert_all_free(ex)


def test_equal_calls_are_as_many_calls(client: Client) -> None:
    # Dask takes equal calls of a function for one.
    with BoundedExecutor.for_dask(client, batches=False) as ex:
        times = {future.result(PATIENCE) for future in [ex.submit(time.monotonic_ns) for _ in range(20)]}
    assert len(times) == 20


def test_the_parameters_are_checked_before_anything_starts(two: Cluster, client: Client) -> None:
    for wrong, error, words in [
        ({"retries": -1}, ValueError, "retries must be >= 0"),
        ({"batches": 1}, TypeError, "batches must be True or False"),
        ({"window": 0}, ValueError, "window must be >= 1"),
        ({"queue_size": 0}, ValueError, "queue_size must be >= 1"),
    ]:
        for to in (client, two.address):
            with pytest.raises(error, match=words):
                BoundedExecutor.for_dask(to, **wrong)
    with pytest.raises(TypeError, match="client must be"):
        BoundedExecutor.for_dask(5)
    assert client.status == "running"


def test_an_address_where_nobody_is() -> None:
    # In a process of its own, since Dask leaves a loop behind.
    run_script(
        """
        import dask
        from bounded_executor import BoundedExecutor

        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
            try:
                BoundedExecutor.for_dask("tcp://127.0.0.1:1")
            except OSError as error:
                assert "127.0.0.1:1" in str(error), error
            else:
                raise AssertionError("it was taken")
        """,
        quiet=False,
    )


def test_a_closed_client_is_refused(two: Cluster) -> None:
    client = Client(two.address, set_as_default=False)
    client.close()
    with pytest.raises(ValueError, match="status 'closed'"):
        BoundedExecutor.for_dask(client)


@pytest.mark.parametrize("address", ["scheduler", "tcp://127.0.0.1", "127.0.0.1:x"])
def test_an_address_without_a_port(address: str) -> None:
    with pytest.raises(ValueError, match=f"an address with a port.* got '{address}'"):
        BoundedExecutor.for_dask(address)


def test_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "bounded_executor._adapters.dask")
    with pytest.raises(ImportError, match=r"loky-bounded-executor\[dask\]"):
        BoundedExecutor.for_dask("tcp://127.0.0.1:1")


def test_the_client_of_the_caller_stays_open_and_ours_does_not(two: Cluster, client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        assert ex.submit(abs, -1).result(PATIENCE) == 1
    assert client.submit(abs, -2).result(PATIENCE) == 2
    clients = len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients)))
    with BoundedExecutor.for_dask(two.address) as ex:
        assert ex.submit(abs, -1).result(PATIENCE) == 1
    wait_until(
        lambda: len(client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.clients))) == clients
    )


@pytest.mark.filterwarnings("error:Sending large graph")
def test_large_arguments_are_no_matter_for_a_warning(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        assert ex.submit(len, bytes(12_000_000)).result(PATIENCE) == 12_000_000
        # The setting is the user's again, whichever of several executors was the last.
        threshold = dask.config.get("distributed.admin.large-graph-warning-threshold")
        first, second = contextlib.ExitStack(), contextlib.ExitStack()
        first.enter_context(_unwarned)
        second.enter_context(_unwarned)
        first.close()
        second.close()
        assert dask.config.get("distributed.admin.large-graph-warning-threshold") == threshold != sys.maxsize


# The bound.


def test_no_more_than_the_window_is_with_the_cluster(client: Client, tmp_path: Path) -> None:
    def held() -> int:
        found = client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))
        assert isinstance(found, int)
        return found

    with BoundedExecutor.for_dask(client, queue_size=20, window=3) as ex, Gate(tmp_path) as gate:
        inputs = Counted(range(100))
        results = ex.map(gate.hold, inputs)
        gate.wait_started(2)
        wait_until(lambda: held() == 3)
        assert inputs.pulled == 20
        with pytest.raises(QueueFull):
            ex.submit_nowait(abs, 1)
        assert held() == 3
        gate.open()
        assert list(results) == list(range(100))
    wait_until(lambda: held() == 0)


def test_without_a_window_only_what_runs_is_with_the_cluster(client: Client, tmp_path: Path) -> None:
    with BoundedExecutor.for_dask(client, queue_size=20) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(20)]
        gate.wait_started(2)
        assert ex.stats().running == 2
        assert futures[-1].cancel()
        assert not futures[0].cancel()
        gate.open()
        assert [future.result(PATIENCE) for future in futures[:-1]] == list(range(19))


def test_short_tasks_share_messages(client: Client) -> None:
    # Dask's own count of tasks tells.
    def count(dask_scheduler: Any) -> int:
        return int(dask_scheduler.transition_counter)

    with BoundedExecutor.for_dask(client) as ex:
        list(ex.map(abs, range(200)))
        before = client.run_on_scheduler(count)
        list(ex.map(abs, range(3000)))
        together = client.run_on_scheduler(count) - before
    with BoundedExecutor.for_dask(client, batches=False) as ex:
        before = client.run_on_scheduler(count)
        list(ex.map(abs, range(300)))
        alone = client.run_on_scheduler(count) - before
    assert alone > together


def message_of(number: int) -> str:
    """Return which message a task has come in, and take longer than short tasks that travel together may."""
    time.sleep(0.03)
    return str(get_worker().get_current_task())


def test_the_items_of_a_chunk_stay_together(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        messages = list(ex.map(message_of, range(12), chunksize=4))
    assert [len(set(messages[at : at + 4])) for at in (0, 4, 8)] == [1, 1, 1]
    assert len(set(messages)) == 3


# Results that stay.


def test_a_large_result_stays_until_it_is_asked_for(client: Client) -> None:
    def stored(dask_worker: Any) -> int:
        return len(dask_worker.data)

    with BoundedExecutor.for_dask(client) as ex:
        futures = [ex.submit(large, number) for number in range(4)]
        assert not wait(futures, PATIENCE).not_done
        assert [future.exception() for future in futures] == [None] * 4
        assert ex.stats().undelivered == 0
        assert sum(client.run(stored).values()) == 4
        for number, future in enumerate(futures):
            found = future.result(PATIENCE)
            assert found[0] == number and len(found) == LARGE
            assert future.result() is found
        # It is nobody's any more over there.
        wait_until(lambda: sum(client.run(stored).values()) == 0)


def test_a_map_fetches_one_large_result_after_the_other(client: Client) -> None:
    def stored(dask_worker: Any) -> int:
        return len(dask_worker.data)

    with BoundedExecutor.for_dask(client) as ex:
        results = ex.map(large, range(6))
        wait_until(lambda: sum(client.run(stored).values()) == 6)
        # The last outcome may still be on its way, and until then its call weighs.
        wait_until(lambda: ex.stats().unfinished == 0)
        # They weigh nothing here.
        assert ex.stats().held_bytes == 0
        assert [found[0] for found in results] == list(range(6))


def test_large_results_can_be_had_after_the_block(two: Cluster) -> None:
    with BoundedExecutor.for_dask(two.address) as ex:
        future = ex.submit(large, 5)
        results = ex.map(large, range(2))
    assert future.result(PATIENCE)[0] == 5
    assert [found[0] for found in results] == [0, 1]


def test_asking_for_a_large_result_takes_no_longer_than_allowed(client: Client, tmp_path: Path) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        future = ex.submit(large, 1)
        wait([future], PATIENCE)
        with pytest.raises(Exception, match="not fetched within") as caught:
            future.result(0)
        assert isinstance(caught.value, TimeoutError) or sys.version_info < (3, 11)
        assert future.result(PATIENCE)[0] == 1


def test_a_result_that_is_fetched_while_the_client_is_closed_stays_found() -> None:
    fetched, released = threading.Event(), threading.Event()

    class Twice:
        """Is fetched by one, who releases it, while another fetches it as well."""

        def result(self, timeout: float | None = None) -> Outcomes:
            if threading.current_thread() is closing:
                fetched.set()
                assert released.wait(PATIENCE)
                raise CancelledError
            assert fetched.wait(PATIENCE)
            return Outcomes([Entry(Kind.RESULT, pickle.dumps(5), 0.0, 1)])

        def release(self) -> None:
            released.set()

    stayed = _Stayed(Twice())
    closing = threading.Thread(target=stayed.bring)
    closing.start()
    assert stayed.fetch(PATIENCE) == 5
    closing.join(PATIENCE)
    assert stayed.fetch(PATIENCE) == 5


def test_coroutines_get_large_results_too(client: Client) -> None:
    async def main() -> None:
        async with BoundedExecutor.for_dask(client, queue_size=8) as ex:
            assert (await (await ex.asubmit(large, 7)))[0] == 7
            assert [found[0] async for found in ex.amap(large, range(5))] == list(range(5))
            assert [found async for found in ex.amap(tasks.double, range(50))] == list(range(0, 100, 2))

    asyncio.run(main())


# Errors.


def test_errors_are_the_tasks_own(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        futures = [ex.submit(tasks.fail_if, number, 3) for number in range(6)]
        errors = [future.exception(PATIENCE) for future in futures]
        assert [error is None for error in errors] == [True] * 3 + [False] + [True] * 2
        assert "tasks.py" in str(errors[3].__cause__)  # type: ignore[union-attr]
        assert_all_free(ex)


def test_an_error_keeps_no_future_alive(client: Client) -> None:
    gc.collect()
    gc.disable()
    try:
        with BoundedExecutor.for_dask(client) as ex:
            future = ex.submit(tasks.fail_if, 3, 3)
            assert future.exception(PATIENCE) is not None
            seen = weakref.ref(future)
            del future
            wait_until(lambda: seen() is None, "the future is gone", 5)
    finally:
        gc.enable()


def test_an_outcome_that_cannot_be_read_fails_its_task(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(outcomes: Any) -> Any:
        raise LookupError("what is this?")

    with BoundedExecutor.for_dask(client) as ex:
        with monkeypatch.context() as patch:
            patch.setattr("bounded_executor._adapters.dask.outcomes_of", refuse)
            assert isinstance(ex.submit(abs, -1).exception(PATIENCE), LookupError)
        assert ex.submit(abs, -2).result(PATIENCE) == 2
        assert_all_free(ex)


def fail_at_first(folder: str, times: int) -> int:
    tried = len(os.listdir(folder))
    Path(folder, f"{time.monotonic_ns()}").touch()
    if tried < times:
        raise LookupError(f"try {tried}")
    return tried


def test_dask_retries(client: Client, tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    with BoundedExecutor.for_dask(client, retries=2) as ex:
        assert ex.submit(fail_at_first, str(good), 2).result(PATIENCE) == 2
        error = ex.submit(fail_at_first, str(bad), 9).exception(PATIENCE)
        assert type(error) is LookupError and str(error) == "try 2"
        assert list(ex.map(tasks.double, range(50))) == list(range(0, 100, 2))
    assert len(os.listdir(bad)) == 3


def test_dask_retries_each_item_of_a_chunk_for_itself(client: Client, tmp_path: Path) -> None:
    with BoundedExecutor.for_dask(client, retries=1) as ex:
        results = ex.map(note_and_fail_at, [str(tmp_path)] * 6, range(6), [3] * 6, chunksize=6)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(LookupError, match="3"):
            next(results)
    runs = collections.Counter(name.split("-")[0] for name in os.listdir(tmp_path))
    assert [runs[str(number)] for number in range(4)] == [1, 1, 1, 2]


def note_and_fail_at(folder: str, number: int, wrong: int) -> int:
    note(folder, number)
    if number == wrong:
        raise LookupError(f"number {number}")
    return number


def test_shutdown_cancels_what_waits_and_runs_what_runs(client: Client, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        ex = BoundedExecutor.for_dask(client)
        futures = [ex.submit(gate.hold, number) for number in range(10)]
        gate.wait_started(2)
        ex.shutdown(wait=False, cancel_futures=True)
        gate.open()
        ex.shutdown()
        assert [future.cancelled() for future in futures] == [False] * 2 + [True] * 8
        assert [future.result(0) for future in futures[:2]] == [0, 1]


def test_ctrl_c_gives_up_what_runs(client: Client, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        future = None
        with pytest.raises(KeyboardInterrupt), BoundedExecutor.for_dask(client) as ex:
            future = ex.submit(gate.hold)
            gate.wait_started(1)
            raise KeyboardInterrupt
        assert future is not None
        with pytest.raises(CancelledError):
            future.result(0)


def test_a_cancelled_coroutine_gives_up_what_runs(client: Client, tmp_path: Path) -> None:
    async def main(gate: Gate) -> None:
        async with BoundedExecutor.for_dask(client) as ex:
            result = await ex.asubmit(gate.hold, cancel_running=True)
            while not gate.started:
                await asyncio.sleep(0.01)
            result.cancel()
            while ex.stats().unfinished:
                await asyncio.sleep(0.01)
            assert ex.stats().cancelled == 1

    with Gate(tmp_path) as gate:
        asyncio.run(main(gate))


# Workers, schedulers and clients that go.


def test_a_task_that_kills_its_workers_fails_alone(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        # Before, so that these are known to be short and travel together.
        assert list(ex.map(tasks.double, range(200))) == list(range(0, 400, 2))
        before = [ex.submit(tasks.double, number) for number in range(100)]
        killer = ex.submit(kill_worker)
        after = [ex.submit(tasks.double, number) for number in range(100)]
        error = killer.exception(90)
        assert isinstance(error, TerminatedWorkerError)
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error.__cause__, KilledWorker)
        assert "kill_worker" in str(error)
        for futures in (before, after):
            assert [future.result(90) for future in futures] == list(range(0, 200, 2))
        assert_all_free(ex)


def test_a_killer_among_short_tasks_of_its_own_function_fails_alone(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        list(ex.map(die_at, range(100), [-1] * 100))
        futures = [ex.submit(die_at, number, 40) for number in range(80)]
        errors = {number: future.exception(90) for number, future in enumerate(futures)}
    assert isinstance(errors.pop(40), TerminatedWorkerError)
    assert set(errors.values()) == {None}


def die_at(number: int, wrong: int) -> int:
    if number == wrong:
        kill_worker()
    return number


def processes(folder: Path) -> int:
    """How many different ones have left a note."""
    return len({name.split("-")[1] for name in os.listdir(folder)})


def test_a_worker_dies_and_another_joins_in_the_middle(tmp_path: Path) -> None:
    with cluster(0) as found, Client(found.address, set_as_default=False) as client:
        first = found.add_worker(kind=BARE)
        found.add_worker(kind=BARE)
        client.wait_for_workers(2)
        with BoundedExecutor.for_dask(client, queue_size=100) as ex:
            futures = []

            def submit_until(condition: Callable[[], bool]) -> None:
                # The workers are counted while tasks wait.
                while not condition():
                    futures.append(ex.submit(note, str(tmp_path), len(futures)))

            submit_until(lambda: len(futures) == 60)
            futures[20].result(PATIENCE)
            found.kill(first)
            submit_until(lambda: len(futures) >= 200 and ex._max_workers == 1)
            found.add_worker(kind=BARE)
            submit_until(lambda: len(futures) >= 400 and ex._max_workers == 2 and processes(tmp_path) == 3)
            # Each once, and right.
            results = collections.Counter(future.result(PATIENCE) for future in as_completed(futures))
            assert results == collections.Counter(range(len(futures)))
            assert_all_free(ex)


def test_a_cluster_without_workers_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    with cluster(0) as found, BoundedExecutor.for_dask(found.address) as ex:
        future = ex.submit(abs, -1)
        wait_until(lambda: "has no workers: 1 messages wait" in caplog.text)
        found.add_worker(kind=BARE)
        assert future.result(PATIENCE) == 1
    assert caplog.text.count("has no workers") == 1


def test_what_a_dead_worker_held_is_made_again() -> None:
    with cluster(0) as found, Client(found.address, set_as_default=False) as client:
        first = found.add_worker(kind=BARE)
        client.wait_for_workers(1)
        with BoundedExecutor.for_dask(client) as ex:
            future = ex.submit(large, 9)
            wait([future], PATIENCE)
            found.add_worker(kind=BARE)
            client.wait_for_workers(2)
            found.kill(first)
            assert future.result(PATIENCE)[0] == 9


def gone(how: str, found: Cluster, client: Client) -> None:
    if how == "scheduler":
        found.kill(0)
    elif how == "restart":
        client.restart(wait_for_workers=False)
    else:
        client.close()


@pytest.mark.parametrize("how", ["scheduler", "restart", "client"])
def test_a_lost_cluster_ends_every_future_with_a_clear_error(how: str, tmp_path: Path) -> None:
    with (
        cluster(2) as found,
        Client(found.address, set_as_default=False, timeout=5) as client,
        Gate(tmp_path) as gate,
    ):
        client.wait_for_workers(2)
        ex = BoundedExecutor.for_dask(client, queue_size=10)
        stayed = ex.submit(large, 1)
        wait([stayed], PATIENCE)
        futures = [ex.submit(gate.hold) for _ in range(10)]
        gate.wait_started(2)
        errors: list[BaseException] = []

        def wait_for_a_slot(executor: Executor) -> None:
            try:
                executor.submit(abs, 1)
            except BrokenProcessPool as error:
                errors.append(error)

        waiting = threading.Thread(target=wait_for_a_slot, args=(ex,))
        waiting.start()
        gone(how, found, client)
        found_errors = [future.exception(PATIENCE) for future in futures]
        assert all(isinstance(error, BrokenProcessPool) for error in found_errors)
        assert all("Dask has given up what it was running" in str(error) for error in found_errors)
        assert len({id(error) for error in found_errors}) == 10
        waiting.join(PATIENCE)
        assert len(errors) == 1
        with pytest.raises(BrokenProcessPool):
            ex.submit(abs, 1)
        with pytest.raises(TerminatedWorkerError, match="is lost"):
            stayed.result(PATIENCE)
        ex.shutdown()
        assert ex.stats().unfinished == 0


def test_the_time_of_a_map_is_up_also_while_a_large_result_is_fetched(client: Client) -> None:
    with BoundedExecutor.for_dask(client) as ex:
        results = ex.map(large, range(2), timeout=PATIENCE)
        assert next(results)[0] == 0
        late = ex.map(large, range(2), timeout=2)
        wait_until(lambda: ex.stats().unfinished == 0)
        time.sleep(2)
        with pytest.raises(concurrent.futures.TimeoutError, match="map did not finish within timeout=2"):
            next(late)
        assert next(results)[0] == 1
