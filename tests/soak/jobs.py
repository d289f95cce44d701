"""What the tasks of the soak run do, and what must come of them; imported by workers too."""

from __future__ import annotations

import time
from typing import Any

import faults
import tasks

MB = 1 << 20
TASK_TIMEOUT = 3.0
MEMORY_LIMIT = 256 * MB  # hard, per process
SOFT_LIMIT = 96 * MB  # a process that has more is replaced

# These are each watched by the one thread that submits them, so that they do not take all workers.
RARE = ("hang", "memory", "leak", faults.HARD_EXIT, faults.KILL, faults.CRASH)
COMMON = ("good",) * 40 + ("big",) * 2 + (faults.RAISE, faults.EXIT, "bad result", "bad argument")

# By name, for not all of them can be imported everywhere.
ERRORS = {
    faults.RAISE: "Fault",
    faults.EXIT: "SystemExit",
    "bad result": "Fault",
    "bad argument": "Fault",
    "memory": "MemoryError",
    "hang": "TaskTimeout",
    **dict.fromkeys(faults.DEATHS, "TerminatedWorkerError"),
}


def argument(kind: str) -> Any:
    """Return what goes along with a task."""
    return faults.OnUnpickle(faults.happen, faults.RAISE) if kind == "bad argument" else None


def job(number: int, kind: str, seconds: float, _along: Any = None) -> Any:
    """Take some time, and do what the kind says."""
    time.sleep(seconds)
    if kind == "memory":
        return tasks.take_memory(2 * MEMORY_LIMIT, 0.0)
    if kind == "leak":
        tasks.leak(20 * MB)
    if kind == "bad result":
        return faults.OnPickle(faults.happen, faults.RAISE)
    if kind in faults.KINDS:
        faults.happen(kind)
    return answer(number, kind)


def answer(number: int, kind: str) -> Any:
    """Return the right result."""
    return (number, bytes(100_000)) if kind == "big" else (number, 3 * number + 1)


def item(number: int) -> Any:
    """As a function of a map; a few take longer."""
    if number % 50 == 0:
        time.sleep(0.01)
    return answer(number, "good")
