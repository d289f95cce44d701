"""``on_event`` is told of every task, once, on the callback thread."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import tasks
from helpers import PATIENCE, Gate

from bounded_executor import BoundedProcessPoolExecutor, TaskEvent


def test_each_end_of_a_task_is_one_event(tmp_path: Path) -> None:
    events: list[TaskEvent] = []
    with BoundedProcessPoolExecutor(1, task_retries=1, on_event=events.append) as ex:
        ex.submit(tasks.double, 1).result(PATIENCE)
        ex.submit(int, "no number").exception(PATIENCE)
        ex.submit(tasks.kill_self).exception(PATIENCE)
        with Gate(tmp_path) as gate:
            ex.submit(gate.hold)
            gate.wait_started(1)
            assert ex.submit(tasks.double, 2).cancel()
    assert [(event.kind, event.count) for event in events] == [
        ("succeeded", 1),
        ("failed", 1),
        ("retried", 1),
        ("failed", 1),
        ("cancelled", 1),
        ("succeeded", 1),
    ]
    good, bad, retried, crashed, cancelled, _ = events
    assert good.function == "tasks.double"
    assert good.seconds is not None
    assert good.error is None
    assert bad.error is not None
    assert bad.error.startswith("ValueError: invalid literal")
    for event in (retried, crashed):
        assert event.error is not None
        assert event.error.startswith("TerminatedWorkerError: tasks.kill_self was not finished")
        assert "\n" not in event.error
        assert event.seconds is None
    assert cancelled.function == "tasks.double"


@pytest.mark.parametrize("chunksize", [None, 1, 100])
def test_tasks_of_a_map_are_counted_exactly(chunksize: int | None) -> None:
    events: list[TaskEvent] = []
    with BoundedProcessPoolExecutor(2, on_event=events.append) as ex:
        assert sum(ex.map(tasks.double, range(1000), chunksize=chunksize)) == 999000
    assert {event.kind for event in events} == {"succeeded"}
    assert sum(event.count for event in events) == 1000


def test_it_is_called_on_the_callback_thread() -> None:
    threads: list[threading.Thread] = []
    with BoundedProcessPoolExecutor(
        1, on_event=lambda event: threads.append(threading.current_thread())
    ) as ex:
        future = ex.submit(tasks.double, 1)
        future.add_done_callback(lambda one: threads.append(threading.current_thread()))
    assert len(threads) == 2
    assert len(set(threads)) == 1


def test_what_it_raises_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: TaskEvent) -> None:
        raise LookupError("of the user's")

    with BoundedProcessPoolExecutor(1, on_event=fail) as ex:
        assert ex.submit(tasks.double, 21).result(PATIENCE) == 42
    assert "on_event raised" in caplog.text
    assert "of the user's" in caplog.text


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="on_event must be a callable or None, got 5"):
        BoundedProcessPoolExecutor(1, on_event=5)  # type: ignore[arg-type]
