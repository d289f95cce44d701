"""What goes to the log: records about the executor itself, and those of tasks."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time

import pytest
import tasks
from helpers import PATIENCE, run_script

from bounded_executor import BoundedProcessPoolExecutor


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
    with caplog.at_level(logging.INFO, "bounded_executor"), BoundedProcessPoolExecutor(1) as ex:
        ex.submit(tasks.double, 1).result(PATIENCE)
        ex.submit(int, "no number").exception(PATIENCE)
    (record,) = told(caplog, "executor ended")
    assert record.levelno == logging.INFO
    assert "1 tasks succeeded, 1 failed, 0 were cancelled" in record.getMessage()
    assert "1 processes started, 0 replaced, 0 crashed, 0 timed out" in record.getMessage()


def test_an_executor_that_ran_nothing_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "bounded_executor"), BoundedProcessPoolExecutor(1):
        pass
    assert caplog.records == []


def test_a_slow_producer_is_told_once() -> None:
    code = """
        import logging, sys, time
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        from bounded_executor import BoundedProcessPoolExecutor, _summary
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
        from bounded_executor import BoundedProcessPoolExecutor, _summary
        _summary.WINDOW_SECONDS = 0.2
        with BoundedProcessPoolExecutor(1) as ex:
            list(ex.map(time.sleep, [0.05] * 20, chunksize=1))
    """
    assert "slow producer" not in run_script(code)


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
