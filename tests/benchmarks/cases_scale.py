"""Cases about one producer and very many workers; ``scale.py`` measures them and writes their page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from case import Case, Entry, Figure
from drawing import Line, Picture, lines
from measure import CaseResult
from summary import HIGHER, LOWER

WORKERS = 1_000
CALLS = ("submit", "asubmit", "map", "map, unordered", "map, chunksize=10", "map, chunksize=100")
SIZES = (0, 1_000, 10_000, 100_000, 1_000_000)
LENGTHS = (0.1, 1.0)
DEMANDS = (250, 500, 1_000, 2_000, 4_000)
WINDOWS = (None, 200, 220, 240, 260, 300)
QUEUES = (200, 250, 300, 400, 600, 1_200)


def _calls(quick: bool) -> Iterator[Entry]:
    for call in CALLS:
        params = {"workers": 10 if quick else WORKERS, "tasks": 200 if quick else 20_000, "bytes": 0}
        yield Entry(call, "ours", "messages", {**params, "call": call})


def _sizes(quick: bool) -> Iterator[Entry]:
    for size in SIZES:
        tasks = 20 if quick else min(10_000, 400_000_000 // max(size, 1))
        params = {"workers": 10 if quick else 100, "tasks": tasks, "bytes": size}
        yield Entry(f"{size:,}", "ours", "messages", {**params, "call": "submit"})


def _busy(quick: bool) -> Iterator[Entry]:
    for seconds in LENGTHS:
        for demand in DEMANDS:
            workers = round(demand * seconds)
            params = {"workers": max(2, workers // 50) if quick else workers, "seconds": seconds}
            params |= {"latency": 0.0, "window": None, "lasting": 1.0 if quick else 8.0}
            yield Entry(f"{demand:,}", "ours", "busy", params)


def _windows(quick: bool) -> Iterator[Entry]:
    for window in WINDOWS:
        params = {"workers": 200, "seconds": 0.5, "latency": 0.1, "window": window}
        yield Entry(str(window), "ours", "busy", {**params, "lasting": 1.0 if quick else 8.0})


def _queues(quick: bool) -> Iterator[Entry]:
    for size in QUEUES:
        params = {"workers": 200, "seconds": 0.5, "latency": 0.0, "window": None, "pause": 0.5}
        yield Entry(
            f"{size:,}", "ours", "busy", {**params, "queue_size": size, "lasting": 1.0 if quick else 8.0}
        )


SHARE = Figure("share", "busy, percent", HIGHER, 1)
CORE = Figure("core", "the producer's process, percent of a core", LOWER, 1)

SCALE: dict[str, Case] = {
    one.name: one
    for one in (
        Case(
            "calls",
            "What a task costs",
            "",
            "given by",
            (
                Figure("rate", "tasks per second here", HIGHER),
                Figure("cpu", "microseconds per task", LOWER, 1),
                Figure("caller", "the caller", LOWER, 1),
                Figure("queue", "the queue's thread", LOWER, 1),
                Figure("callbacks", "the callbacks' thread", LOWER, 1),
                Figure("core", "tasks per second of a whole core", HIGHER),
                Figure("sent", "bytes sent per task", LOWER),
            ),
            _calls,
            limit=120.0,
        ),
        Case(
            "sizes",
            "What bytes cost",
            "",
            "bytes each way",
            (
                Figure("rate", "tasks per second here", HIGHER),
                Figure("cpu", "microseconds per task", LOWER, 1),
                Figure("megabytes", "megabytes each way per second of a whole core", HIGHER),
            ),
            _sizes,
            limit=120.0,
        ),
        Case("busy", "Workers kept busy", "", "tasks per second wanted", (SHARE, CORE), _busy),
        Case(
            "window",
            "How many tasks to hold",
            "",
            "window",
            (SHARE, Figure("model", "by the formula, percent", HIGHER, 1)),
            _windows,
        ),
        Case("queue", "How many slots", "", "queue_size", (SHARE,), _queues),
    )
}


def _draw_busy(axes: Any, result: CaseResult) -> None:
    styles = ("ours", "ours-preload")
    series = [
        Line(f"tasks of {seconds:g} s", "share", _of_length(result, seconds), style)
        for seconds, style in zip(LENGTHS, styles, strict=True)
    ]
    _percent(axes, series, [f"{demand:,}" for demand in DEMANDS], "tasks per second that the workers can do")


def _of_length(result: CaseResult, seconds: float) -> list[Any]:
    return [row for row in result.rows if row.params["seconds"] == seconds]


def _draw_window(axes: Any, result: CaseResult) -> None:
    series = [
        Line("measured", "share", result.rows, "ours"),
        Line("by the formula", "model", result.rows, "billiard"),
    ]
    _percent(axes, series, [str(window) for window in WINDOWS], "window, for 200 workers")


def _percent(axes: Any, series: list[Line], points: list[str], below: str) -> None:
    missing = lines(axes, series, points)
    axes.set_ylim(0, 105)
    axes.set_ylabel("busy, percent of the workers' time")
    axes.set_xlabel("\n".join([below, *missing]))


SCALE_PICTURES = (
    Picture(
        "scale-busy",
        "busy",
        "Share of their time that workers are busy, over the tasks per second that they can do",
        _draw_busy,
        (7.5, 3.2),
    ),
    Picture(
        "scale-window",
        "window",
        "Share of their time that 200 workers are busy, over the window, measured and by the formula",
        _draw_window,
        (7.5, 3.2),
    ),
)
