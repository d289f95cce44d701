"""Each way of going wrong, at each place, under each load: only the task at fault is harmed."""

from __future__ import annotations

import functools
import itertools
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import faults
import pytest
import tasks
from cgroups import memory_group
from faults import DEATHS, EXIT, HANG, KINDS, NO_MEMORY, RAISE
from helpers import PATIENCE, Gate, assert_all_free, marked_processes, start_script, wait_until
from scenes import AFTER_SHUTDOWN, LOADS, PRODUCERS, TIMEOUT, Scene

from bounded_executor import (
    BoundedProcessPoolExecutor,
    BrokenProcessPool,
    QueueFull,
    TaskTimeout,
    TerminatedWorkerError,
)

IN_TASK = ("unpickle call", "running", "pickle result", "last task", "leaving")
IN_PARENT = ("pickle call", "unpickle result")
AT_END = ("shutdown", "end of block")
PLACES = (*IN_TASK, *IN_PARENT, *AT_END, "initializer")

# Cells that make no sense, with the reason: none so far, each kind can happen at each place.
EXCLUDED: dict[tuple[str, str, str], str] = {}

ALL = [cell for cell in itertools.product(KINDS, PLACES, LOADS) if cell not in EXCLUDED]

TASK = [cell for cell in ALL if cell[1] in IN_TASK]
PARENT_GOES_ON = [cell for cell in ALL if cell[1] in IN_PARENT and cell[0] in (RAISE, EXIT)]
PARENT_HANGS = [cell for cell in ALL if cell[1] in IN_PARENT and cell[0] == HANG]
PARENT_ENDS = [cell for cell in ALL if cell[1] in IN_PARENT and cell[0] in DEATHS]
END = [cell for cell in ALL if cell[1] in AT_END]
START_FAILS = [cell for cell in ALL if cell[1] == "initializer" and cell[0] != HANG]
START_HANGS = [cell for cell in ALL if cell[1] == "initializer" and cell[0] == HANG]


