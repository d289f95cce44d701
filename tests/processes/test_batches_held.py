"""A long task among short ones that travel together."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
import tasks
from batching import Batch, act, assert_nothing_left, at
from helpers import PATIENCE, Gate, wait_until

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError
from bounded_executor._core.work import FutureSink
from bounded_executor._pool import scheduler, stragglers
from bounded_executor._pool.stragglers import HoldUp


class Held:
    """A task that is held in one of several ways, until the test lets it go."""

    def __init__(self, folder: Path, how: str, batch: Batch) -> None:
        self.how = how
        self.gate = Gate(folder)
        self.batch = batch
        self.pipe = str(folder / "pipe")
        self.do: Any = act(self.gate.hold, "held")
        self.expected = "held"
        if how == "in C":
            os.mkfifo(self.pipe)
            self.writer = os.open(self.pipe, os.O_RDWR)
            self.do, self.expected = act(tasks.read_with_the_gil, self.pipe), "read"
        elif how == "stopped":
            self.do, self.expected = tasks.stop_once, "continued"

    def __enter__(self) -> Held:
        return self

    def __exit__(self, *exc: object) -> None:
        self.go()
        if self.how == "in C":
            os.close(self.writer)

    def go(self) -> None:
        self.gate.open()
        if self.how == "in C":
            os.write(self.writer, b"x")
        elif self.how == "stopped" and self.batch.runs():
            pid = self.batch.pids()[0]
            wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "R")
            os.kill(pid, signal.SIGCONT)


HOWS = ["gate", "in C", "stopped"]


@pytest.mark.parametrize("place", [0, 2, 5])
@pytest.mark.parametrize("how", HOWS)
def test_a_long_task_holds_nothing_up(tmp_path: Path, how: str, place: int) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        with Held(tmp_path, how, batch) as held:
            futures = batch.submit(at(place, held.do))
            before, behind = futures[:place], futures[place + 1 :]
            assert [future.result(PATIENCE) for future in before] == list(range(place))
            wait_until(lambda: not any(future.running() for future in behind), "they wait again")
            assert futures[place].running()
            assert not futures[place].cancel()
            assert ex.stats().unfinished == len(behind) + 1
            assert ex.stats().waiting == len(behind)
            cancelled = behind[1::2]
            for number, future in enumerate(cancelled):
                assert future.cancel()
                assert future.cancelled()
                assert ex.stats().unfinished == len(behind) - number
            held.go()
            assert futures[place].result(PATIENCE) == held.expected
        left = [number for number, future in enumerate(futures) if future not in cancelled]
        assert [futures[number].result(PATIENCE) for number in left if number != place] == [
            number for number in left if number != place
        ]
        assert batch.runs() == left
        assert ex.stats().cancelled == len(cancelled)
        assert len(set(batch.pids())) == 1
        assert_nothing_left(ex)


@pytest.mark.parametrize("how", HOWS)
def test_what_stands_behind_a_long_task_is_run_by_others(tmp_path: Path, how: str) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as other:
        # Half of what waits is one worker's part.
        batch = Batch(ex, tmp_path)
        log = batch.log_for(12)
        with Held(tmp_path, how, batch) as held, Gate(tmp_path) as first:
            blocked = [ex.submit(tasks.hold_member, log, -1, gate) for gate in (first, other)]
            first.wait_started(1)
            other.wait_started(1)
            calls = at(2, held.do, 12)
            futures = [ex.submit(tasks.member, log, number, call) for number, call in enumerate(calls)]
            first.open()
            assert [futures[number].result(PATIENCE) for number in (0, 1)] == [0, 1]
            wait_until(lambda: not any(future.running() for future in futures[3:]), "they wait again")
            other.open()
            assert [future.result(PATIENCE) for future in futures[3:]] == list(range(3, 12))
            assert futures[2].running()
            held.go()
            assert futures[2].result(PATIENCE) == held.expected
        assert sorted(batch.runs()) == list(range(12))
        assert len(set(batch.pids())) == 2
        assert [future.result(PATIENCE) for future in blocked] == [-1, -1]
        assert_nothing_left(ex)


@pytest.mark.parametrize("left", [7, 9])
@pytest.mark.parametrize("how", HOWS)
def test_what_was_taken_back_does_not_count(tmp_path: Path, how: str, left: int) -> None:
    """Also where it would have been the last that the process may run."""
    limit = 60
    with BoundedProcessPoolExecutor(1, max_tasks_per_child=limit) as ex:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(6)
        # One more comes before the batch, which holds the worker.
        while sum(batch.counts().values()) % limit != limit - left:
            ex.submit(tasks.member, log, -1).result(PATIENCE)
        with Held(tmp_path, how, batch) as held:
            with Gate(tmp_path) as gate:
                blocked = ex.submit(tasks.hold_member, log, -1, gate)
                gate.wait_started(1)
                calls = at(2, held.do)
                futures = [ex.submit(tasks.member, log, number, call) for number, call in enumerate(calls)]
            assert blocked.result(PATIENCE) == -1
            assert [futures[number].result(PATIENCE) for number in (0, 1)] == [0, 1]
            wait_until(lambda: not any(future.running() for future in futures[3:]), "they wait again")
            assert futures[4].cancel()
            held.go()
            assert futures[2].result(PATIENCE) == held.expected
        more = [ex.submit(tasks.member, log, number) for number in range(6, 2 * limit + 6)]
        assert [futures[number].result(PATIENCE) for number in (3, 5)] == [3, 5]
        assert [future.result(PATIENCE) for future in more] == list(range(6, 2 * limit + 6))
        assert sorted(batch.runs()) == [number for number in range(2 * limit + 6) if number != 4]
        counts = batch.counts()
        assert max(counts.values()) == limit
        assert counts[batch.pids()[0]] == limit
        assert_nothing_left(ex)


@pytest.mark.parametrize("chunksize", [None, 6])
@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("how", HOWS)
def test_a_map_yields_what_comes_before_a_long_item(
    tmp_path: Path, how: str, unordered: bool, chunksize: int | None
) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        with Held(tmp_path, how, batch) as held:
            results = batch.map(at(3, held.do), chunksize=chunksize, unordered=unordered)
            assert [next(results) for _ in range(3)] == [0, 1, 2]
            held.go()
            assert list(results) == [held.expected, 4, 5]
        assert batch.runs() == list(range(6))
        # One of a given length stays together.
        assert len(set(batch.pids())) == 1
        assert_nothing_left(ex)


@pytest.mark.parametrize("chunksize", [None, 12])
def test_only_a_chunk_of_a_given_length_stays_with_its_process(tmp_path: Path, chunksize: int | None) -> None:
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as held, Gate(tmp_path) as other:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(30)
        with Gate(tmp_path) as first:
            blocked = [ex.submit(tasks.hold_member, log, -1, gate) for gate in (first, other)]
            first.wait_started(1)
            other.wait_started(1)
            calls = at(2, held.hold, 12)
            results = ex.map(tasks.member, [log] * 12, range(12), calls, chunksize=chunksize, unordered=True)
        held.wait_started(1)
        other.open()
        if chunksize is None:
            assert sorted(next(results) for _ in range(11)) == [0, 1, *range(3, 12)]
        else:
            assert [next(results) for _ in range(2)] == [0, 1]
            # The other worker has nothing to do, and is not given any of it.
            assert ex.submit(tasks.member, log, -1).result(PATIENCE) == -1
            assert batch.runs() == [0, 1, 2]
        held.open()
        assert list(results) == ([None] if chunksize is None else [None, *range(3, 12)])
        assert sorted(batch.runs()) == list(range(12))
        assert len(set(batch.pids())) == (2 if chunksize is None else 1)
        assert [future.result(PATIENCE) for future in blocked] == [-1, -1]


@pytest.mark.parametrize("place", [1, 3, 5])
@pytest.mark.parametrize("chunksize", [None, 6])
def test_results_are_fetched_from_a_process_that_was_late_to_begin(
    tmp_path: Path, chunksize: int | None, place: int
) -> None:
    """It was stopped while its batch was on the way, for longer than short tasks take."""
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(6)
        pid = ex.submit(tasks.pid).result(PATIENCE)
        os.kill(pid, signal.SIGSTOP)
        calls = at(place, gate.hold)
        results = ex.map(
            tasks.member,
            [log] * 6,
            range(6),
            calls,
            chunksize=chunksize,
            unordered=True,
            timeout=PATIENCE,
        )
        threading.Event().wait(0.05)
        os.kill(pid, signal.SIGCONT)
        assert [next(results) for _ in range(place)] == list(range(place))
        gate.open()
        assert list(results) == [None, *range(place + 1, 6)]
        assert batch.runs() == list(range(6))


# Ends.


@pytest.mark.parametrize("place", [0, 3])
def test_shutdown_cancels_what_stands_behind_a_long_task(tmp_path: Path, place: int) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        futures = batch.submit(at(place, gate.hold))
        ex.shutdown(wait=False, cancel_futures=True)
        assert [future.result(PATIENCE) for future in futures[:place]] == list(range(place))
        for future in futures[place + 1 :]:
            with pytest.raises(CancelledError):
                future.result(PATIENCE)
        gate.open()
        assert futures[place].result(PATIENCE) is None
        ex.shutdown()
        assert batch.runs() == list(range(place + 1))
        assert ex.stats().unfinished == 0


@pytest.mark.parametrize("mapped", [False, True])
def test_kill_workers_ends_a_batch(tmp_path: Path, mapped: bool) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        if mapped:
            results = batch.map(at(2, gate.hold), chunksize=6)
            assert [next(results) for _ in range(2)] == [0, 1]
            gate.wait_started(1)
            ex.kill_workers()
            with pytest.raises(TerminatedWorkerError):
                next(results)
            assert list(results) == []
        else:
            futures = batch.submit(at(2, gate.hold))
            gate.wait_started(1)
            ex.kill_workers()
            assert [future.result(PATIENCE) for future in futures[:2]] == [0, 1]
            assert isinstance(futures[2].exception(PATIENCE), TerminatedWorkerError)
            for future in futures[3:]:
                with pytest.raises(CancelledError):
                    future.result(PATIENCE)
        ex.shutdown()
        assert batch.runs() == [0, 1, 2]
        assert ex.stats().unfinished == 0


@pytest.mark.parametrize("chunksize", [None, 6])
@pytest.mark.parametrize("way", ["close", "drop"])
def test_leaving_a_map_in_the_middle_of_a_batch(tmp_path: Path, way: str, chunksize: int | None) -> None:
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        results = batch.map(at(2, gate.hold), chunksize=chunksize)
        assert next(results) == 0
        gate.wait_started(1)
        if way == "close":
            results.close()
            assert list(results) == []
        del results
        gc.collect()
        if chunksize is None:
            wait_until(lambda: ex.stats().unfinished == 1, "only the held one is left")
        gate.open()
        assert_nothing_left(ex)
        assert batch.runs() == list(range(3 if chunksize is None else 6))


def test_after_shutdown_what_stands_behind_a_long_task_is_run_by_others(tmp_path: Path) -> None:
    """Though they were sent home, for want of work."""
    with BoundedProcessPoolExecutor(2) as ex, Gate(tmp_path) as held, Gate(tmp_path) as other:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(12)
        with Gate(tmp_path) as first:
            blocked = [ex.submit(tasks.hold_member, log, -1, gate) for gate in (first, other)]
            first.wait_started(1)
            other.wait_started(1)
            calls = at(0, held.hold, 12)
            futures = [ex.submit(tasks.member, log, number, call) for number, call in enumerate(calls)]
            ex.shutdown(wait=False)
        held.wait_started(1)
        other.open()
        assert [future.result(PATIENCE) for future in futures[1:]] == list(range(1, 12))
        assert futures[0].running()
        held.open()
        assert futures[0].result(PATIENCE) is None
        assert [future.result(PATIENCE) for future in blocked] == [-1, -1]
        ex.shutdown()
        assert sorted(batch.runs()) == list(range(12))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_shutdown_at_the_moment_at_which_tasks_are_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    wait_again = FutureSink.wait_again

    def interrupted(*args: Any) -> None:
        if moment == "after":
            wait_again(*args)
        thread = threading.Thread(target=ex.shutdown, args=(False,), kwargs={"cancel_futures": True})
        thread.start()
        thread.join(PATIENCE)
        if moment == "before":
            wait_again(*args)

    monkeypatch.setattr(FutureSink, "wait_again", interrupted)
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        futures = Batch(ex, tmp_path).submit(at(2, gate.hold))
        for future in futures[3:]:
            with pytest.raises(CancelledError):
                future.result(PATIENCE)
        assert ex.stats().unfinished == 1
        gate.open()
        assert [future.result(PATIENCE) for future in futures[:3]] == [0, 1, None]
        ex.shutdown()
        stats = ex.stats()
        assert stats.unfinished == stats.waiting == stats.held_bytes == 0
        assert stats.cancelled == 3


def test_a_future_that_is_cancelled_while_it_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_again = FutureSink.wait_again
    cancelled = []

    def and_cancel(sink: FutureSink, *args: Any) -> None:
        wait_again(sink, *args)
        cancelled.append(sink.future.cancel())

    monkeypatch.setattr(FutureSink, "wait_again", and_cancel)
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        batch = Batch(ex, tmp_path)
        futures = batch.submit(at(2, gate.hold))
        wait_until(lambda: ex.stats().unfinished == 1, "slots of cancelled calls are free at once")
        assert cancelled == [True] * 3
        assert all(future.cancelled() for future in futures[3:])
        gate.open()
        assert [future.result(PATIENCE) for future in futures[:3]] == [0, 1, None]
        assert batch.runs() == [0, 1, 2]
        assert_nothing_left(ex)


def test_what_was_given_ahead_and_taken_back_is_run_once(tmp_path: Path) -> None:
    """The process refuses it when it comes to it, at a time when it may have been given it once more."""
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        # Another function, so that the two do not travel together.
        log = str(tmp_path / "log")
        for _ in range(20):
            ex.submit(tasks.note, log, "before").result(PATIENCE)
        with Gate(tmp_path) as gate:
            first, second = batch.behind_a_gate(
                lambda: [
                    ex.submit(tasks.member, batch.log, 0, act(gate.hold)),
                    ex.submit(tasks.note, log, "once"),
                ],
                2,
            )
            gate.wait_started(1)
            wait_until(lambda: ex.stats().waiting == 1 and not second.running(), "it was taken back")
        assert first.result(PATIENCE) is None
        assert second.result(PATIENCE) == "once"
        assert tasks.notes(log).count("once") == 1
        assert_nothing_left(ex)


def test_a_process_that_was_told_to_stop_is_given_nothing_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would not be told to begin none of that, and what is taken back would be run there too."""
    stop, take_back = HoldUp._stop, HoldUp._take_back
    stopped = threading.Event()
    submitted = threading.Event()

    def and_wait(*args: Any) -> None:
        stop(*args)
        # It seems to be done with what it has in a moment, while it is told to stop.
        monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", PATIENCE)
        stopped.set()
        submitted.wait(PATIENCE)

    def and_go_on(*args: Any) -> None:
        monkeypatch.undo()
        take_back(*args)

    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        log = str(tmp_path / "log")
        for _ in range(20):
            ex.submit(tasks.note, log, "before").result(PATIENCE)
        with Gate(tmp_path) as gate:
            batch.log_for(6)
            monkeypatch.setattr(HoldUp, "_stop", and_wait)
            monkeypatch.setattr(HoldUp, "_take_back", and_go_on)
            futures = batch.behind_a_gate(
                lambda: [
                    ex.submit(tasks.member, batch.log, number, call)
                    for number, call in enumerate(at(2, gate.hold))
                ],
                6,
                new=False,
            )
            assert stopped.wait(PATIENCE)
            late = ex.submit(tasks.note, log, "once")
            submitted.set()
            wait_until(lambda: ex.stats().waiting == 4 and not late.running(), "they wait")
        assert [future.result(PATIENCE) for future in futures] == [0, 1, None, 3, 4, 5]
        assert late.result(PATIENCE) == "once"
        assert tasks.notes(log).count("once") == 1
        assert_nothing_left(ex)


