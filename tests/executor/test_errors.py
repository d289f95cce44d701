"""Whatever goes wrong fails its own future, names its cause, and gives its slot back."""

from __future__ import annotations

import gc
import logging
import pickle
import signal
import threading
import weakref
from concurrent.futures import Future
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TerminatedWorkerError


def chain(error: BaseException | None) -> str:
    """The text of an error and of all its causes and contexts."""
    lines = []
    while error is not None:
        lines.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(lines)


def submit_many(ex: BoundedProcessPoolExecutor, count: int, *call: object) -> list[BaseException]:
    futures = [ex.submit(*call) for _ in range(count)]  # type: ignore[arg-type]
    errors = [future.exception(PATIENCE) for future in futures]
    assert all(error is not None for error in errors)
    assert len({id(error) for error in errors}) == count, "each future has an error of its own"
    return [error for error in errors if error is not None]


# Errors of tasks.


def test_a_thousand_tasks_that_raise() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=50) as ex:
        errors = submit_many(ex, 1_000, tasks.fail, "as told")
        assert all(type(error) is ValueError and str(error) == "as told" for error in errors)
        assert ex.stats().failed == 1_000
        assert ex.stats().children_started <= 2
        assert_all_free(ex)


def test_the_remote_traceback_is_the_cause() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        error = ex.submit(tasks.fail, "far away").exception(PATIENCE)
        assert error is not None
        assert type(error.__cause__).__name__ == "_RemoteTraceback"
        assert "in fail" in str(error.__cause__)
        assert "far away" in str(error.__cause__)
        with pytest.raises(ValueError, match="bad 1") as caught:
            list(ex.map(tasks.fail_if, range(3), [1, 1, 1]))
        assert "in fail_if" in str(caught.value.__cause__)


@pytest.mark.parametrize(("task", "error"), [(tasks.leave, SystemExit), (tasks.interrupt, KeyboardInterrupt)])
def test_exceptions_that_end_a_program_end_only_their_task(task: object, error: type[BaseException]) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert type(ex.submit(task).exception(PATIENCE)) is error  # type: ignore[arg-type]
        assert_all_free(ex)


# What does not travel.


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((tasks.give, tasks.NoPickle()), "refuses to pickle"),
        ((tasks.give, tasks.NoUnpickle()), "refuses to unpickle"),
        ((tasks.give, threading.Lock()), "pickle"),
        ((tasks.make, "NoPickle"), "refuses to pickle"),
        ((tasks.make, "NoUnpickle"), "refuses to unpickle"),
        ((tasks.make, "ExitOnUnpickle"), "3"),
        ((tasks.throw, "NoPickleError"), "NoPickleError.*refuses to pickle"),
        ((tasks.throw, "NoUnpickleError"), "NoUnpickleError.*refuses to unpickle"),
        ((tasks.throw, "TwoArgumentsError", 1, 2), "TwoArgumentsError"),
    ],
    ids=[
        "argument pickle",
        "argument unpickle",
        "lock",
        "result pickle",
        "result unpickle",
        "result exit",
        "exception pickle",
        "exception unpickle",
        "exception arguments",
    ],
)
def test_a_hundred_that_do_not_pickle_or_unpickle(call: tuple[object, ...], words: str) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=30) as ex:
        for error in submit_many(ex, 100, *call):
            assert not isinstance(error, BrokenProcessPool)
            assert all(word in chain(error) for word in words.split(".*"))
        assert ex.stats().children_crashed == 0
        assert_all_free(ex)


@pytest.mark.parametrize("bad", [tasks.NoPickle(), tasks.NoUnpickle()], ids=["pickle", "unpickle"])
def test_an_item_of_a_map_that_does_not_travel_fails_in_its_place(bad: object) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=10) as ex:
        results = ex.map(tasks.give, [0, 1, bad, 3], chunksize=4)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ArithmeticError, match="refuses to"):
            next(results)
        assert_all_free(ex)


def test_a_function_that_does_not_travel_fails_the_first_result() -> None:
    lock = threading.Lock()
    with BoundedProcessPoolExecutor(1) as ex:
        results = ex.map(lambda _: lock, range(3))
        with pytest.raises((TypeError, pickle.PicklingError), match="pickle"):
            next(results)
        assert_all_free(ex)


# Processes that die.


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ((tasks.kill_self, signal.SIGKILL), ["kill_self", "SIGKILL"]),
        ((tasks.kill_self, signal.SIGSEGV), ["kill_self", "SIGSEGV"]),
        ((tasks.kill_self, signal.SIGTERM), ["kill_self", "SIGTERM"]),
        ((tasks.hard_exit, 3), ["hard_exit", "exit status 3"]),
        ((tasks.hard_exit, 0), ["hard_exit", "exit status 0"]),
    ],
)
def test_a_dead_process_fails_only_its_own_task(
    tmp_path: Path, call: tuple[object, ...], words: list[str]
) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as gate:
        other = ex.submit(gate.hold, "other")
        gate.wait_started(1)
        dead = ex.submit(*call)  # type: ignore[arg-type]
        behind = [ex.submit(tasks.double, number) for number in range(20)]
        error = dead.exception(PATIENCE)
        assert isinstance(error, TerminatedWorkerError)
        assert isinstance(error, BrokenProcessPool)
        for word in words:
            assert word in str(error)
        gate.open()
        assert other.result(PATIENCE) == "other"
        assert [future.result(PATIENCE) for future in behind] == [2 * n for n in range(20)]
        assert ex.stats().children_crashed == 1
        assert_all_free(ex)


