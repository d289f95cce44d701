"""The collector for Prometheus says what ``stats()`` says, and keeps no executor alive."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest
import tasks
from helpers import PATIENCE, script_environment

prometheus_client = pytest.importorskip("prometheus_client")

from bounded_executor import BoundedProcessPoolExecutor  # noqa: E402
from bounded_executor.metrics import ExecutorCollector  # noqa: E402


def test_metrics_are_what_stats_says() -> None:
    registry = prometheus_client.CollectorRegistry()
    with BoundedProcessPoolExecutor(1, queue_size=7) as ex:
        registry.register(ExecutorCollector(ex, name="mine"))
        ex.submit(tasks.double, 1).result(PATIENCE)
        ex.submit(int, "no number").exception(PATIENCE)
        ex.submit(tasks.kill_self).exception(PATIENCE)

        def value(name: str, **labels: str) -> float | None:
            found: float | None = registry.get_sample_value(
                f"bounded_executor_{name}", {"executor": "mine", **labels}
            )
            return found

        assert value("queue_size") == 7
        assert value("tasks_submitted_total") == 3
        assert value("tasks_finished_total", outcome="succeeded") == 1
        assert value("tasks_finished_total", outcome="failed") == 2
        assert value("tasks_finished_total", outcome="cancelled") == 0
        assert value("children_ended_total", reason="crash") == 1
        assert value("task_seconds_count") == 2
        assert value("task_seconds_bucket", le="+Inf") == 2
        assert value("task_seconds_sum") == ex.stats().task_seconds.total_seconds
        assert value("waiting_tasks") == 0
    text = prometheus_client.generate_latest(registry).decode()
    assert 'bounded_executor_tasks_finished_total{executor="mine",outcome="succeeded"} 1.0' in text


def test_the_collector_does_not_keep_the_executor() -> None:
    executor = BoundedProcessPoolExecutor(1)
    collector = ExecutorCollector(executor)
    assert list(collector.collect())
    executor.shutdown()
    del executor
    gc.collect()
    assert list(collector.collect()) == []


def test_nothing_else_imports_prometheus() -> None:
    code = (
        "import sys; from bounded_executor import BoundedProcessPoolExecutor; "
        "assert 'prometheus_client' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], env=script_environment(), check=True, timeout=60)
