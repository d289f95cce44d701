"""What goes to the log: records about the executor itself, and those of tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import NoReturn

import pytest
import tasks
from helpers import PATIENCE, Gate, run_script, wait_until

from bounded_executor import BoundedProcessPoolExecutor, BrokenProcessPool, TaskTimeout, TerminatedWorkerError


def told(caplog: pytest.LogCaptureFixture, part: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if part in record.getMessage()]


def test_a_crash_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bounded_executor"), BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.kill_self).exception(PATIENCE)
    records = told(caplog, "was killed by SIGKILL")
    assert [record.levelno for record in records] == [logging.WARNING]
    assert "tasks.kill_self was not finished" in records[0].getMessage()


def test_a_retry_is_one_warning_for_each_crash(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "bounded_executor"),
        BoundedProcessPoolExecutor(1, task_retries=1) as ex,
    ):
        assert ex.submit(tasks.kill_self).exception(PATIENCE)
    records = told(caplog, "was killed by SIGKILL")
    assert ["is run once more" in record.getMessage() for record in records] == [True, False]


def test_a_timeout_is_one_warning_of_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO, "bounded_executor"),
        BoundedProcessPoolExecutor(1, task_timeout=1) as ex,
    ):
        assert ex.submit(time.sleep, 100).exception(PATIENCE)
    records = told(caplog, "ran longer than task_timeout=1 seconds")
    assert [record.levelno for record in records] == [logging.WARNING]
    assert "\n" not in records[0].getMessage()


def test_the_end_is_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "bounded_executor"), BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.double, 1).result(PATIENCE)
        ex.submit(int, "no number").exception(PATIENCE)
    (record,) = told(caplog, "executor ended")
    assert record.levelno == logging.DEBUG
    assert "1 tasks succeeded, 1 failed, 0 were cancelled" in record.getMessage()
    assert "1 processes started, 0 replaced, 0 crashed, 0 timed out" in record.getMessage()


def test_the_end_of_a_run_with_a_crash_is_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "bounded_executor"), BoundedProcessPoolExecutor(1) as ex:
        assert ex.submit(tasks.kill_self).exception(PATIENCE)
    (record,) = told(caplog, "executor ended")
    assert "1 crashed" in record.getMessage()


def test_an_executor_that_ran_nothing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "bounded_executor"), BoundedProcessPoolExecutor(1):
        pass
    assert caplog.records == []


def test_a_slow_producer_is_told_once() -> None:
    code = """
        import logging, sys, time
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        from bounded_executor import BoundedProcessPoolExecutor
        from bounded_executor._core import usage as _summary
        _summary.WINDOW_SECONDS = 0.2
        with BoundedProcessPoolExecutor(4) as ex:
            for _ in range(20):
                ex.submit(abs, -1).result()
                time.sleep(0.05)
    """
    out = run_script(code)
    assert out.count("slow producer") == 1
    assert "the 4 workers were busy for" in out


def test_a_fast_producer_is_not_called_slow() -> None:
    code = """
        import logging, sys, time
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        from bounded_executor import BoundedProcessPoolExecutor
        from bounded_executor._core import usage as _summary
        _summary.WINDOW_SECONDS = 0.2
        with BoundedProcessPoolExecutor(1) as ex:
            list(ex.map(time.sleep, [0.05] * 20, chunksize=1))
    """
    assert "slow producer" not in run_script(code)


# Handlers are code of the user's


class Handler(logging.Handler):
    """Does something when it is given a record of the package's."""

    def __init__(self, act: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self.act = act

    def __enter__(self) -> Handler:
        logging.getLogger("bounded_executor").addHandler(self)
        return self

    def __exit__(self, *exc: object) -> None:
        logging.getLogger("bounded_executor").removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.act(record)


class Raising(Handler):
    """Raises each time."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__(self.fail)
        self.error = error
        self.seen: list[str] = []

    def fail(self, record: logging.LogRecord) -> NoReturn:
        self.seen.append(record.getMessage())
        raise self.error("of the handler")

    def saw(self, part: str) -> bool:
        return any(part in text for text in self.seen)


@pytest.fixture
def everything() -> Iterator[None]:
    logger = logging.getLogger("bounded_executor")
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(level)


ERRORS = [ValueError, SystemExit]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.usefixtures("everything")
def test_a_handler_that_raises_does_not_break_the_executor(
    error: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    with Raising(error) as handler:
        with BoundedProcessPoolExecutor(1, max_tasks_per_child=2, task_timeout=1, task_retries=1) as ex:
            assert isinstance(ex.submit(tasks.kill_self).exception(PATIENCE), TerminatedWorkerError)
            assert isinstance(ex.submit(time.sleep, 100).exception(PATIENCE), TaskTimeout)
            assert list(ex.map(tasks.double, range(6))) == list(range(0, 12, 2))
        for part in ("was killed by SIGKILL", "ran longer than", "and is replaced", "executor ended"):
            assert handler.saw(part), part
    reported = capsys.readouterr().err
    assert "of the handler" in reported
    assert "Message: 'executor ended" in reported


@pytest.mark.parametrize("error", ERRORS)
def test_a_handler_that_raises_does_not_hide_why_an_executor_is_broken(error: type[BaseException]) -> None:
    with Raising(error) as handler, BoundedProcessPoolExecutor(1, initializer=tasks.kill_self) as ex:
        assert "no worker process comes" in str(ex.submit(tasks.give).exception(PATIENCE))
        assert handler.saw("no worker process comes")


@pytest.mark.parametrize("error", ERRORS)
def test_a_handler_that_raises_where_callbacks_run_keeps_no_outcome_back(error: type[BaseException]) -> None:
    def call_back(future: object) -> NoReturn:
        raise SystemExit

    with Raising(error) as handler, BoundedProcessPoolExecutor(1) as ex:
        for future in [ex.submit(tasks.give, number) for number in range(2)]:
            future.add_done_callback(call_back)
        assert ex.submit(tasks.give, 2).result(PATIENCE) == 2
        wait_until(lambda: ex.stats().undelivered == 0)
    assert handler.saw("a done-callback raised")


def test_a_handler_that_raises_does_not_end_the_cancelling(tmp_path: Path) -> None:
    def call_back(future: object) -> NoReturn:
        raise SystemExit

    with Raising(ValueError) as handler, BoundedProcessPoolExecutor(1) as ex, Gate(tmp_path) as gate:
        ex.submit(gate.hold)
        gate.wait_started(1)
        futures = [ex.submit(tasks.give) for _ in range(3)]
        for future in futures:
            future.add_done_callback(call_back)
        ex.shutdown(wait=False, cancel_futures=True)
        assert all(future.cancelled() for future in futures)
        assert handler.saw("a done-callback raised")


def test_a_handler_that_raises_does_not_lose_a_task_that_was_submitted(tmp_path: Path) -> None:
    with Raising(ValueError) as handler, BoundedProcessPoolExecutor(1, queue_size=1) as ex:

        async def submit() -> None:
            with Gate(tmp_path) as gate:
                ex.submit(gate.hold)
                future = ex.submit(tasks.give, 1)
            assert future.result(PATIENCE) == 1

        asyncio.run(submit())
        assert handler.saw("admitted above the bound")


def test_a_handler_that_blocks_keeps_no_slot_and_no_worker() -> None:
    go_on = threading.Event()

    def wait(record: logging.LogRecord) -> None:
        assert go_on.wait(PATIENCE)

    with Handler(wait), BoundedProcessPoolExecutor(1, queue_size=10) as ex:
        try:
            crashed = ex.submit(tasks.kill_self)
            after = [ex.submit(tasks.double, number) for number in range(3)]
            wait_until(lambda: ex.stats().succeeded == 3, "they have been run")
            assert ex.stats().unfinished == 0
            # What is said of a task comes before its end.
            assert not crashed.done()
        finally:
            go_on.set()
        assert [future.result(PATIENCE) for future in after] == [0, 2, 4]


def test_a_handler_may_submit_to_the_executor_that_is_full(tmp_path: Path) -> None:
    submitted: list[Future[int]] = []

    def submit(record: logging.LogRecord) -> None:
        if "was killed" in record.getMessage():
            submitted.append(ex.submit(tasks.double, 1))

    with BoundedProcessPoolExecutor(1, queue_size=2) as ex, Gate(tmp_path) as gate, Handler(submit):
        ex.submit(tasks.kill_self)
        ex.submit(gate.hold)
        filled = ex.submit(gate.hold)
        wait_until(lambda: submitted)
        gate.open()
        assert filled.result(PATIENCE) is None
        assert submitted[0].result(PATIENCE) == 2


def test_a_record_says_where_and_when_it_was_made(tmp_path: Path) -> None:
    records: list[logging.LogRecord] = []
    go_on = threading.Event()
    with Handler(records.append), BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.give).add_done_callback(lambda future: go_on.wait(PATIENCE))
        crashed = ex.submit(tasks.kill_self)
        wait_until(lambda: ex.stats().children_crashed == 1 and ex.stats().unfinished == 0)
        made_before = time.time()
        go_on.set()
        assert crashed.exception(PATIENCE)
    (record,) = [record for record in records if "was killed" in record.getMessage()]
    assert record.created <= made_before
    assert int(record.msecs) == int(record.created % 1 * 1000)
    assert record.filename == "crashes.py"


@pytest.mark.parametrize("error", ERRORS)
def test_a_factory_of_records_that_raises_does_not_break_the_executor(error: type[BaseException]) -> None:
    def make(*args: object, **more: object) -> NoReturn:
        raise error("of the factory")

    before = logging.getLogRecordFactory()
    with BoundedProcessPoolExecutor(1) as ex:
        logging.setLogRecordFactory(make)
        try:
            assert isinstance(ex.submit(tasks.kill_self).exception(PATIENCE), TerminatedWorkerError)
            assert ex.submit(tasks.double, 1).result(PATIENCE) == 2
        finally:
            logging.setLogRecordFactory(before)


def raise_in_handler(error: type[BaseException]) -> NoReturn:
    def fail(record: logging.LogRecord) -> NoReturn:
        raise error("of the handler")

    handler = logging.Handler()
    handler.emit = fail  # type: ignore[method-assign]
    logging.getLogger("concurrent.futures").addHandler(handler)
    raise LookupError("of the initializer")


@pytest.mark.parametrize("error", ERRORS)
def test_a_handler_that_raises_in_a_worker_does_not_hide_the_error_of_the_initializer(
    error: type[BaseException],
) -> None:
    with BoundedProcessPoolExecutor(1, initializer=raise_in_handler, initargs=(error,)) as ex:
        failure = ex.submit(tasks.give).exception(PATIENCE)
    assert isinstance(failure, BrokenProcessPool)
    assert "of the initializer" in str(failure.__cause__)


@pytest.mark.parametrize("error", ERRORS)
def test_a_handler_that_raises_at_the_record_of_a_task_keeps_no_outcome_back(
    error: type[BaseException],
) -> None:
    with Raising(error) as handler, BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        FORWARDED.addHandler(handler)
        try:
            assert ex.submit(log_from_task, "hello").result(PATIENCE)
        finally:
            FORWARDED.removeHandler(handler)
    assert handler.saw("said hello")
    assert handler.saw("could not be handled")


# Records of tasks

FORWARDED = logging.getLogger("tests.forwarded")


def log_from_task(text: str) -> int:
    FORWARDED.warning("said %s", text, extra={"lock": threading.Lock(), "number": 7})
    return os.getpid()


def log_an_error() -> None:
    try:
        raise LookupError("of the task")
    except LookupError:
        FORWARDED.exception("it failed")


def log_from_threads(count: int) -> int:
    def talk(name: int) -> None:
        for number in range(count):
            FORWARDED.warning("thread %d says %d %s", name, number, "x" * 3000)

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count


def log_in_handler(seconds: float) -> int:
    made = 0

    def handler(number: int, frame: object) -> None:
        nonlocal made
        made += 1
        FORWARDED.warning("from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            FORWARDED.warning("from the task %s", "y" * 50000)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return made


def log_debug() -> None:
    FORWARDED.debug("a debug record")


def test_a_record_of_a_task_arrives_before_its_outcome(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[int] = []
    with BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        future = ex.submit(log_from_task, "hello")
        future.add_done_callback(lambda one: seen.append(len(told(caplog, "said hello"))))
        pid = future.result(PATIENCE)
    (record,) = told(caplog, "said hello")
    assert seen == [1]
    assert (record.process, record.name, record.args) == (pid, "tests.forwarded", None)
    assert vars(record)["number"] == 7
    assert "lock" in vars(record)["lock"]


def test_an_exception_is_forwarded_as_text(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        ex.submit(log_an_error).result(PATIENCE)
    (record,) = told(caplog, "it failed")
    assert record.exc_text is not None
    assert "LookupError: of the task" in record.exc_text


def test_records_of_threads_do_not_mix_with_each_other_or_results(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(2, forward_logs=True) as ex:
        assert list(ex.map(log_from_threads, [50] * 4)) == [50] * 4
    assert len(told(caplog, "says")) == 4 * 4 * 50


def test_a_record_made_in_a_signal_handler_cannot_block(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        made = ex.submit(log_in_handler, 0.3).result(PATIENCE)
    assert len(told(caplog, "from the handler")) == made > 0


def test_levels_are_taken_over(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG, "tests.forwarded"),
        BoundedProcessPoolExecutor(1, forward_logs=True) as ex,
    ):
        ex.submit(log_debug).result(PATIENCE)
    with BoundedProcessPoolExecutor(1, forward_logs=True) as ex:
        ex.submit(log_debug).result(PATIENCE)
    assert len(told(caplog, "a debug record")) == 1


def test_without_it_nothing_is_forwarded(caplog: pytest.LogCaptureFixture) -> None:
    with BoundedProcessPoolExecutor(1) as ex:
        ex.submit(log_from_task, "hello").result(PATIENCE)
    assert told(caplog, "said hello") == []


def test_what_is_no_bool_is_refused() -> None:
    with pytest.raises(TypeError, match="forward_logs must be True or False, got 1"):
        BoundedProcessPoolExecutor(1, forward_logs=1)  # type: ignore[arg-type]