def test_the_message_names_the_process(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        error = ex.submit(note_and_die, log).exception(PATIENCE)
    assert tasks.notes(log)[0] in str(error)


def note_and_die(path: str) -> None:
    tasks.note(path, tasks.pid())
    tasks.kill_self()


def test_many_dead_processes_leave_all_slots_free() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex:
        errors = submit_many(ex, 30, tasks.kill_self)
        assert all(isinstance(error, TerminatedWorkerError) for error in errors)
        assert_all_free(ex)


@pytest.mark.parametrize("bad", [0, 3, 9])
def test_a_process_that_dies_in_a_chunk_fails_one_item(bad: int) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=50) as ex:
        results = ex.map(tasks.kill_if, range(20), [bad] * 20, chunksize=10, unordered=False)
        assert [next(results) for _ in range(bad)] == list(range(bad))
        with pytest.raises(TerminatedWorkerError, match="kill_if"):
            next(results)
        assert_all_free(ex)


def test_a_task_that_forks_and_returns_twice_answers_once() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        futures = [ex.submit(tasks.fork_and_return, number) for number in range(5)]
        assert [future.result(PATIENCE) for future in futures] == list(range(5))


# Initializers.


@pytest.mark.parametrize("limit", [None, 1])
def test_an_initializer_that_fails_breaks_the_pool_and_is_the_cause(
    limit: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.CRITICAL + 1),
        BoundedProcessPoolExecutor(
            2, None, tasks.fail_initializer, ("for a reason",), max_tasks_per_child=limit
        ) as ex,
    ):
        future = ex.submit(tasks.give)
        error = future.exception(PATIENCE)
        assert isinstance(error, BrokenProcessPool)
        assert isinstance(error.__cause__, LookupError)
        assert "for a reason" in chain(error)
        for method in (ex.submit, ex.submit_nowait):
            with pytest.raises(BrokenProcessPool):
                method(tasks.give)
        with pytest.raises(BrokenProcessPool):
            ex.map(tasks.give, range(3))
        wait_until(lambda: ex.stats().unfinished == 0)


def test_an_initializer_that_fails_fails_every_task_with_an_error_of_its_own(
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path)
    with BoundedProcessPoolExecutor(2, None, tasks.fail_initializer_at_gate, (gate,)) as ex, gate:
        futures = [ex.submit(tasks.give) for _ in range(50)]
        results = ex.map(tasks.give, range(10))
        gate.open()
        errors = [future.exception(PATIENCE) for future in futures]
        assert all(isinstance(error, BrokenProcessPool) for error in errors)
        assert len({id(error) for error in errors}) == 50
        with pytest.raises(BrokenProcessPool):
            list(results)
        wait_until(lambda: ex.stats().unfinished == 0)


def test_an_initializer_that_dies_breaks_the_pool() -> None:
    with BoundedProcessPoolExecutor(1, None, tasks.kill_initializer) as ex:
        assert isinstance(ex.submit(tasks.give).exception(PATIENCE), BrokenProcessPool)


def test_an_initializer_that_does_not_pickle_is_an_error_at_once() -> None:
    with pytest.raises((TypeError, pickle.PicklingError, ArithmeticError)):
        BoundedProcessPoolExecutor(1, None, tasks.initialize, (tasks.NoPickle(),))
    gc.collect()


# No reference is kept.


def test_nothing_of_a_finished_task_is_kept_alive() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        argument = tasks.Tracked()
        future: Future[tasks.Tracked] = ex.submit(tasks.tracked, argument)
        result = future.result(PATIENCE)
        wait_until(lambda: ex.stats().undelivered == 0)
        watched = [weakref.ref(argument), weakref.ref(result), weakref.ref(future)]
        del argument, result, future
        wait_until(lambda: gc.collect() is not None and not any(ref() for ref in watched))
        mapped = ex.map(tasks.tracked, [tasks.Tracked()])
        fetched = weakref.ref(next(mapped))
        wait_until(lambda: fetched() is None)


def test_an_error_does_not_keep_its_future_alive() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        future = ex.submit(tasks.fail)
        with pytest.raises(ValueError, match="failed"):
            future.result(PATIENCE)
        wait_until(lambda: ex.stats().undelivered == 0)
        watched = weakref.ref(future)
        del future
        wait_until(lambda: gc.collect() is not None and watched() is None)
