"""Cases about what a single task costs, and whether that grows."""

from __future__ import annotations

from collections.abc import Iterator

from case import Case, Entry, Figure
from cases_speed import COMPARED, MAP, QUICK_TASKS, SUBMIT, UNFINISHED
from summary import HIGHER, LOWER

BOUNDS = (1, 10, 100, 1_000, 10_000)


def _queue_size(quick: bool) -> Iterator[Entry]:
    for bound in BOUNDS:
        # With one unfinished task each waits for the one before it, which takes longer.
        tasks, items = (5_000, 5_000) if bound == 1 else (10_000, 50_000)
        params = {"bound": bound, "tasks": QUICK_TASKS if quick else tasks}
        params["items"] = QUICK_TASKS if quick else items
        yield Entry(f"{bound:,}", "ours", "queue_size", {"workers": 2, **params})


def _lasting(quick: bool) -> Iterator[Entry]:
    yield Entry("", "ours", "lasting", {"workers": 2, "items": 200 if quick else 1_000_000})


def _latency(quick: bool) -> Iterator[Entry]:
    for name, call in (
        ("ours", "submit(...).result()"),
        ("Pool", "apply(...)"),
        ("ProcessPoolExecutor", "submit(...).result()"),
        ("loky", "submit(...).result()"),
        ("pebble", "schedule(...).result()"),
    ):
        yield Entry("", name, "latency", {"workers": 2, "calls": 20 if quick else 2_000, "call": call})


def _parent_cpu(quick: bool) -> Iterator[Entry]:
    for name in COMPARED:
        call, tasks = SUBMIT[name]
        params = {"workers": 2, "tasks": QUICK_TASKS if quick else tasks, "call": call, "every": None}
        params |= {"module": "work", "task": "give", "warm": True, "unfinished": UNFINISHED}
        yield Entry("one at a time", name, "rate", params)
    for name in COMPARED:
        call, tasks = MAP[name]
        params = {"workers": 2, "tasks": QUICK_TASKS if quick else tasks, "call": call}
        yield Entry("map as it comes", name, "mapped", params)


COST = (
    Case(
        "queue-size",
        "Cost of a task over the bound",
        "Ours alone, two workers, tasks that do nothing, with a larger and larger `queue_size`. It must "
        "not cost more to have more tasks unfinished. With a bound of 1 nothing overlaps.",
        "queue_size",
        (
            Figure("submit", "microseconds per task by submit", LOWER, 1),
            Figure("map", "microseconds per task by map", LOWER, 1),
        ),
        _queue_size,
    ),
    Case(
        "lasting",
        "Rate of a long run",
        "Ours alone, two workers: one `map` over 1,000,000 inputs whose tasks do nothing. A ratio of the "
        "last tenth to the first that is below 1 would say that the executor gets slower with use.",
        "",
        (
            Figure("first", "tasks per second in the first tenth", HIGHER),
            Figure("last", "tasks per second in the last tenth", HIGHER),
            Figure("ratio", "rate of the last tenth divided by that of the first", HIGHER, 2),
        ),
        _lasting,
        limit=300.0,
    ),
    Case(
        "latency",
        "Time from a call to its result",
        "Two workers, idle when a task is given that does nothing; the next one is given when its result "
        "is there. The median and the 99th percentile of 2,000.",
        "",
        (
            Figure("median", "median, microseconds", LOWER),
            Figure("late", "99th percentile, microseconds", LOWER),
        ),
        _latency,
        shown=("call",),
    ),
    Case(
        "parent-cpu",
        "Processor time of the parent",
        "Two workers, tasks that do nothing, as in the cases `submit` and `map`. Counted is the processor "
        "time of all threads of the process that gives the tasks, which is the one that has other things to "
        "do; not that of the workers, nor of helper processes.",
        "given",
        (Figure("cpu", "microseconds per task", LOWER, 1),),
        _parent_cpu,
        shown=("call", "tasks"),
    ),
)
