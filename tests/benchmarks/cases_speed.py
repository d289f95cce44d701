"""Cases about how many tasks are run in a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from case import RATE, Case, Entry, Figure
from summary import HIGHER

UNFINISHED = 120
# What each is asked to do, and how many tasks take it a second or two.
SUBMIT = {
    "ours": ("submit, queue_size=120", 20_000),
    "Pool": ("apply_async, semaphore", 20_000),
    "Pool-imap": ("imap(chunksize=1), no bound", 30_000),
    "Pool-imap-bound": ("imap(chunksize=1), semaphore", 20_000),
    "ProcessPoolExecutor": ("submit, semaphore", 10_000),
    "pebble": ("schedule, semaphore", 5_000),
    "mpire": ("imap_unordered(chunk_size=1)", 10_000),
    "billiard": ("apply_async, semaphore", 10_000),
    "deadpool": ("submit, semaphore", 5_000),
    "loky": ("submit, semaphore", 6_000),
    "joblib": ("Parallel(batch_size=1)", 3_000),
}
MAP = {
    "ours": ("map", 400_000),
    "Pool": ("imap", 40_000),
    "ProcessPoolExecutor": ("map", 10_000),
    "mpire": ("imap", 400_000),
    "joblib": ("Parallel", 400_000),
}
CHUNKS = {
    "ours": ("map", 400_000),
    "Pool": ("imap", 1_000_000),
    "ProcessPoolExecutor": ("map", 200_000),
    "loky": ("map", 200_000),
    "mpire": ("imap", 400_000),
    "joblib": ("Parallel(batch_size=100)", 100_000),
}
QUICK_TASKS = 60


def _submitted(
    point: str, name: str, workers: int, tasks: int, quick: bool, task: str = "give", **more: Any
) -> Entry:
    params = {
        "workers": workers,
        "every": None,
        "tasks": min(tasks, QUICK_TASKS) if quick else tasks,
        "warm": True,
    }
    return Entry(point, name, "rate", {**params, "module": "work", "task": task, **more})


def _mapped(point: str, name: str, workers: int, tasks: int, quick: bool, **more: Any) -> Entry:
    params = {"workers": workers, "tasks": QUICK_TASKS if quick else tasks}
    return Entry(point, name, "mapped", {**params, **more})


def _submit(quick: bool) -> Iterator[Entry]:
    for name, (call, tasks) in SUBMIT.items():
        yield _submitted("", name, 2, tasks, quick, unfinished=UNFINISHED, call=call)


def _map(quick: bool) -> Iterator[Entry]:
    for name, (call, tasks) in MAP.items():
        yield _mapped("", name, 2, tasks, quick, call=call)


def _map_chunks(quick: bool) -> Iterator[Entry]:
    for name, (call, tasks) in CHUNKS.items():
        yield _mapped("", name, 2, tasks, quick, call=call, chunksize=100)


def _task_lengths(quick: bool) -> Iterator[Entry]:
    for milliseconds in (1, 10):
        for full in (2, 20):
            workers = 2 if quick else full
            ideal = workers * 1000 // milliseconds
            for name in ("ours", "Pool"):
                yield _submitted(
                    f"{milliseconds} ms on {full} workers",
                    name,
                    workers,
                    10 if quick else ideal * 3 // 2,
                    quick,
                    task=f"sleep_{milliseconds}_ms",
                    ideal=ideal,
                )


SIZES = (
    ("1 KB of bytes", 1_000, False, 5_000),
    ("100 KB of bytes", 100_000, False, 2_000),
    ("10 MB of bytes", 10_000_000, False, 20),
    ("an array of 10 MB", 10_000_000, True, 20),
)


def _payloads(quick: bool) -> Iterator[Entry]:
    for point, size, array, tasks in SIZES:
        for name in ("ours", "Pool", "ProcessPoolExecutor", "joblib"):
            params = {"workers": 2, "tasks": 2 if quick else tasks, "array": array}
            params["bytes"] = min(size, 1_000_000) if quick else size
            yield Entry(point, name, "payload", params)


SCALES = (1, 2, 4, 20)
COMPARED = ("ours", "Pool", "ProcessPoolExecutor")


def _scaling_submit(quick: bool) -> Iterator[Entry]:
    for workers in SCALES:
        for name in COMPARED:
            _, tasks = SUBMIT[name]
            yield _submitted(
                str(workers),
                name,
                min(2, workers) if quick else workers,
                tasks // 2,
                quick,
                unfinished=UNFINISHED,
            )


def _scaling_map(quick: bool) -> Iterator[Entry]:
    for workers in SCALES:
        for name in COMPARED:
            _, tasks = MAP[name]
            yield _mapped(str(workers), name, min(2, workers) if quick else workers, tasks // 2, quick)


def _main_script(quick: bool) -> Iterator[Entry]:
    for name in COMPARED:
        tasks = SUBMIT[name][1]
        for module, where in (("work", "a module"), ("__main__", "the script")):
            yield _submitted(f"submit, {where}", name, 2, tasks, quick, unfinished=UNFINISHED, module=module)
    for name in COMPARED:
        tasks = MAP[name][1]
        for module, where in (("work", "a module"), ("__main__", "the script")):
            yield _mapped(f"map, {where}", name, 2, tasks, quick, module=module)


SHARE = (Figure("share", "percent of the ideal rate", HIGHER, 1),)

SPEED = (
    Case(
        "submit",
        "Tasks per second, one at a time",
        "Two workers; tasks that do nothing but return their input, a number. Each is given by a call of its "
        "own while at most 120 are unfinished, by the pool's own bound or by a semaphore that is released "
        "in the callbacks, both of them. `Pool-imap` has no bound, and nothing holds it back; with a "
        "bound it is `Pool-imap-bound`. The slower "
        "pools get fewer tasks: what counts is the rate.",
        "",
        RATE,
        _submit,
        shown=("call", "tasks"),
    ),
    Case(
        "map",
        "Tasks per second, map as it comes",
        "The same tasks given in one call, with default settings, the results fetched in order. What "
        "travels together is up to the pool: `Pool` and `ProcessPoolExecutor` send one input at a time, "
        "mpire cuts the inputs, whose number it asks for, into 128 parts, joblib and ours adapt.",
        "",
        RATE,
        _map,
        shown=("call", "tasks"),
    ),
    Case(
        "map-chunks",
        "Tasks per second, map in chunks of 100",
        "The same with 100 inputs in each chunk.",
        "",
        RATE,
        _map_chunks,
        shown=("call", "tasks"),
    ),
    Case(
        "task-lengths",
        "Short tasks: how near to the ideal",
        "Tasks that sleep for 1 ms or for 10 ms, given one at a time. Ideal is the rate of workers that do "
        "nothing else: their number divided by the time of a task. Tables show it as `ideal`, in tasks per "
        "second. What a sleep takes longer than it should counts against all.",
        "tasks of",
        SHARE,
        _task_lengths,
        shown=("ideal", "tasks"),
    ),
    Case(
        "payloads",
        "Large inputs and results",
        "Two workers; each task gets bytes, or a NumPy array, and returns them. They are given one at a "
        "time, and each is made anew before it is given, for all alike. Of a result only a number is kept.",
        "each way",
        (Figure("rate", "tasks per second", HIGHER, 1),),
        _payloads,
        shown=("tasks",),
    ),
    Case(
        "scaling-submit",
        "More workers, tasks one at a time",
        "Tasks that do nothing, at most 120 unfinished, on more and more workers. What is measured is "
        "the parent: more workers than cores can help no one, and must not hurt.",
        "workers",
        RATE,
        _scaling_submit,
        shown=("tasks",),
    ),
    Case(
        "scaling-map",
        "More workers, map as it comes",
        "The same by `map` (`Pool`: `imap`) with default settings.",
        "workers",
        RATE,
        _scaling_map,
        shown=("tasks",),
    ),
)

SCRIPT = (
    Case(
        "main-script",
        "Functions of the main script",
        "Two workers; the tasks of `submit` and of `map`, their function once in a module and once in the "
        "script that the program is started with.",
        "function of",
        RATE,
        _main_script,
        shown=("tasks",),
    ),
)
