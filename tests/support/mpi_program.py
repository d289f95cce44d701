"""Runs under MPI, for ``test_mpi``: one scene, named by the argument, over a pool of MPI processes."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from typing import Any

import tasks
from helpers import PATIENCE, Gate, assert_all_free, callers_waiting, wait_until
from mpi4py.futures import MPIPoolExecutor

from bounded_executor import BoundedExecutor

QUEUE_SIZE = 6


def submit(ex: BoundedExecutor, folder: Path) -> None:
    log = str(folder / "finished")
    futures = []
    for number in range(200):
        futures.append(ex.submit(tasks.mark, log, number))
        # A task leaves its mark before its outcome arrives, so this is exact.
        assert number + 1 - tasks.marks(log) <= QUEUE_SIZE
    assert [future.result(PATIENCE) for future in futures] == list(range(200))
    assert tasks.marks(log) == 200


def bound(ex: BoundedExecutor, folder: Path) -> None:
    with Gate(folder) as gate:
        futures = [ex.submit(gate.hold, number) for number in range(QUEUE_SIZE)]
        gate.wait_started(2)
        assert callers_waiting(ex) == 0
        stats = ex.stats()
        assert (stats.unfinished, stats.running) == (QUEUE_SIZE, 2)
        gate.open()
        assert [future.result(PATIENCE) for future in futures] == list(range(QUEUE_SIZE))


def maps(ex: BoundedExecutor, folder: Path) -> None:
    log = str(folder / "finished")
    assert list(ex.map(tasks.mark, [log] * 300, range(300))) == list(range(300))
    assert sorted(ex.map(tasks.mark, [log] * 300, range(300), unordered=True)) == list(range(300))
    assert list(ex.map(tasks.mark, [log] * 300, range(300), chunksize=4)) == list(range(300))
    assert tasks.marks(log) == 900
    assert list(ex.map(len, [bytes(2_000_000)] * 8)) == [2_000_000] * 8


def errors(ex: BoundedExecutor, folder: Path) -> None:
    error = ex.submit(tasks.fail, "below").exception(PATIENCE)
    assert type(error) is ValueError
    assert str(error) == "below"
    assert type(error.__cause__).__name__ == "_RemoteTraceback"
    assert type(ex.submit(tasks.leave, 3).exception(PATIENCE)) is SystemExit
    results = ex.map(tasks.fail_if, range(20), [5] * 20)
    found: list[Any] = []
    try:
        found.extend(results)
    except ValueError as failed:
        assert str(failed) == "bad 5"
    else:
        raise AssertionError("the map did not end at its error")
    assert found == list(range(5))


def unpicklable(ex: BoundedExecutor, folder: Path) -> None:
    for future in (
        ex.submit(tasks.give, tasks.NoPickle()),
        ex.submit(tasks.give, tasks.NoUnpickle()),
        ex.submit(tasks.make, "NoPickle"),
        ex.submit(tasks.make, "NoUnpickle"),
    ):
        assert isinstance(future.exception(PATIENCE), Exception)
    offset = 4
    # By value.
    assert ex.submit(lambda value: value + offset, 3).result(PATIENCE) == 7


def cancel(ex: BoundedExecutor, folder: Path) -> None:
    log = str(folder / "ran")
    with Gate(folder) as gate:
        running = [ex.submit(gate.hold, number) for number in range(2)]
        gate.wait_started(2)
        waiting = [ex.submit(tasks.mark, log) for _ in range(QUEUE_SIZE - 2)]
        assert not running[0].cancel()
        assert all(future.cancel() for future in waiting)
        # Their slots are free at once.
        more = [ex.submit_nowait(tasks.mark, log, number) for number in range(QUEUE_SIZE - 2)]
        gate.open()
        assert [future.result(PATIENCE) for future in running] == [0, 1]
        assert [future.result(PATIENCE) for future in more] == list(range(QUEUE_SIZE - 2))
        assert wait(waiting, 0).not_done == set()
    assert tasks.marks(log) == QUEUE_SIZE - 2


def completed(ex: BoundedExecutor, folder: Path) -> None:
    called: Counter[int] = Counter()

    def count(future: Future[Any]) -> None:
        called[future.result()] += 1

    futures = []
    for number in range(100):
        futures.append(ex.submit(tasks.give, number))
        futures[-1].add_done_callback(count)
    assert Counter(one.result() for one in as_completed(futures, PATIENCE)) == Counter(range(100))
    wait_until(lambda: ex.stats().undelivered == 0)
    assert called == Counter(range(100))


def main() -> None:
    scene = globals()[sys.argv[1]]
    with (
        tempfile.TemporaryDirectory() as folder,
        MPIPoolExecutor() as pool,
        BoundedExecutor(pool, queue_size=QUEUE_SIZE) as ex,
    ):
        scene(ex, Path(folder))
        assert ex._max_workers == pool.num_workers == 2
        assert ex.stats().above_bound == 0
        assert_all_free(ex)
    print("done", scene.__name__)


if __name__ == "__main__":
    main()
