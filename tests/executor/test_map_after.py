"""``map`` and the end of its executor: who still gets results, and what is run on."""

from __future__ import annotations

import concurrent.futures
import gc
import itertools
from pathlib import Path

import pytest
import tasks
from helpers import Counted, broken_input, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor

AFTER_SHUTDOWN = "^cannot schedule new futures after shutdown$"


# Habits of existing programs: a map that nobody began.


def test_results_may_be_read_after_the_block() -> None:
    inputs = Counted(range(300))
    with BoundedProcessPoolExecutor(2, queue_size=10) as ex:
        results = ex.map(tasks.double, inputs)
        assert inputs.pulled <= 10
    assert inputs.pulled == 300
    assert list(results) == [2 * number for number in range(300)]


def test_several_maps_may_be_read_after_the_block() -> None:
    with BoundedProcessPoolExecutor(2, queue_size=3) as ex:
        maps = [ex.map(tasks.double, range(start, start + 20)) for start in range(5)]
    for start, results in enumerate(maps):
        assert list(results) == [2 * number for number in range(start, start + 20)]


@pytest.mark.parametrize("explicit", [False, True])
def test_a_map_thrown_away_is_run_for_its_effects(tmp_path: Path, explicit: bool) -> None:
    log = str(tmp_path / "log")
    with BoundedProcessPoolExecutor(2, queue_size=5) as ex:
        ex.map(tasks.mark, itertools.repeat(log, 200))
        gc.collect()
        if explicit:
            ex.shutdown(wait=True)
            assert tasks.marks(log) == 200
    assert tasks.marks(log) == 200


def test_a_map_thrown_away_is_not_remembered() -> None:
    with BoundedProcessPoolExecutor(2) as ex:
        for _ in range(20):
            ex.map(tasks.double, range(3))
        gc.collect()
        assert ex.submit(tasks.double, 1).result() == 2
        wait_until(lambda: not any(type(one).__name__ == "MapRun" for one in gc.get_objects()))


def test_a_map_thrown_away_is_run_before_the_interpreter_ends(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = """
        import itertools, sys, tasks
        from bounded_executor import BoundedProcessPoolExecutor
        ex = BoundedProcessPoolExecutor(2, queue_size=5)
        ex.map(tasks.mark, itertools.repeat(sys.argv[1], 200))
    """
    run_script(code, log)
    assert tasks.marks(str(log)) == 200


def test_an_error_of_the_input_is_raised_where_the_map_is_run() -> None:
    with pytest.raises(LookupError, match="input"), BoundedProcessPoolExecutor(1, queue_size=2) as ex:
        ex.map(tasks.give, broken_input(30))


def test_an_error_of_a_task_waits_for_who_reads_the_results() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=2) as ex:
        results = ex.map(tasks.fail_if, range(30), itertools.repeat(20))
        ex.map(tasks.fail_if, range(30), itertools.repeat(20))
    got = []
    with pytest.raises(ValueError, match="bad 20"):
        for result in results:
            got.append(result)
    assert got == list(range(20))


def test_a_block_left_by_an_exception_does_not_run_maps_on(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    inputs = Counted(itertools.repeat(log))
    with pytest.raises(KeyError), BoundedProcessPoolExecutor(1, queue_size=5) as ex:
        ex.map(tasks.mark, inputs)
        raise KeyError
    assert inputs.pulled <= 5
    assert tasks.marks(log) <= 5


def test_a_map_that_was_begun_ends_with_an_error_after_shutdown() -> None:
    inputs = Counted(range(100))
    with BoundedProcessPoolExecutor(1, queue_size=4) as ex:
        results = ex.map(tasks.give, inputs)
        got = [next(results)]
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        for result in results:
            got.append(result)
    assert got == list(range(len(got)))
    assert len(got) >= 2
    assert inputs.pulled <= len(got) + 1


def test_a_map_whose_inputs_had_all_been_pulled_ends_in_silence_after_shutdown() -> None:
    with BoundedProcessPoolExecutor(1, queue_size=50) as ex:
        results = ex.map(tasks.give, range(20), chunksize=1)
        assert next(results) == 0
    assert list(results) == list(range(1, 20))


def test_an_explicit_buffersize_fetches_nothing_beyond_the_buffer_after_shutdown() -> None:
    inputs = Counted(range(100))
    with BoundedProcessPoolExecutor(1, queue_size=50) as ex:
        results = ex.map(tasks.give, inputs, buffersize=5)
    assert inputs.pulled <= 5
    got = []
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        for result in results:
            got.append(result)
    assert inputs.pulled <= 6
    assert got == list(range(len(got)))


def test_cancel_futures_does_not_run_maps_on(tmp_path: Path) -> None:
    inputs = Counted(itertools.count())
    with BoundedProcessPoolExecutor(1, queue_size=5) as ex:
        results = ex.map(tasks.give, inputs)
        ex.shutdown(wait=True, cancel_futures=True)
    assert inputs.pulled <= 5
    with pytest.raises((RuntimeError, concurrent.futures.CancelledError)):
        list(results)


@pytest.mark.parametrize("count", [3, 100])
def test_a_map_that_nobody_began_and_an_earlier_shutdown_that_did_not_wait(count: int) -> None:
    with BoundedProcessPoolExecutor(1, queue_size=5) as ex:
        results = ex.map(tasks.give, range(count))
        ex.shutdown(wait=False)
    try:
        assert list(results) == list(range(count))
    except RuntimeError as error:
        assert str(error) == "cannot schedule new futures after shutdown"


def test_map_after_shutdown() -> None:
    inputs = Counted(range(3))
    with BoundedProcessPoolExecutor(1) as ex:
        pass
    with pytest.raises(RuntimeError, match=AFTER_SHUTDOWN):
        ex.map(tasks.give, inputs)
    assert inputs.pulled == 0


def test_results_that_are_dropped_after_the_end_weigh_nothing() -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        results = ex.map(str, ["x" * 1000] * 20)
        assert len(next(results)) == 1000
    wait_until(lambda: ex.stats().succeeded == 20)
    assert ex.stats().held_bytes
    del results
    assert not ex.stats().held_bytes


def test_results_that_are_dropped_while_the_executor_ends_weigh_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its thread looks at no more notes by then."""
    with BoundedProcessPoolExecutor(1) as ex:
        left = [ex.map(str, ["x" * 1000] * 20)]
        assert len(next(left[0])) == 1000
        wait_until(lambda: ex.stats().succeeded == 20)
        let_go = ex._core.backend._let_go

        def and_drop() -> None:
            let_go()
            left.clear()

        monkeypatch.setattr(ex._core.backend, "_let_go", and_drop)
    assert not ex.stats().held_bytes
