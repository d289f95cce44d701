"""One suite over six executors, so that every difference between them is a decision on record.

Four of them are ours: task processes in the two ways that there are, threads below, and a Dask cluster below.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import loky
import pytest
import tasks
from dask_cluster import Cluster, cluster
from helpers import PATIENCE, Gate, wait_until

from bounded_executor import BoundedExecutor, BoundedProcessPoolExecutor

Factory = Callable[..., Executor]

_cluster: list[Cluster] = []


def _stdlib(workers: int = 1, **options: Any) -> Executor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), **options)


class OverThreads(BoundedExecutor):
    """An executor over threads of its own."""

    def __init__(self, max_workers: int = 1, **options: Any) -> None:
        self._below = ThreadPoolExecutor(max_workers, **options)
        super().__init__(self._below)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._below.shutdown(wait)


def _over_dask(workers: int = 1) -> Executor:
    assert workers == 1
    return BoundedExecutor.for_dask(_cluster[0].address)


def _portable(max_workers: int = 1, **options: Any) -> Executor:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BOUNDED_EXECUTOR_PORTABLE", "1")
        return BoundedProcessPoolExecutor(max_workers, **options)


FACTORIES: dict[str, Factory] = {
    "stdlib": _stdlib,
    "loky": loky.ProcessPoolExecutor,
    "bounded": BoundedProcessPoolExecutor,
    "portable": _portable,
    "threads": OverThreads,
    "dask": _over_dask,
}


def contract(**differences: str) -> pytest.MarkDecorator:
    """Run over all; those named differ for the reason given, and are not even tried if that begins so."""
    parameters = [
        pytest.param(
            name,
            marks=[
                pytest.mark.xfail(
                    reason=differences[name], strict=True, run=not differences[name].startswith("not ")
                )
            ]
            if name in differences
            else [],
        )
        for name in FACTORIES
    ]
    return pytest.mark.parametrize("name", parameters)


@pytest.fixture(scope="module", autouse=True)
def dask() -> Iterator[None]:
    """A cluster with one worker, so that it has what the others have."""
    with cluster(1) as found:
        _cluster.append(found)
        yield
        _cluster.clear()


@pytest.fixture(scope="module")
def warm(dask: None) -> Iterator[dict[str, Executor]]:
    """One executor of each kind, for tests that leave it usable."""
    with contextlib.ExitStack() as stack:
        executors = {name: stack.enter_context(factory(1)) for name, factory in FACTORIES.items()}
        for executor in executors.values():
            executor.submit(tasks.give).result(PATIENCE)
        yield executors


# Calls and results.


@contract()
def test_is_an_executor(warm: dict[str, Executor], name: str) -> None:
    assert isinstance(warm[name], concurrent.futures.Executor)
    future = warm[name].submit(tasks.give, 1)
    assert isinstance(future, concurrent.futures.Future)
    assert future.result(PATIENCE) == 1
    assert future.done()
    assert not future.running()
    assert not future.cancelled()


@contract()
def test_arguments(warm: dict[str, Executor], name: str) -> None:
    future = warm[name].submit(tasks.everything, 1, "two", three=3)
    assert future.result(PATIENCE) == ((1, "two"), {"three": 3})


@contract(loky="takes fn and self as keywords of its own")
def test_keywords_named_fn_and_self(warm: dict[str, Executor], name: str) -> None:
    assert warm[name].submit(tasks.everything, fn=1, self=2).result(PATIENCE) == ((), {"fn": 1, "self": 2})


@contract(stdlib="has plain pickle only; loky and we send functions by value")
def test_lambdas(warm: dict[str, Executor], name: str) -> None:
    offset = 4
    assert warm[name].submit(lambda value: value + offset, 3).result(PATIENCE) == 7


@contract(threads="is in the same process: the exception is the task's own, with its own traceback")
def test_exceptions(warm: dict[str, Executor], name: str) -> None:
    future = warm[name].submit(tasks.fail, "message")
    error = future.exception(PATIENCE)
    assert type(error) is ValueError
    assert str(error) == "message"
    assert type(error.__cause__).__name__ == "_RemoteTraceback"
    with pytest.raises(ValueError, match="message"):
        future.result()


@contract()
def test_exceptions_that_end_a_program(warm: dict[str, Executor], name: str) -> None:
    assert type(warm[name].submit(tasks.leave, 0).exception(PATIENCE)) is SystemExit


@contract(threads="nothing is pickled")
def test_what_does_not_pickle_fails_its_future(warm: dict[str, Executor], name: str) -> None:
    future = warm[name].submit(tasks.give, tasks.NoPickle())
    error = future.exception(PATIENCE)
    assert error is not None
    assert not isinstance(error, BrokenProcessPool)
    assert warm[name].submit(tasks.give, 1).result(PATIENCE) == 1


@contract(threads="nothing is pickled")
def test_a_result_that_does_not_pickle_fails_its_future(warm: dict[str, Executor], name: str) -> None:
    error = warm[name].submit(tasks.make, "NoPickle").exception(PATIENCE)
    assert error is not None
    assert not isinstance(error, BrokenProcessPool)


@contract()
def test_callbacks(warm: dict[str, Executor], name: str) -> None:
    called: Future[Future[Any]] = Future()
    future = warm[name].submit(tasks.give, 1)
    future.add_done_callback(called.set_result)
    assert called.result(PATIENCE) is future


@contract()
def test_wait_and_as_completed(warm: dict[str, Executor], name: str) -> None:
    futures = [warm[name].submit(tasks.double, number) for number in range(5)]
    assert {future.result() for future in as_completed(futures, PATIENCE)} == {0, 2, 4, 6, 8}
    assert wait(futures, PATIENCE).done == set(futures)


@contract()
def test_result_times_out(warm: dict[str, Executor], name: str, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        future = warm[name].submit(gate.hold, 1)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(0.01)
        gate.open()
        assert future.result(PATIENCE) == 1


@contract()
def test_what_runs_cannot_be_cancelled(warm: dict[str, Executor], name: str, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        future = warm[name].submit(gate.hold, 1)
        gate.wait_started(1)
        assert not future.cancel()
        gate.open()
        assert future.result(PATIENCE) == 1


@contract(
    stdlib="hands one call more than it has workers to its pipe",
    loky="hands more calls than it has workers to its pipe",
)
def test_what_waits_can_be_cancelled(warm: dict[str, Executor], name: str, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        running = warm[name].submit(tasks.hold_open, gate)
        gate.wait_started(1)
        waiting = [warm[name].submit(tasks.give) for _ in range(5)]
        if name in ("stdlib", "loky"):
            wait_until(waiting[0].running)
        cancelled = [future.cancel() for future in waiting]
        gate.open()
        running.result(PATIENCE)
        wait(waiting, PATIENCE)
        assert all(cancelled)


# map.


@contract()
def test_map(warm: dict[str, Executor], name: str) -> None:
    assert list(warm[name].map(tasks.add, range(5), range(10, 100))) == [10, 12, 14, 16, 18]
    assert list(warm[name].map(tasks.double, range(10), chunksize=3)) == list(range(0, 20, 2))
    assert list(warm[name].map(tasks.double, [])) == []


@contract()
def test_map_starts_at_the_call(warm: dict[str, Executor], name: str, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        results = warm[name].map(gate.hold, range(2))
        gate.wait_started(1)
        gate.open()
        assert list(results) == [0, 1]


@contract()
def test_map_raises_in_place_and_ends(warm: dict[str, Executor], name: str) -> None:
    results = warm[name].map(tasks.fail_if, range(4), [2] * 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="bad 2"):
        next(results)
    assert list(results) == []


@contract()
def test_map_times_out(warm: dict[str, Executor], name: str, tmp_path: Path) -> None:
    with Gate(tmp_path) as gate:
        results = warm[name].map(gate.hold, range(2), timeout=0.01)
        with pytest.raises(concurrent.futures.TimeoutError):
            list(results)


@contract(loky="swallows unknown keywords")
def test_map_refuses_unknown_keywords(warm: dict[str, Executor], name: str) -> None:
    with pytest.raises(TypeError):
        warm[name].map(tasks.give, [], chunk_size=3)  # type: ignore[call-arg]


@contract()
def test_map_refuses_a_chunksize_of_zero(warm: dict[str, Executor], name: str) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        warm[name].map(tasks.give, [1], chunksize=0)


@contract(
    stdlib="before Python 3.14 reads all inputs at the call, and so raises there",
    loky="reads all inputs at the call, and so raises there",
)
def test_map_yields_what_came_before_an_error_of_the_input(warm: dict[str, Executor], name: str) -> None:
    def inputs() -> Iterator[int]:
        yield 1
        raise LookupError("input")

    results = warm[name].map(tasks.double, inputs())
    assert next(results) == 2
    with pytest.raises(LookupError, match="input"):
        next(results)


# The constructor.


@contract(dask="has neither: workers are the cluster's, and its preload sets them up")
@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"max_workers": -1}, ValueError, "max_workers must be greater than 0"),
        ({"initializer": 5}, TypeError, "initializer must be a callable"),
    ],
)
def test_bad_parameters(name: str, options: dict[str, Any], error: type[Exception], words: str) -> None:
    classes = {**FACTORIES, "stdlib": ProcessPoolExecutor}
    with pytest.raises(error, match=words):
        classes[name](**options)


@contract(dask="has none: the cluster's preload sets its workers up")
def test_an_initializer(name: str) -> None:
    with FACTORIES[name](1, initializer=tasks.initialize, initargs=(1, 2)) as ex:
        assert ex.submit(tasks.initialized).result(PATIENCE) == ((1, 2), True)


# The end.


@contract()
def test_after_shutdown(name: str) -> None:
    with FACTORIES[name](1) as ex:
        future = ex.submit(tasks.give, 1)
    assert future.result(0) == 1
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        ex.submit(tasks.give)
    ex.shutdown()


@contract(loky="has an error type of its own, ShutdownExecutorError")
def test_the_error_after_shutdown_is_a_plain_one(name: str) -> None:
    ex = FACTORIES[name](1)
    ex.shutdown()
    with pytest.raises(RuntimeError) as caught:
        ex.submit(tasks.give)
    assert type(caught.value) is RuntimeError


@contract(loky="has no cancel_futures")
def test_cancel_futures(name: str, tmp_path: Path) -> None:
    ex = FACTORIES[name](1)
    with Gate(tmp_path) as gate:
        try:
            running = ex.submit(gate.hold, "ran")
            gate.wait_started(1)
            waiting = [ex.submit(tasks.give) for _ in range(20)]
            ex.shutdown(wait=False, cancel_futures=True)
            gate.open()
            assert running.result(PATIENCE) == "ran"
            wait_until(lambda: all(future.done() for future in waiting))
            assert waiting[-1].cancelled()
        finally:
            gate.open()
            ex.shutdown(True)


@contract(
    stdlib="cancels without telling those who wait",
    loky="has no cancel_futures",
)
def test_wait_sees_what_cancel_futures_cancelled(name: str, tmp_path: Path) -> None:
    ex = FACTORIES[name](1)
    with Gate(tmp_path) as gate:
        try:
            ex.submit(gate.hold)
            gate.wait_started(1)
            waiting = [ex.submit(tasks.give) for _ in range(20)]
            ex.shutdown(wait=False, cancel_futures=True)
            gate.open()
            wait_until(lambda: all(future.done() for future in waiting))
            assert wait(waiting, 0).not_done == set()
        finally:
            gate.open()
            ex.shutdown(True)


@contract()
def test_shutdown_takes_wait_by_position(name: str) -> None:
    ex = FACTORIES[name](1)
    future = ex.submit(tasks.give, 1)
    ex.shutdown(True)
    assert future.done()


# Workers that die.


@contract(threads="not to be tried: there is one process, and it is this one")
def test_a_task_whose_process_dies_gets_a_broken_process_pool(name: str) -> None:
    with FACTORIES[name](1) as ex:
        assert isinstance(ex.submit(tasks.kill_self).exception(PATIENCE), BrokenProcessPool)


@contract(
    stdlib="one dead process breaks the whole pool",
    loky="one dead process breaks the whole pool",
    threads="not to be tried: there is one process, and it is this one",
)
def test_others_survive_a_dead_process(name: str) -> None:
    with FACTORIES[name](1) as ex:
        ex.submit(tasks.kill_self).exception(PATIENCE)
        assert ex.submit(tasks.give, 1).result(PATIENCE) == 1


@contract(dask="has none: the cluster's preload sets its workers up")
def test_a_failing_initializer_breaks_the_pool(
    name: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with FACTORIES[name](1, initializer=tasks.fail_initializer) as ex:
        assert isinstance(ex.submit(tasks.give).exception(PATIENCE), BrokenProcessPool)
        with pytest.raises(BrokenProcessPool):
            ex.submit(tasks.give)


@contract(threads="there is one process")
def test_the_number_of_workers_is_readable(warm: dict[str, Executor], name: str) -> None:
    assert warm[name]._max_workers == 1  # type: ignore[attr-defined]
    assert warm[name].submit(tasks.pid).result(PATIENCE) != os.getpid()
