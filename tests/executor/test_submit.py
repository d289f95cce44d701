"""``submit``: the bound, who waits for a slot and who does not, and what wakes those who wait."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate, assert_all_free, callers_waiting, not_portable, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, QueueFull, SubmitTimeout


@pytest.fixture(scope="module")
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


# The bound.


@pytest.mark.parametrize(("workers", "queue_size"), [(1, 1), (2, 1), (2, 5), (3, 20)])
def test_the_producer_is_never_ahead_of_finished_tasks_by_more_than_the_bound(
    tmp_path: Path, workers: int, queue_size: int
) -> None:
    log = str(tmp_path / "finished")
    with BoundedProcessPoolExecutor(workers, queue_size=queue_size) as ex:
        futures = []
        for number in range(150):
            futures.append(ex.submit(tasks.mark, log, number))
            # A task leaves its mark before its outcome arrives, so this is exact.
            assert number + 1 - tasks.marks(log) <= queue_size
            assert ex.stats().unfinished <= queue_size
        assert [future.result(PATIENCE) for future in futures] == list(range(150))
        assert ex.stats().above_bound == 0
        assert_all_free(ex)


def test_the_bound_is_reached_and_held(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    with BoundedProcessPoolExecutor(2, queue_size=5) as ex, Gate(tmp_path) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(5)]
        blocked = threads.submit(ex.submit, gate.hold, 5)
        wait_until(lambda: callers_waiting(ex) == 1)
        assert ex.stats().unfinished == 5
        assert ex.stats().submitted == 5
        assert not blocked.done()
        gate.open()
        futures.append(blocked.result(PATIENCE))
        assert [future.result(PATIENCE) for future in futures] == list(range(6))
        assert ex.stats().submit_wait_seconds > 0


def test_waiting_callers_are_served_in_their_order(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1, queue_size=1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        blocked = []
        for number in range(6):
            blocked.append(threads.submit(ex.submit, tasks.note, log, number))
            wait_until(lambda number=number: callers_waiting(ex) == number + 1)
        gate.open()
        for one in blocked:
            one.result(PATIENCE).result(PATIENCE)
    assert tasks.notes(log) == list("012345")


def test_one_worker_runs_tasks_in_the_order_of_submission(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(1) as ex:
        for number in range(100):
            ex.submit(tasks.note, log, number)
    assert tasks.notes(log) == [str(number) for number in range(100)]


def test_submit_nowait_refuses_when_full(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=2) as ex, Gate(tmp_path) as gate:
        first = ex.submit_nowait(gate.hold, 1)
        second = ex.submit_nowait(gate.hold, 2)
        with pytest.raises(QueueFull, match=r"2 of queue_size=2"):
            ex.submit_nowait(tasks.give)
        assert ex.stats().submitted == 2
        gate.open()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == (1, 2)
        assert_all_free(ex)


@pytest.mark.parametrize("timeout", [0, 0.02])
def test_submit_timeout(tmp_path: Path, timeout: float) -> None:
    with (
        BoundedProcessPoolExecutor(1, queue_size=1, submit_timeout=timeout) as ex,
        Gate(tmp_path) as gate,
    ):
        held = ex.submit(gate.hold, "held")
        with pytest.raises(SubmitTimeout, match=rf"submit_timeout={timeout} .*queue_size=1") as caught:
            ex.submit(tasks.give)
        assert isinstance(caught.value, TimeoutError)
        gate.open()
        assert held.result(PATIENCE) == "held"
        assert_all_free(ex)


# What wakes a blocked submit.


@pytest.mark.parametrize("way", ["shutdown", "cancel", "terminate_workers", "kill_workers"])
def test_a_blocked_submit_is_woken_by_shutdown(tmp_path: Path, threads: ThreadPoolExecutor, way: str) -> None:
    end = {
        "shutdown": lambda: ex.shutdown(wait=False),
        "cancel": lambda: ex.shutdown(wait=False, cancel_futures=True),
        "terminate_workers": lambda: ex.terminate_workers(),
        "kill_workers": lambda: ex.kill_workers(),
    }[way]
    with BoundedProcessPoolExecutor(1, queue_size=1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        blocked = [threads.submit(ex.submit, tasks.give) for _ in range(3)]
        wait_until(lambda: callers_waiting(ex) == 3)
        end()
        for one in blocked:
            with pytest.raises(RuntimeError, match=r"^cannot schedule new futures after shutdown$"):
                one.result(PATIENCE)


def test_a_blocked_submit_is_woken_by_breakage(tmp_path: Path, threads: ThreadPoolExecutor) -> None:
    gate = Gate(tmp_path)
    with (
        BoundedProcessPoolExecutor(1, None, tasks.fail_initializer_at_gate, (gate,), queue_size=1) as ex,
        gate,
    ):
        accepted = ex.submit(tasks.give)
        blocked = [threads.submit(ex.submit, tasks.give) for _ in range(3)]
        wait_until(lambda: callers_waiting(ex) == 3)
        gate.open()
        errors = [one.exception(PATIENCE) for one in blocked]
        assert all(isinstance(error, BrokenProcessPool) for error in errors)
        assert isinstance(accepted.exception(PATIENCE), BrokenProcessPool)
        assert len({id(error) for error in [*errors, accepted.exception()]}) == 4


# Arguments.


def test_every_keyword_belongs_to_the_task() -> None:
    keywords = {"fn": 1, "self": 2, "timeout": 3, "args": 4, "executor": 5, "callback": 6}
    with BoundedProcessPoolExecutor(1) as ex:
        expected = (("x",), keywords)
        assert ex.submit(tasks.everything, "x", **keywords).result(PATIENCE) == expected
        assert ex.submit_nowait(tasks.everything, "x", **keywords).result(PATIENCE) == expected


@pytest.mark.parametrize("method", ["submit", "submit_nowait"])
def test_the_function_is_positional_only(method: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex, pytest.raises(TypeError, match="positional argument"):
        getattr(ex, method)(fn=tasks.give)


def test_functions_that_no_module_holds() -> None:
    offset = 5

    def local(value: int) -> int:
        return value + offset

    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(local, 1).result(PATIENCE) == 6
        assert ex.submit(lambda: offset).result(PATIENCE) == 5
        assert ex.submit(functools.partial(local, 2)).result(PATIENCE) == 7
        assert list(ex.map(lambda x: x * offset, range(3))) == [0, 5, 10]


# Executors in tasks.


def test_a_task_may_use_an_executor_of_its_own() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=2) as ex:
        futures = [ex.submit(tasks.nested, 4) for _ in range(2)]
        assert [future.result(PATIENCE) for future in futures] == [[0, 2, 4, 6]] * 2


def test_a_task_may_run_a_loop_and_has_the_main_thread() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.loop_result, 3).result(PATIENCE) == 3
        assert ex.submit(tasks.is_main_thread).result(PATIENCE)


@not_portable("Ctrl-C reaches every process of a Windows console, so that workers do nothing at it")
def test_ctrl_c_is_the_task_s_own_as_in_a_fresh_python() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.sigint_is_default).result(PATIENCE)
