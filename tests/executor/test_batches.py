"""Short tasks travel together, and what one of them does is its own matter."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bad_tasks
import faults
import pytest
import tasks
from batching import Batch, act, assert_nothing_left, at
from helpers import PATIENCE, Gate, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TaskTimeout, TerminatedWorkerError
from bounded_executor._pool import crashes

WAYS = ["submit", "map", "chunk"]


def outcomes(batch: Batch, way: str, acts: list[Any]) -> Iterator[tuple[Any, BaseException | None]]:
    """Run members together, all of them, and yield what became of each; of a map only up to its error."""
    if way == "submit":
        for future in batch.submit(acts):
            error = future.exception(PATIENCE)
            yield (future.result() if error is None else None), error
        return
    results = batch.map(acts, chunksize=len(acts) if way == "chunk" else None)
    # A map that has ended with an error cancels what stands behind it.
    wait_until(lambda: batch.ex.stats().unfinished == 0, "all have run")
    for _ in acts:
        try:
            yield next(results), None
        except (Exception, SystemExit) as error:
            yield None, error
            return


def check(way: str, found: Any, place: int, kind: type[BaseException]) -> BaseException:
    """Check that all but one have returned their numbers; return the error of that one."""
    found = list(found)
    error = found[place][1]
    assert isinstance(error, kind)
    del found[place]
    assert found == [(number, None) for number in range(6) if number != place][: len(found)]
    assert len(found) == (5 if way == "submit" else place)
    return error


def messages(ex: BoundedProcessPoolExecutor) -> int:
    """How many messages the processes that are there have been sent."""
    return sum(child.turn for child in ex._core.backend.roster)


@pytest.mark.parametrize("way", WAYS)
def test_members_do_travel_together(tmp_path: Path, way: str) -> None:
    """All other tests here rely on it."""
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        log = batch.log_for(40)
        with Gate(tmp_path) as gate:
            held = ex.submit(tasks.hold_member, log, -1, gate)
            gate.wait_started(1)
            before = messages(ex)
            if way == "submit":
                futures = [ex.submit(tasks.member, log, number) for number in range(40)]
                results: Any = (future.result(PATIENCE) for future in futures)
            else:
                chunksize = None if way == "map" else 40
                results = ex.map(tasks.member, [log] * 40, range(40), chunksize=chunksize)
        held.result(PATIENCE)
        assert list(results) == list(range(40))
        assert messages(ex) == before + 1


# A process dies.


@pytest.mark.parametrize("kind", [faults.HARD_EXIT, faults.KILL, faults.CRASH])
@pytest.mark.parametrize("way", WAYS)
def test_a_death_costs_one_task_wherever_it_stands(tmp_path: Path, way: str, kind: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        for place in range(6):
            found = outcomes(batch, way, at(place, act(faults.happen, kind)))
            error = check(way, found, place, TerminatedWorkerError)
            assert faults.DEATHS[kind][1] in str(error)
            assert batch.runs() == list(range(6))
            assert len(set(batch.pids())) == (1 if place == 5 else 2)
        assert ex.stats().failed == ex.stats().children_crashed == 6
        assert_nothing_left(ex)


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("way", WAYS)
def test_only_the_one_that_died_is_run_again(tmp_path: Path, way: str, place: int) -> None:
    with BoundedProcessPoolExecutor(1, task_retries=1) as ex:
        batch = Batch(ex, tmp_path)
        again = act(bad_tasks.die_until, str(tmp_path / "tries"), 1, place)
        assert list(outcomes(batch, way, at(place, again))) == [(number, None) for number in range(6)]
        assert sorted(batch.runs()) == sorted([*range(6), place])
        assert ex.stats().retried == 1
        assert_nothing_left(ex)


def test_what_a_batch_has_lost_keeps_count_of_its_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that was given its second try, and never began it, costs it nothing and forgives nothing."""
    # It rests long enough for its next process to be stopped meanwhile.
    monkeypatch.setattr(crashes, "REST_SECONDS", 1.0)
    tries = str(tmp_path / "tries")
    with BoundedProcessPoolExecutor(1, task_retries=1) as ex:
        batch = Batch(ex, tmp_path)
        futures = batch.submit(at(2, act(bad_tasks.die_until, tries, 99, None)))
        wait_until(lambda: ex.stats().retried == 1, "the first try has ended")
        for number in (0, 1, 3, 4, 5):
            assert futures[number].result(PATIENCE) == number
        pid = batch.last_pid()
        os.kill(pid, signal.SIGSTOP)
        given = ex._core.backend.roster
        wait_until(lambda: any(child.pid == pid and child.work for child in given), "it is handed out")
        assert tasks.marks(tries) == 1
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(TerminatedWorkerError, match="try 2 of 2"):
            futures[2].result(PATIENCE)
        assert tasks.marks(tries) == 2
        assert_nothing_left(ex)


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("way", WAYS)
def test_on_crash_break_keeps_the_results_before(tmp_path: Path, way: str, place: int) -> None:
    with BoundedProcessPoolExecutor(1, on_crash="break") as ex:
        batch = Batch(ex, tmp_path)
        found = list(outcomes(batch, way, at(place, act(faults.happen, faults.KILL))))
        assert found[:place] == [(number, None) for number in range(place)]
        assert found[place:]
        assert all(type(error) is BrokenProcessPool for _, error in found[place:])
        assert len(found) == (6 if way == "submit" else place + 1)
        assert batch.runs() == list(range(place + 1))
        assert ex.stats().unfinished == 0


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("way", WAYS)
def test_the_death_of_the_supervisor_costs_the_one_that_had_begun(
    tmp_path: Path, way: str, retries: int
) -> None:
    with BoundedProcessPoolExecutor(1, task_retries=retries) as ex:
        batch = Batch(ex, tmp_path)
        for lost, place in enumerate((0, 3, 5)):
            times = str(tmp_path / f"times-{place}")
            found = outcomes(batch, way, at(place, act(bad_tasks.kill_parent_until, times, 1, place)))
            if retries:
                assert list(found) == [(number, None) for number in range(6)]
                assert sorted(batch.runs()) == sorted([*range(6), place])
            else:
                assert "supervisor" in str(check(way, found, place, TerminatedWorkerError))
                assert batch.runs() == list(range(6))
            assert ex.stats().supervisors_lost == lost + 1
        assert_nothing_left(ex)