def test_what_was_begun_before_the_process_was_told_to_refuse_it_is_run_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chunk of a given length takes long, and at that moment the batch behind it begins."""
    stop = HoldUp._stop
    with BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as chunk, Gate(tmp_path) as inside:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(8)

        def after_it_began(*args: Any) -> None:
            monkeypatch.undo()
            chunk.open()
            wait_until(lambda: batch.runs()[-1:] == [2], "the batch is in the middle")
            # Nothing more is given ahead, for which it would be told to stop.
            monkeypatch.setattr(scheduler, "PATIENCE_SECONDS", -PATIENCE)
            stop(*args)

        with Gate(tmp_path) as first:
            blocked = ex.submit(tasks.hold_member, log, -1, first)
            first.wait_started(1)
            results = ex.map(tasks.member, [log], [0], [chunk.hold], chunksize=1)
            calls = enumerate(at(1, inside.hold), 1)
            futures = [ex.submit(tasks.member, log, number, call) for number, call in calls]
            monkeypatch.setattr(HoldUp, "_stop", after_it_began)
        assert blocked.result(PATIENCE) == -1
        assert list(results) == [None]
        wait_until(lambda: not any(future.running() for future in futures[2:]), "they wait again")
        inside.open()
        assert [future.result(PATIENCE) for future in futures] == [1, None, 3, 4, 5, 6]
        assert batch.runs() == list(range(7))
        assert_nothing_left(ex)


def test_results_are_still_fetched_when_what_was_given_ahead_has_been_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_back = HoldUp._take_back

    def and_go_on(*args: Any) -> None:
        take_back(*args)
        second.open()
        third.wait_started(1)

    monkeypatch.setattr(stragglers, "SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(HoldUp, "_take_back", and_go_on)
    with (
        BoundedProcessPoolExecutor(1) as ex,
        Gate(tmp_path) as first,
        Gate(tmp_path) as second,
        Gate(tmp_path) as third,
    ):
        gates = (first, second, third)
        batch = Batch(ex, tmp_path)
        log = str(tmp_path / "log")
        for _ in range(20):
            ex.submit(tasks.note, log, "before").result(PATIENCE)
        ex.submit(tasks.keep_results).result(PATIENCE)
        results, late = batch.behind_a_gate(
            lambda: (
                ex.map(
                    tasks.member,
                    [batch.log] * 3,
                    range(3),
                    [act(gate.hold, "x" * size) for gate, size in zip(gates, (20_000, 1, 1), strict=True)],
                    chunksize=3,
                    timeout=10,
                ),
                ex.submit(tasks.note, log, "late"),
            ),
            4,
        )
        first.wait_started(1)
        wait_until(lambda: late.running(), "it was given ahead")
        threading.Event().wait(0.2)  # It is told to refuse that.
        first.open()
        assert len(next(results)) == 20_000
        # The other two results are short.
        assert next(results) == "x"
        third.open()
        assert next(results) == "x"
        assert late.result(PATIENCE) == "late"
