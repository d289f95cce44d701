"""An executor's counters for Prometheus; needs the extra ``metrics``, that is ``prometheus-client``."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from ._process_pool import BoundedProcessPoolExecutor
    from .stats import ExecutorStats

__all__ = ["ExecutorCollector"]

_PREFIX = "bounded_executor"


class ExecutorCollector(Collector):
    """Reads an executor's ``stats()`` whenever Prometheus asks.

    Register it with a registry of ``prometheus_client``. It does not keep the executor alive: of one that
    is gone it says nothing. With several executors give each collector a registry of its own, since a
    registry takes each name of a metric once. Metrics may be collected by any thread.

    Args:
        executor: the executor to read.
        name: str, the value of the label ``executor`` of every metric. Default ``"default"``.
    """

    def __init__(self, executor: BoundedProcessPoolExecutor, name: str = "default") -> None:
        self._executor = weakref.ref(executor)
        self._name = name

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as they are now; none where the executor is gone."""
        executor = self._executor()
        if executor is None:
            return
        stats = executor.stats()
        # Not while others look at what was found.
        del executor
        yield from self._levels(stats)
        yield from self._counters(stats)
        yield self._times(stats)

    def _levels(self, stats: ExecutorStats) -> Iterator[Metric]:
        levels: list[tuple[str, str, float]] = [
            ("queue_size", "Bound on unfinished tasks.", stats.queue_size),
            ("unfinished_tasks", "Tasks that hold a slot.", stats.unfinished),
            ("waiting_tasks", "Tasks that no worker has been given yet.", stats.waiting),
            ("running_tasks", "Tasks that a worker was given and that have not ended.", stats.running),
            ("undelivered_outcomes", "Outcomes whose callbacks have not completed.", stats.undelivered),
            ("held_bytes", "Bytes of pickled calls and unfetched results.", stats.held_bytes),
            ("children", "Task processes alive.", stats.children),
            (
                "children_memory_bytes",
                "Resident memory of all task processes.",
                sum(stats.children_memory_bytes.values()),
            ),
        ]
        for name, text, value in levels:
            gauge = GaugeMetricFamily(f"{_PREFIX}_{name}", text, labels=["executor"])
            gauge.add_metric([self._name], value)
            yield gauge

    def _counters(self, stats: ExecutorStats) -> Iterator[Metric]:
        counts: list[tuple[str, str, float]] = [
            ("tasks_submitted", "Tasks accepted.", stats.submitted),
            ("tasks_retried", "Times that a task was run again.", stats.retried),
            ("tasks_above_bound", "Tasks admitted above the bound.", stats.above_bound),
            ("submit_wait_seconds", "Time that callers waited for a slot.", stats.submit_wait_seconds),
            ("children_started", "Task processes started.", stats.children_started),
            ("supervisors_lost", "Supervisors that ended without being asked to.", stats.supervisors_lost),
        ]
        for name, text, value in counts:
            counter = CounterMetricFamily(f"{_PREFIX}_{name}", text, labels=["executor"])
            counter.add_metric([self._name], value)
            yield counter
        outcomes = CounterMetricFamily(
            f"{_PREFIX}_tasks_finished", "Tasks that ended, by outcome.", labels=["executor", "outcome"]
        )
        for outcome in ("succeeded", "failed", "cancelled"):
            outcomes.add_metric([self._name, outcome], getattr(stats, outcome))
        yield outcomes
        ended = CounterMetricFamily(
            f"{_PREFIX}_children_ended",
            "Task processes that ended before the executor, by reason.",
            labels=["executor", "reason"],
        )
        for reason, count in stats.children_by_reason.items():
            ended.add_metric([self._name, reason], count)
        yield ended

    def _times(self, stats: ExecutorStats) -> Metric:
        times = stats.task_seconds
        buckets: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*times.bounds, None), times.counts, strict=True):
            below += count
            buckets.append(("+Inf" if bound is None else repr(bound), below))
        histogram = HistogramMetricFamily(
            f"{_PREFIX}_task_seconds", "Time that tasks ran in their processes.", labels=["executor"]
        )
        histogram.add_metric([self._name], buckets, times.total_seconds)
        return histogram