# One runs too long for the time limit.


@pytest.mark.parametrize("way", WAYS)
def test_the_time_limit_is_for_each_task(tmp_path: Path, way: str) -> None:
    with BoundedProcessPoolExecutor(1, task_timeout=0.5, preload=["faults", "bad_tasks"]) as ex:
        batch = Batch(ex, tmp_path)
        error = check(way, outcomes(batch, way, at(3, act(faults.happen, faults.HANG))), 3, TaskTimeout)
        assert "in happen" in error.stack
        assert sorted(batch.runs()) == list(range(6))
        assert ex.stats().timed_out == 1
        assert_nothing_left(ex)


def test_a_process_that_hangs_between_two_tasks_costs_none(tmp_path: Path) -> None:
    """The result has arrived, and its object in the process does not go; nothing else was begun."""
    with BoundedProcessPoolExecutor(1, task_timeout=0.5, preload=["faults", "bad_tasks"]) as ex:
        batch = Batch(ex, tmp_path)
        with Gate(tmp_path) as gate:
            for place in (0, 2):
                futures = batch.submit(at(place, act(tasks.Waits, gate)))
                expected = ["left" if number == place else number for number in range(6)]
                assert [future.result(PATIENCE) for future in futures] == expected
                assert sorted(batch.runs()) == list(range(6))
            assert ex.stats().failed == 0
        assert_nothing_left(ex)


# Errors and results of all kinds.

ODD: dict[str, tuple[Any, Any]] = {
    "raises": (tasks.fail, ValueError),
    "leaves": (tasks.leave, SystemExit),
    "cannot be pickled": (act(tasks.make, "NoPickle"), ArithmeticError),
    "cannot be unpickled": (act(tasks.make, "NoUnpickle"), ArithmeticError),
    "is given what cannot be unpickled": (tasks.NoUnpickle(), ArithmeticError),
    "raises what cannot be pickled": (act(tasks.throw, "NoPickleError"), Exception),
    "raises what cannot be unpickled": (act(tasks.throw, "NoUnpickleError"), Exception),
    "100 KB": (act(tasks.bytes_of, 100_000), bytes(100_000)),
    "5 MB": (act(tasks.bytes_of, 5_000_000), bytes(5_000_000)),
    "just fits the board": (act(tasks.bytes_of, 16_320), bytes(16_320)),
    "text": (act(tasks.give, "é\ud800\0" * 500), "é\ud800\0" * 500),
    "a list": (act(tasks.give, [1, [2]]), [1, [2]]),
    "a dict": (act(tasks.give, {1: "one"}), {1: "one"}),
    "an object": (act(tasks.give, tasks.Point(1, 2)), tasks.Point(1, 2)),
    "an error, returned": (act(tasks.give, KeyError), KeyError),
}


@pytest.mark.parametrize("what", ODD)
@pytest.mark.parametrize("way", WAYS)
def test_an_odd_one_is_alone_in_it(tmp_path: Path, way: str, what: str) -> None:
    do, expected = ODD[what]
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        for place in (0, 2, 5):
            found = list(outcomes(batch, way, at(place, do)))
            if isinstance(expected, type) and what != "an error, returned":
                check(way, found, place, expected)
            else:
                assert found == [(expected if number == place else number, None) for number in range(6)]
            assert batch.runs() == [
                number
                for number in range(6)
                if number != place or what != "is given what cannot be unpickled"
            ]
        assert len(set(batch.pids())) == 1
        assert_nothing_left(ex)


