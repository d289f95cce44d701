"""A map that one thread makes or fetches from while another shuts the executor down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
import tasks
from helpers import PATIENCE, wait_until

from bounded_executor import BoundedProcessPoolExecutor


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


def refuses(ex: BoundedProcessPoolExecutor) -> bool:
    try:
        ex.map(tasks.give, [])
    except RuntimeError:
        return True
    return False
