"""Cases about replacing worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from case import RATE, Case, Entry
from contenders import CONTENDERS

RECYCLERS = ("ours", "Pool", "ProcessPoolExecutor", "pebble", "mpire", "billiard", "deadpool")
# Enough tasks for some seconds, and for each worker to be replaced at least twice.
TASKS = {1: 400, 2: 800, 10: 2000, 100: 4000, None: 4000}


def _rate(
    point: str, contender: str, workers: int, every: int | None, tasks: int, quick: bool, **more: Any
) -> Entry:
    if CONTENDERS[contender].slow and every is not None:
        tasks = max(tasks // 4, 2 * workers * every)
    params = {
        "workers": workers,
        "every": every,
        "tasks": 8 if quick else tasks,
        "module": "work",
        "task": "sleep_10_ms",
        "warm": True,
        **more,
    }
    return Entry(point, contender, "rate", params)


def _recycling(quick: bool) -> Iterator[Entry]:
    for every, tasks in TASKS.items():
        names: Sequence[str] = RECYCLERS if every is not None else (*RECYCLERS, "loky")
        for name in names:
            yield _rate(str(every or "never"), name, 2 if quick else 20, every, tasks, quick)


def _recycling_2(quick: bool) -> Iterator[Entry]:
    for name in RECYCLERS:
        yield _rate("2", name, 2, 2, 600, quick)


def _slow_import(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "Pool", "ProcessPoolExecutor", "pebble", "billiard"):
        yield _rate("2", name, 2, 2, 600, quick, module="slow_module", warm=False)


RECYCLING = (
    Case(
        "recycling",
        "Replacing worker processes: 20 workers",
        "20 workers run tasks that sleep for 10 ms, and each worker process is replaced after so many "
        "of them. Sleeping, the workers compete for next to nothing but the replacing: without any, "
        "20 of them could do 2,000 such tasks a second. Before the clock starts, 40 tasks warm up; it "
        "stops when the last result is in. Pools that replace slowly get fewer tasks, but enough "
        "for each worker to be replaced twice.",
        "replaced every",
        RATE,
        _recycling,
        shown=("tasks",),
    ),
    Case(
        "recycling-2",
        "Replacing worker processes: 2 workers",
        "The same with 2 workers, each replaced after 2 tasks; 4 tasks warm up. Two workers could do "
        "200 such tasks a second.",
        "replaced every",
        RATE,
        _recycling_2,
        shown=("tasks",),
    ),
    Case(
        "slow-import",
        "Replacing worker processes where the tasks' module is slow to import",
        "The same with a task from a module that takes 300 ms of processor time to import. The parent "
        "has imported it before the clock starts. There is no warm-up: the clock starts before the pool "
        "is made, so that what is paid once counts as well. Pools that fork workers from the parent "
        "find the module imported.",
        "replaced every",
        RATE,
        _slow_import,
        shown=("tasks",),
    ),
)