def test_all_kinds_in_one_batch(tmp_path: Path) -> None:
    acts = list(itertools.chain.from_iterable((do, None) for do, _ in ODD.values()))
    with BoundedProcessPoolExecutor(1) as ex:
        found = list(outcomes(Batch(ex, tmp_path), "submit", acts))
        assert [value for value, _ in found[1::2]] == list(range(1, len(acts), 2))
        for (value, error), (what, (_, expected)) in zip(found[::2], ODD.items(), strict=True):
            if error is not None:
                assert isinstance(error, expected), what
            else:
                assert value == expected, what
        assert_nothing_left(ex)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1_000, 6_000, 16_000])
def test_more_results_than_are_kept_outlive_their_process(tmp_path: Path, way: str, size: int) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        acts = [act(tasks.bytes_of, size + number) for number in range(20)]
        batch = Batch(ex, tmp_path)
        found = list(outcomes(batch, way, [*acts, act(faults.happen, faults.KILL), *acts]))
        whole = [(bytes(size + number), None) for number in range(20)]
        assert found[:20] == whole
        assert isinstance(found[20][1], TerminatedWorkerError)
        assert found[21:] == (whole if way == "submit" else [])
        assert batch.runs() == list(range(41))
        assert_nothing_left(ex)


def test_arguments_that_fill_more_than_a_message(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        acts = [act(len, bytes(5_000 * number)) for number in range(40)]
        found = list(outcomes(Batch(ex, tmp_path), "submit", acts))
        assert found == [(5_000 * number, None) for number in range(40)]
        assert_nothing_left(ex)


def test_a_process_that_has_grown_leaves_in_the_middle(tmp_path: Path) -> None:
    with BoundedProcessPoolExecutor(1, max_memory_per_child=200 << 20) as ex:
        batch = Batch(ex, tmp_path)
        futures = batch.submit(at(2, act(tasks.leak, 250 << 20)))
        values = [future.result(PATIENCE) for future in futures]
        assert values == [0, 1, batch.pids()[0], 3, 4, 5]
        assert batch.runs() == list(range(6))
        assert [len(set(part)) for part in (batch.pids()[:3], batch.pids()[3:])] == [1, 1]
        assert batch.pids()[2] != batch.pids()[3]
        assert_nothing_left(ex)


# Copies of the process.


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_of_the_process_answers_nothing(tmp_path: Path, way: str) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        for do in (tasks.fork_and_return, tasks.fork_in_c_and_return, tasks.fork_and_fail_in_the_copy):
            acts = [act(do, number) if number % 2 else None for number in range(6)]
            assert list(outcomes(batch, way, acts)) == [(number, None) for number in range(6)]
            assert batch.runs() == list(range(6))
        check(way, outcomes(batch, way, at(3, act(tasks.fork_and_fail, "twice"))), 3, ValueError)
        assert batch.runs() == list(range(6))
        assert_nothing_left(ex)


def test_a_copy_that_goes_late_takes_no_results_along(tmp_path: Path) -> None:
    """It has a view of the memory in which its original keeps them."""
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    with BoundedProcessPoolExecutor(1) as ex:
        batch = Batch(ex, tmp_path)
        first = [value for value, _ in outcomes(batch, "submit", at(1, act(tasks.fork_and_fail_later, pipe)))]
        assert first[2:] == [2, 3, 4, 5]
        die = act(bad_tasks.release_a_copy_and_die, pipe, first[1])
        check("submit", outcomes(batch, "submit", at(3, die)), 3, TerminatedWorkerError)
        assert batch.runs() == list(range(6))
        assert_nothing_left(ex)


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_raised_after_a_task_moves_no_result(tmp_path: Path, way: str, place: int) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        found = list(outcomes(Batch(ex, tmp_path), way, at(place, act(bad_tasks.raise_late, place))))
        assert found == [(number, None) for number in range(6)]
        assert_nothing_left(ex)


def test_no_more_of_a_map_travels_together_when_results_have_no_room(tmp_path: Path) -> None:
    """All of it was submitted before that was so."""
    # With a limit of time nothing is given ahead.
    with BoundedProcessPoolExecutor(1, queue_bytes=100_000, task_timeout=PATIENCE) as ex:
        batch = Batch(ex, tmp_path)
        heavy, results = batch.behind_a_gate(
            lambda: (
                ex.map(tasks.member, [batch.log], [6], [act(bytes, 200_000)], chunksize=1),
                # In chunks of three.
                ex.map(tasks.member, [batch.log] * 6, range(6), buffersize=6),
            ),
            7,
        )
        wait_until(lambda: ex.stats().unfinished == 0, "what may run has run")
        assert batch.runs() == [6, 0, 1, 2]
        assert next(results) == 0
        assert len(next(heavy)) == 200_000
        assert list(results) == [1, 2, 3, 4, 5]
        assert batch.runs() == [6, *range(6)]
        assert_nothing_left(ex)