def cells(chosen: list[tuple[str, str, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("kind", "place", "load"), chosen, ids=map("-".join, chosen))


def test_no_cell_is_missing() -> None:
    tested = TASK + PARENT_GOES_ON + PARENT_HANGS + PARENT_ENDS + END + START_FAILS + START_HANGS
    whole = set(itertools.product(KINDS, PLACES, LOADS))
    assert len(tested) == len(set(tested))
    assert whole == set(tested) | EXCLUDED.keys()


def expected(kind: str, place: str) -> type[BaseException] | str:
    """Return what comes out of the task at fault: the type of its error, or its result."""
    if place == "initializer":
        return BrokenProcessPool
    if place == "leaving":
        return "left"  # it had its result before its process went wrong
    if place in IN_PARENT and kind == HANG:
        return "late"
    if kind == HANG:
        return TaskTimeout
    if kind in DEATHS:
        return TerminatedWorkerError
    return {RAISE: faults.Fault, EXIT: SystemExit}[kind]


def check_outcome(future: Future[Any], kind: str, place: str) -> None:
    what = expected(kind, place)
    if isinstance(what, str):
        assert future.result(PATIENCE) == what
        return
    error = future.exception(PATIENCE)
    assert type(error) is what, repr(error)
    if isinstance(error, TaskTimeout):
        assert "in happen" in error.stack
    if what is TerminatedWorkerError:
        assert DEATHS[kind][1] in str(error)


def check_counters(ex: BoundedProcessPoolExecutor, kind: str, place: str) -> None:
    what = expected(kind, place)
    assert ex.stats().children_crashed == (what is TerminatedWorkerError)
    assert ex.stats().timed_out == (kind == HANG and not isinstance(what, str))


@pytest.fixture(scope="module")
def memory_folder() -> Iterator[str]:
    with memory_group(32 << 20) as group:
        yield str(group.folder)
        assert group.kills() > 0


@pytest.fixture
def act(kind: str, request: pytest.FixtureRequest) -> tuple[Any, ...]:
    """The function that goes wrong, and its arguments."""
    return faults.happen, kind, request.getfixturevalue("memory_folder") if kind == NO_MEMORY else ""


def call_of(place: str, act: tuple[Any, ...], folder: Path) -> tuple[Any, ...]:
    """Return a function and its arguments: a task that goes wrong at this place."""
    return {
        "pickle call": (tasks.give, faults.OnPickle(*act)),
        "unpickle call": (tasks.give, faults.OnUnpickle(*act)),
        "running": act,
        "last task": act,
        "pickle result": (faults.OnPickle, *act),
        "unpickle result": (faults.OnUnpickle, *act),
        "leaving": (faults.at_exit, str(folder / "exits"), *act),
    }[place]


@cells(TASK)
def test_in_a_task(kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path) -> None:
    scene = Scene(tmp_path, kind, load)
    limit = 1 if place in ("last task", "leaving") else None
    with scene.executor(max_tasks_per_child=limit) as ex:
        scene.ahead()
        bad = ex.submit(*call_of(place, act, tmp_path))
        scene.behind()
        scene.go()
        check_outcome(bad, kind, place)
        scene.check_others()
        assert_all_free(ex)
        check_counters(ex, kind, place)
        if place == "leaving":
            wait_until(lambda: tasks.marks(str(tmp_path / "exits")) == 1, "the fault")
            if kind == HANG:
                ex.kill_workers()


@cells(PARENT_GOES_ON)
def test_in_the_parent(kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path) -> None:
    scene = Scene(tmp_path, kind, load)
    call = call_of(place, act, tmp_path)
    with scene.executor() as ex:
        scene.ahead()
        if place == "unpickle result":
            bad = ex.submit(*call)
            scene.behind()
        else:
            # A call is pickled before it waits for a slot, so it fails at once.
            scene.behind()
            if kind == EXIT:
                with pytest.raises(SystemExit):
                    ex.submit(*call)
            else:
                bad = ex.submit(*call)
                assert bad.done()
        scene.go()
        if place == "unpickle result" or kind != EXIT:
            check_outcome(bad, kind, place)
        scene.check_others()
        assert_all_free(ex)
        check_counters(ex, kind, place)


@cells(PARENT_HANGS)
def test_a_hang_in_the_parent_holds_up_its_own_thread(
    kind: str, place: str, load: str, tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    scene = Scene(tmp_path, RAISE, load)
    call = call_of(place, (gate.hold, "late"), tmp_path)
    submitted: list[Future[Any]] = []
    submitter = threading.Thread(target=lambda: submitted.append(scene.ex.submit(*call)))
    with scene.executor() as ex, gate:
        scene.ahead()
        submitter.start()
        if place == "pickle call":
            gate.wait_started(1)
            scene.behind()
            scene.go()
            scene.check_others()
            assert not submitted
        else:
            submitter.join(PATIENCE)
            scene.behind()
            count = len(scene.others) + (2 * PRODUCERS if load == "full" else 0)
            scene.go()
            gate.wait_started(1)
            # It is the thread of the callbacks, so other futures wait; slots and producers do not.
            if scene.sibling is not None:
                scene.sibling.open()
            wait_until(lambda: len(scene.others) == count and ex.stats().unfinished == 0, "all slots free")
            assert not submitted[0].done()
        gate.open()
        submitter.join(PATIENCE)
        check_outcome(submitted[0], kind, place)
        scene.check_others()
        assert_all_free(ex)


@cells(END)
def test_while_the_executor_is_shut_down(
    kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path
) -> None:
    gate = Gate(tmp_path)
    scene = Scene(tmp_path, kind, load)
    with scene.executor() as ex, gate:
        scene.ahead()
        bad = ex.submit(faults.after, gate, *act)
        scene.behind()
        end: Callable[[], Any] = ex.shutdown
        if place == "end of block":
            end = functools.partial(ex.__exit__, None, None, None)
        ender = threading.Thread(target=end)
        ender.start()
        wait_until(lambda: refuses(ex), "the shutdown")
        scene.check_refused(RuntimeError, AFTER_SHUTDOWN)
        scene.go()
        gate.open()
        check_outcome(bad, kind, place)
        scene.check_others()
        ender.join(PATIENCE)
        assert not ender.is_alive()
        assert ex.stats().unfinished == 0
        assert ex.stats().children == 0
        check_counters(ex, kind, place)


def refuses(ex: BoundedProcessPoolExecutor) -> bool:
    try:
        ex.submit_nowait(int)
    except QueueFull:
        return False
    except RuntimeError as error:
        return str(error) == AFTER_SHUTDOWN
    return False


def starting_badly(scene: Scene, act: tuple[Any, ...], folder: Path) -> dict[str, Any]:
    """Return options: the first process starts well where the executor is to be busy, no other does."""
    busy = scene.load == "busy"
    return {
        "workers": 1 if busy else 2,
        "max_tasks_per_child": 1 if busy else None,
        "initializer": faults.start_well,
        "initargs": (int(busy), str(folder / "starts"), scene.start, *act),
    }


@cells(START_FAILS)
def test_in_the_initializer(kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    scene = Scene(tmp_path, RAISE, load)
    with scene.executor(**starting_badly(scene, act, tmp_path)) as ex, gate:
        futures = []
        if load == "busy":
            futures.append(ex.submit(gate.hold))
            gate.wait_started(1)
        scene.behind()
        scene.go()
        futures += [future for _, future in scene.others]
        errors = [future.exception(PATIENCE) for future in futures]
        for error in errors:
            assert type(error) is expected(kind, place), repr(error)
            if kind not in DEATHS:
                assert type(error.__cause__) is {RAISE: faults.Fault, EXIT: SystemExit}[kind]
        assert len({id(error) for error in errors}) == len(futures)
        scene.check_refused(BrokenProcessPool, "")
        with pytest.raises(BrokenProcessPool):
            ex.submit(tasks.give)
        assert tasks.notes(scene.log) == []
        wait_until(lambda: ex.stats().unfinished == 0, "all slots free")
        wait_until(lambda: ex.stats().children == 0, "the end of all processes")


@cells(START_HANGS)
def test_an_initializer_that_hangs_is_ended_by_kill_workers_and_by_no_time_limit(
    kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path
) -> None:
    scene = Scene(tmp_path, kind, load)
    starts = str(tmp_path / "starts")
    with scene.executor(**starting_badly(scene, act, tmp_path)) as ex:
        if load == "busy":
            assert ex.submit(tasks.give, 1).result(PATIENCE) == 1
        scene.behind()
        scene.go()
        wait_until(lambda: tasks.marks(starts) == 2, "two starts")
        # That nothing happens can only be seen by waiting for longer than the limit.
        threading.Event().wait(2 * TIMEOUT)
        assert not any(future.done() for _, future in scene.others)
        assert tasks.marks(starts) == 2
        ex.kill_workers()
        wait_until(lambda: ex.stats().children == 0, "the end of all processes", 2.0)
        assert all(future.cancelled() for _, future in scene.others)
        scene.check_refused(RuntimeError, AFTER_SHUTDOWN)
        assert ex.stats().unfinished == 0


# The parent ends while others run, in the two loads that have others.
FATAL = """
    import sys, threading, faults, helpers, tasks
    from pathlib import Path
    from bounded_executor import BoundedProcessPoolExecutor

    kind, place, load, group, folder = sys.argv[1:]
    log, gate = folder + "/log", helpers.Gate(Path(folder))
    act = (faults.happen, kind, group)

    with BoundedProcessPoolExecutor(3, queue_size=6) as ex:
        if load != "first":
            for _ in range(2):
                ex.submit(tasks.nap_after_mark, log, 100)
            tasks.await_marks(log, 2)
        if place == "unpickle result":
            ex.submit(faults.after, gate, faults.OnUnpickle, *act)
            gate.wait_started(1)
        if load == "full":
            while ex.stats().unfinished < 6:
                ex.submit(tasks.nap_after_mark, log, 100)
            for _ in range(3):
                threading.Thread(target=ex.submit, args=(tasks.give,)).start()
            helpers.wait_until(lambda: helpers.callers_waiting(ex) == 3)
        gate.open()
        if place == "pickle call":
            ex.submit(tasks.give, faults.OnPickle(*act))
"""


@cells(PARENT_ENDS)
def test_a_parent_that_ends_leaves_no_process_behind(
    kind: str, place: str, load: str, act: tuple[Any, ...], tmp_path: Path
) -> None:
    mark = uuid.uuid4().hex
    with start_script(FATAL, kind, place, load, act[2], tmp_path, FATAL=mark) as process:
        try:
            _, err = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == DEATHS[kind][0], err
    # Five seconds are what is promised.
    wait_until(lambda: not marked_processes("FATAL", mark), "the end of all processes", 5.0)
