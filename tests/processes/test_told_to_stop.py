"""A process that was told to begin nothing more, and comes to the next thing that it has."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import tasks
from batching import Batch, act, assert_nothing_left, at
from helpers import PATIENCE, Gate, wait_until

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._pool import scheduler, stragglers
from bounded_executor._pool.stragglers import HoldUp

LIMIT = 200


def wait_before_reading(gate: Gate) -> None:
    """Have this process come to its next work only when the gate is open."""
    from bounded_executor._worker import loop

    read = loop.read_frame

    def and_wait(*args: Any) -> Any:
        # Not before this task's own outcome, and that of the next one, are out.
        if Path(gate.folder, "closed").exists():
            gate.wait()
        return read(*args)

    loop.read_frame = and_wait  # type: ignore[assignment]


def one_more_turn(ex: BoundedProcessPoolExecutor) -> None:
    """Return when the executor's own thread has done what there was to do."""
    for _ in range(2):
        # The notes come before the work of each turn.
        noted = threading.Event()
        ex._core.backend.note(noted.set)
        assert noted.wait(PATIENCE)


def test_a_process_that_refuses_its_next_work_is_given_nothing_behind_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would run that, while the same is taken back from it and run once more."""
    stop = HoldUp._stop
    stopped = threading.Event()

    def and_tell(*args: Any) -> None:
        stop(*args)
        stopped.set()

    monkeypatch.setattr(stragglers, "SETTLE_SECONDS", PATIENCE)
    # A process seems to be done in a moment with what it has, also where the machine is slow.
    monkeypatch.setattr(scheduler, "AHEAD_SECONDS", PATIENCE)
    monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", PATIENCE)
    log = str(tmp_path / "log")
    with (
        BoundedProcessPoolExecutor(1, max_tasks_per_child=LIMIT) as ex,
        Gate(tmp_path) as reading,
        Gate(tmp_path) as running,
    ):
        batch = Batch(ex, tmp_path)
        for _ in range(20):
            ex.submit(tasks.note, log, "before").result(PATIENCE)
        ex.submit(wait_before_reading, reading).result(PATIENCE)
        monkeypatch.setattr(HoldUp, "_stop", and_tell)
        first, refused = batch.behind_a_gate(
            lambda: [
                ex.submit(tasks.member, batch.log, 0, act(running.hold)),
                ex.submit(tasks.note, log, "refused"),
            ],
            2,
        )
        assert stopped.wait(PATIENCE)
        assert refused.running()
        Path(reading.folder, "closed").touch()
        running.open()
        assert first.result(PATIENCE) is None
        behind = ex.submit(tasks.note, log, "behind")
        one_more_turn(ex)
        assert not behind.running()
        reading.open()
        assert refused.result(PATIENCE) == "refused"
        assert behind.result(PATIENCE) == "behind"
        # A process that has run more than is known of ends by itself, and is taken to have crashed.
        assert list(ex.map(tasks.member, [batch.log] * LIMIT, range(LIMIT))) == list(range(LIMIT))
        wait_until(lambda: ex.stats().children_replaced > 0, "it has run all that it may")
        assert tasks.notes(log)[20:] == ["refused", "behind"]
        assert_nothing_left(ex)
    assert ex.stats().children_crashed == 0


def die_before_refusing() -> None:
    """Have this process be killed when it has found out that it is to begin no more, and not told it yet."""
    from bounded_executor._ipc.frames import Kind
    from bounded_executor._worker import loop

    write = loop.write_frame

    def or_die(sock: Any, kind: int, *rest: Any) -> None:
        if kind == Kind.STOPPED:
            os.kill(os.getpid(), signal.SIGKILL)
        write(sock, kind, *rest)

    loop.write_frame = or_die  # type: ignore[assignment]


def test_a_process_that_dies_while_it_refuses_a_task_costs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "SETTLE_SECONDS", PATIENCE)
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        ex.submit(die_before_refusing).result(PATIENCE)
        stopped = threading.Event()
        stop = HoldUp._stop

        def and_tell(*args: Any) -> None:
            stop(*args)
            stopped.set()

        monkeypatch.setattr(HoldUp, "_stop", and_tell)
        futures = batch.submit(at(1, gate.hold))
        assert stopped.wait(PATIENCE)
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == [0, None, 2, 3, 4, 5]
        assert batch.runs() == list(range(6))
        assert len(set(batch.pids())) == 2
        assert_nothing_left(ex)
