"""The registry of pictures: which results are drawn, and how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drawing import COLOURS, GRID, Line, Picture, bars, by_point, drawn, lines, logarithmic, middle
from measure import CaseResult, Row
from summary import Summary

Draw = Callable[[Any, CaseResult], None]


def _rates(title: str, below: str) -> Draw:
    """Lines of tasks per second over the points of a case."""

    def draw(axes: Any, result: CaseResult) -> None:
        names = dict.fromkeys(row.contender for row in result.rows)
        points = list(dict.fromkeys(row.point for row in result.rows))
        series = [
            Line(name, "rate", [row for row in result.rows if row.contender == name], name) for name in names
        ]
        missing = lines(axes, series, points)
        logarithmic(axes)
        axes.set_ylabel("tasks per second")
        axes.set_xlabel("\n".join([below, *missing]))
        axes.set_title(title, fontsize=10, loc="left")

    return draw


def _bars(key: str, below: str, unit: str = "", digits: int = 0, heading: str = "{}") -> Draw:
    """Bars of a figure, grouped by the points of the case."""

    def draw(axes: Any, result: CaseResult) -> None:
        bars(axes, by_point(result, key, heading), below, _written(unit, digits))

    return draw


def _written(unit: str, digits: int) -> Callable[[Row, Summary], str]:
    return lambda _, summary: f"{summary.median:,.{digits}f}{unit}"


def _payloads(axes: Any, result: CaseResult) -> None:
    def label(row: Row, summary: Summary) -> str:
        return f"{summary.median:,.{0 if summary.median >= 100 else 1}f}"

    below = "percent of the best rate; the numbers are tasks per second"
    bars(axes, by_point(result, "rate"), below, label, of_longest=True)


def _latency(axes: Any, result: CaseResult) -> None:
    groups = [
        ("median", drawn(result.rows, "median")),
        ("99th percentile", drawn(result.rows, "late")),
    ]
    bars(axes, groups, "microseconds from a call to its result, two idle workers", _written("", 0))


def _queue_size(axes: Any, result: CaseResult) -> None:
    points = [row.point for row in result.rows]
    series = [
        Line("submit", "submit", result.rows, "ours"),
        Line("map", "map", result.rows, "ours-preload"),
    ]
    missing = lines(axes, series, points)
    logarithmic(axes)
    axes.set_ylabel("microseconds per task")
    axes.set_xlabel("\n".join(["queue_size", *missing]))


def _lasting(axes: Any, result: CaseResult) -> None:
    for row in result.rows:
        outcome = middle(row, "ratio")
        if outcome is not None:
            items, rates = zip(*outcome["samples"], strict=True)
            axes.plot(items, rates, color=COLOURS[row.contender], linewidth=2)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(color=GRID)
    axes.set_xlabel("results fetched so far")
    axes.set_ylabel("tasks per second")


def _growth(axes: Any, result: CaseResult) -> None:
    for row in result.rows:
        outcome = middle(row, "peak")
        if outcome is None:
            continue
        times, sizes = zip(*outcome["samples"], strict=True)
        colour = COLOURS[row.contender]
        axes.plot(times, sizes, color=colour, linewidth=2, label=row.contender)
        axes.axvline(outcome["submitted"], color=colour, linewidth=0.8, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(color=GRID)
    axes.set_xlabel("seconds; dotted: all tasks have been submitted")
    axes.set_ylabel("resident memory of the parent, MB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


WIDTH = 7.5
PER_SECOND = "tasks that do nothing per second, two workers"

PICTURES = (
    Picture(
        "submit-rate",
        "submit",
        "Tasks per second of each pool, given one at a time",
        _bars("rate", PER_SECOND),
        (WIDTH, 3.8),
    ),
    Picture(
        "map-rate",
        "map",
        "Tasks per second of each pool by map with default settings",
        _bars("rate", PER_SECOND),
        (WIDTH, 2.4),
    ),
    Picture(
        "map-chunks-rate",
        "map-chunks",
        "Tasks per second of each pool by map in chunks of 100",
        _bars("rate", PER_SECOND),
        (WIDTH, 2.6),
    ),
    Picture(
        "task-lengths",
        "task-lengths",
        "Share of the ideal rate for tasks of 1 ms and 10 ms on 2 and 20 workers",
        _bars("share", "percent of the ideal rate", " %", 1, heading="tasks of {}"),
        (WIDTH, 4.6),
    ),
    Picture(
        "payloads",
        "payloads",
        "Tasks per second of each pool with large inputs and results",
        _payloads,
        (WIDTH, 6.0),
    ),
    Picture(
        "scaling-submit",
        "scaling-submit",
        "Tasks per second over the number of workers, given one at a time",
        _rates("tasks that do nothing, one at a time: median, min and max of the rounds", "workers"),
        (WIDTH, 3.6),
    ),
    Picture(
        "scaling-map",
        "scaling-map",
        "Tasks per second over the number of workers, by map",
        _rates("tasks that do nothing, by map: median, min and max of the rounds", "workers"),
        (WIDTH, 3.6),
    ),
    Picture(
        "queue-size",
        "queue-size",
        "Time per task over the bound, by submit and by map",
        _queue_size,
        (WIDTH, 3.4),
    ),
    Picture(
        "lasting",
        "lasting",
        "Tasks per second over the number of results fetched so far",
        _lasting,
        (WIDTH, 3.0),
    ),
    Picture(
        "latency",
        "latency",
        "Time from a call to its result: median and 99th percentile of each pool",
        _latency,
        (WIDTH, 4.0),
    ),
    Picture(
        "parent-cpu",
        "parent-cpu",
        "Processor time of the parent per task, given one at a time and by map",
        _bars("cpu", "microseconds of the parent's processor time per task", digits=1),
        (WIDTH, 3.2),
    ),
    Picture(
        "recycling-rate",
        "recycling",
        "Tasks per second of each pool, by the number of tasks after which a worker is replaced",
        _rates(
            "20 workers, tasks of 10 ms: median, min and max of the rounds",
            "each worker process replaced after so many tasks",
        ),
        (WIDTH, 4.6),
    ),
    Picture(
        "memory-idle",
        "memory-idle",
        "Memory of each pool with 20 idle workers",
        _bars(
            "pss",
            "proportional set size of all processes, 20 idle workers, MB",
            " MB",
            heading="tasks from {}",
        ),
        (WIDTH, 4.8),
    ),
    Picture(
        "memory-over-time",
        "memory-over-time",
        "The parent's memory over time while 60,000 tasks are submitted",
        _growth,
        (WIDTH, 3.6),
    ),
)
