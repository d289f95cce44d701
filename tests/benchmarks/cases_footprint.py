"""Cases about what an executor takes before it does anything: memory, and the time to start."""

from __future__ import annotations

from collections.abc import Iterator

from case import Case, Entry, Figure
from summary import LOWER

LIGHT = "a module of no size"
HEAVY = "a module of 40 MB"


def _memory_idle(quick: bool) -> Iterator[Entry]:
    peers = ("Pool", "ProcessPoolExecutor", "loky", "pebble")
    workers = 2 if quick else 20
    for name in ("ours", *peers):
        yield Entry(LIGHT, name, "memory", {"workers": workers, "module": "work"})
    for name in ("ours", "ours-preload", *peers):
        yield Entry(HEAVY, name, "memory", {"workers": workers, "module": "heavy_module"})


FRESH = "the first block of the process"
AGAIN = "a further block"


def _start(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "loky", "ProcessPoolExecutor-spawn"):
        yield Entry(FRESH, name, "fresh", {"workers": 2})
    for name in ("ours", "loky-reusable"):
        yield Entry(AGAIN, name, "again", {"workers": 2, "blocks": 2 if quick else 20})


def _memory_over_time(quick: bool) -> Iterator[Entry]:
    for name in ("ours", "ProcessPoolExecutor"):
        yield Entry("", name, "growth", {"workers": 20, "tasks": 500 if quick else 60_000, "bytes": 4096})


FOOTPRINT = (
    Case(
        "memory-idle",
        "Memory of 20 idle workers",
        "The sum of the proportional set sizes (memory shared by n processes counts one nth in each) "
        "of all processes, the parent and helpers included, when 20 workers have each run tasks and "
        "have been idle for half a second. The tasks come from a module that holds nothing, or from "
        "one that holds 40 MB, which the parent has imported in every case and the tasks do "
        "not touch.",
        "tasks from",
        (Figure("pss", "proportional set size, MB", LOWER),),
        _memory_idle,
    ),
    Case(
        "start",
        "Time to the first result",
        "Two workers; from the construction of the executor to the result of its first task, in a fresh "
        "interpreter that has imported the package. Further blocks: the median of 20 that follow the "
        "first one in the same process, each from its construction to its first result; for "
        "loky, each calls `get_reusable_executor` again and leaves the workers as they are.",
        "result of",
        (Figure("ms", "milliseconds", LOWER, 1),),
        _start,
    ),
    Case(
        "memory-over-time",
        "Memory of a parent that makes tasks faster than they are done",
        "60,000 tasks with 4 KB of input each are submitted as fast as the executor takes them, and "
        "their futures dropped; the tasks return the length of their input. 20 workers, warmed up with "
        "40 tasks. Sampled every 50 ms is the resident memory of the parent alone. Here the peer has no "
        "bound: this is the case that the bound is for.",
        "",
        (
            Figure("peak", "peak of the parent's memory, MB", LOWER, 1),
            Figure("seconds", "seconds until all tasks were done", LOWER, 1),
        ),
        _memory_over_time,
        limit=180.0,
    ),
)
