"""A map that one thread makes or fetches from while another shuts the executor down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import bad_tasks
import faults
import pytest
import tasks
from helpers import PATIENCE, Counted, Gate, assert_all_free, refuses, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._core import dispatcher


class HeldInputs:
    """Numbers below ten, handed out one by one; the third only when the test says so."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go_on = threading.Event()

    def __iter__(self) -> Iterator[int]:
        for number in range(10):
            if number == 2:
                self.reached.set()
                assert self.go_on.wait(PATIENCE)
            yield number


MAKING, FETCHING, SHUTDOWN = "making", "fetching", "shutdown"


@pytest.mark.parametrize("first", [MAKING, FETCHING, SHUTDOWN])
def test_a_shutdown_and_a_caller_do_not_both_feed_a_map(tmp_path: Path, first: str) -> None:
    log = str(tmp_path / "runs")
    inputs = HeldInputs()
    got: list[int] = []
    errors: list[BaseException] = []
    shutdown_errors: list[BaseException] = []
    # With one slot the call takes one input or two, with more it goes on to the third.
    ex = BoundedProcessPoolExecutor(1, queue_size=20 if first == MAKING else 1)
    made = ex.map(faults.count_run, [log] * 10, inputs) if first == SHUTDOWN else None

    def use() -> None:
        try:
            got.extend(ex.map(faults.count_run, [log] * 10, inputs) if made is None else made)
        except BaseException as error:
            errors.append(error)

    def end() -> None:
        try:
            ex.shutdown(wait=True)
        except BaseException as error:
            shutdown_errors.append(error)

    threads = [threading.Thread(target=target) for target in (end, use)]
    if first != SHUTDOWN:
        threads.reverse()
    threads[0].start()
    try:
        assert inputs.reached.wait(PATIENCE)
        threads[1].start()
        wait_until(lambda: refuses(ex), "the shutdown")
        # Neither has anything to do now but wait for the other; a wrong one gets here in no time.
        threads[1].join(0.3)
    finally:
        inputs.go_on.set()
        for thread in threads:
            thread.join(PATIENCE)
        ex.kill_workers()
    assert not any(thread.is_alive() for thread in threads)
    assert not shutdown_errors
    assert all(type(error) is RuntimeError for error in errors), errors
    runs = list(map(int, tasks.notes(log)))
    assert len(runs) == len(set(runs)), "an item was run twice"
    assert len(got) == 10 if not errors else got == list(range(len(got)))


@pytest.mark.parametrize("wait", [False, True], ids=["leave", "wait"])
def test_a_second_shutdown_does_not_cut_short_what_the_first_runs_on(tmp_path: Path, wait: bool) -> None:
    ex = BoundedProcessPoolExecutor(1, queue_size=1)
    gate = Gate(tmp_path)
    inputs = Counted(range(10))
    with gate:
        results = ex.map(gate.hold, inputs, chunksize=1)
        before = inputs.pulled
        first = threading.Thread(target=ex.shutdown)
        first.start()
        wait_until(lambda: inputs.pulled > before, "the first has an input and waits for a slot")
        second = threading.Thread(target=ex.shutdown, args=(wait,))
        second.start()
        # A wrong one gets through in no time.
        second.join(0.3 if wait else PATIENCE)
        assert second.is_alive() is wait
    for thread in (first, second):
        thread.join(PATIENCE)
    assert list(results) == list(range(10))


def test_work_that_is_being_split_while_all_is_cancelled_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of a chunk that is too long for its process goes back into the queue, which is cleared."""
    ex = BoundedProcessPoolExecutor(1, max_tasks_per_child=1)
    next_work = dispatcher.Dispatcher._next

    def cancel_then(self: dispatcher.Dispatcher) -> object:
        work = next_work(self)
        if work is not None and work.count > 1:
            other = threading.Thread(target=ex.shutdown, args=(False,), kwargs={"cancel_futures": True})
            other.start()
            other.join(PATIENCE)
        return work

    monkeypatch.setattr(dispatcher.Dispatcher, "_next", cancel_then)
    results = ex.map(tasks.give, range(8), chunksize=8, buffersize=8)
    with pytest.raises(CancelledError):
        list(results)
    ex.shutdown()
    assert (ex.stats().succeeded, ex.stats().cancelled) == (1, 7)


def test_an_item_of_a_closed_map_is_not_run_again(tmp_path: Path) -> None:
    go = str(tmp_path / "go")
    with BoundedProcessPoolExecutor(1, task_retries=3) as ex:
        results = ex.map(bad_tasks.note_and_die_after, [str(tmp_path / "log")], [go], buffersize=1)
        wait_until(lambda: tasks.notes(str(tmp_path / "log")), "it has begun")
        results.close()
        Path(go).touch()
        wait_until(lambda: ex.stats().children_crashed == 1, "its end")
        assert_all_free(ex)
        assert ex.stats().retried == 0


def test_a_map_inherited_through_fork_says_so() -> None:
    code = """
        import os, signal, warnings, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        warnings.simplefilter("ignore", DeprecationWarning)

        with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
            results = ex.map(tasks.give, range(20))
            assert next(results) == 0
            pid = os.fork()
            if not pid:
                signal.alarm(30)
                try:
                    list(results)
                except RuntimeError as error:
                    assert "fork" in str(error), error
                    os._exit(0)
                os._exit(3)
            _, status = os.waitpid(pid, 0)
            assert status == 0, status
            assert list(results) == list(range(1, 20))
    """
    run_script(code)
