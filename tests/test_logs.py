"""What goes to the log: records about the executor itself, and those of tasks."""

from __future__ import annotations

import logging
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
