"""Programs that take an executor run on this one unchanged."""

from __future__ import annotations

import concurrent.futures
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool


@pytest.fixture
def swapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for the standard library's class gets ours."""
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", BoundedProcessPoolExecutor)


def test_dask() -> None:
    dask = pytest.importorskip("dask")
    with BoundedProcessPoolExecutor(2, queue_size=3) as ex:
        parts = [dask.delayed(tasks.double)(number) for number in range(30)]
        total = dask.delayed(sum)(parts)
        assert total.compute(scheduler=ex) == sum(range(0, 60, 2))
        assert dask.compute(*parts, scheduler=ex) == tuple(range(0, 60, 2))


def test_dask_passes_errors_on() -> None:
    dask = pytest.importorskip("dask")
    with BoundedProcessPoolExecutor(2) as ex, pytest.raises(ValueError, match="in a graph"):
        dask.delayed(tasks.fail)("in a graph").compute(scheduler=ex)


@pytest.mark.parametrize("options", [{}, {"max_tasks_per_child": 3}, {"chunksize": 4}])
@pytest.mark.usefixtures("swapped")
def test_tqdm(options: dict[str, Any]) -> None:
    process_map = pytest.importorskip("tqdm.contrib.concurrent").process_map
    bar = io.StringIO()
    results = process_map(tasks.double, range(20), max_workers=2, file=bar, **options)
    assert results == list(range(0, 40, 2))


@pytest.mark.usefixtures("swapped")
def test_the_bar_of_tqdm_advances() -> None:
    process_map = pytest.importorskip("tqdm.contrib.concurrent").process_map
    bar = io.StringIO()
    process_map(tasks.double, range(20), max_workers=2, file=bar, chunksize=1)
    assert "20/20" in bar.getvalue()


def test_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    options = {"maxiter": 3, "popsize": 4, "updating": "deferred", "polish": False}
    bounds = [(0, 2)] * 2
    alone = optimize.differential_evolution(optimize.rosen, bounds, rng=1, workers=map, **options)
    with BoundedProcessPoolExecutor(2, queue_size=3) as ex:
        found = optimize.differential_evolution(optimize.rosen, bounds, rng=1, workers=ex.map, **options)
    assert found.fun == alone.fun
    assert found.nfev == alone.nfev


class Scheduled:
    """An APScheduler with the process pool of its own, and a list of what became of its jobs."""

    def __init__(self, **pool_options: Any) -> None:
        pool = pytest.importorskip("apscheduler.executors.pool")
        background = pytest.importorskip("apscheduler.schedulers.background")
        events = pytest.importorskip("apscheduler.events")
        self.executor = pool.ProcessPoolExecutor(2, pool_options)
        self.scheduler = background.BackgroundScheduler(executors={"default": self.executor}, timezone="UTC")
        self.happened = threading.Semaphore(0)
        self.events: list[Any] = []
        self.scheduler.add_listener(self._note, events.EVENT_JOB_EXECUTED | events.EVENT_JOB_ERROR)

    def _note(self, event: Any) -> None:
        self.events.append(event)
        self.happened.release()

    def run(self, *call: Any) -> Any:
        """Run a job now and return its event."""
        self.scheduler.add_job(call[0], args=call[1:], misfire_grace_time=None)
        assert self.happened.acquire(timeout=PATIENCE)
        return self.events[-1]


@pytest.fixture
def scheduled(swapped: None, request: pytest.FixtureRequest) -> Iterator[Scheduled]:
    one = Scheduled(**getattr(request, "param", {}))
    one.scheduler.start()
    yield one
    one.scheduler.shutdown()


def test_apscheduler(scheduled: Scheduled, tmp_path: Path) -> None:
    assert isinstance(scheduled.executor._pool, BoundedProcessPoolExecutor)
    log = str(tmp_path / "log")
    for number in range(10):
        assert scheduled.run(tasks.mark, log, number).retval == number
    assert tasks.marks(log) == 10
    assert isinstance(scheduled.run(tasks.fail, "job").exception, ValueError)


def broken_jobs(caplog: pytest.LogCaptureFixture) -> int:
    """How many jobs APScheduler has logged as failed with their process; it sends no event then."""
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    return sum(isinstance(error, BrokenProcessPool) for error in errors)


def test_apscheduler_goes_on_after_a_dead_process(
    scheduled: Scheduled, caplog: pytest.LogCaptureFixture
) -> None:
    scheduled.scheduler.add_job(tasks.kill_self, misfire_grace_time=None)
    wait_until(lambda: broken_jobs(caplog) == 1)
    assert scheduled.run(tasks.give, "on").retval == "on"


@pytest.mark.usefixtures("swapped")
def test_apscheduler_rebuilds_a_broken_pool(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    allowed = tmp_path / "allowed"
    one = Scheduled(initializer=tasks.fail_initializer_unless, initargs=(str(allowed),))
    broken = one.executor._pool
    one.scheduler.start()
    try:
        one.scheduler.add_job(tasks.give, misfire_grace_time=None)
        wait_until(lambda: broken_jobs(caplog) == 1)
        allowed.touch()
        assert one.run(tasks.give, "again").retval == "again"
        assert one.executor._pool is not broken
        assert type(one.executor._pool) is BoundedProcessPoolExecutor
        assert one.executor._pool._max_workers == 2
    finally:
        one.scheduler.shutdown()
        broken.shutdown()
