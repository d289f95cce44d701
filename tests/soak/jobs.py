"""What the tasks of the soak run do, and what must come of them; imported by workers too.

A task gets one integer that is unique in its program and tells it what to do: how long to take, which shape
its result has and how heavy that is. What the result must be follows from the integer alone, and the integer
from the result, so that results in any order can be checked.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import faults
import tasks

MB = 1 << 20
TASK_TIMEOUT = 6.0
MEMORY_LIMIT = 256 * MB  # hard, per process
SOFT_LIMIT = 96 * MB  # a process that has more is replaced

# The environment variable with the name of the file that each task writes its number to.
LOG = "BOUNDED_EXECUTOR_SOAK_LOG"

# These are each watched by the one thread that submits them, so that they do not take all workers.
RARE = (faults.HARD_EXIT, faults.KILL, faults.CRASH)
COMMON = ("good",) * 44 + (faults.RAISE, faults.EXIT, "bad result", "bad argument")

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

# The parts of a task's number, from the lowest bits on.
KILOBYTES_BITS, SHAPE_BITS, MILLISECONDS_BITS = 10, 3, 6
SHAPES = ("int", "tuple", "counter", "dataclass", "nested", "bytes")
# Milliseconds that tasks take, by how often that is drawn where lengths are mixed.
LENGTHS = {0: 60, 1: 20, 5: 10, 20: 5, 60: 5}


@dataclass
class Row:
    """A result that is no atom and has a class of its own."""

    number: int
    values: list[int]
    name: str


def pack(ident: int, shape: str, milliseconds: int = 0, kilobytes: int = 0) -> int:
    """Return the number of a task."""
    number = ident << MILLISECONDS_BITS | milliseconds
    number = number << SHAPE_BITS | SHAPES.index(shape)
    return number << KILOBYTES_BITS | kilobytes


def unpack(number: int) -> tuple[str, int, int]:
    """Return shape, milliseconds and kilobytes."""
    kilobytes = number & (1 << KILOBYTES_BITS) - 1
    number >>= KILOBYTES_BITS
    shape = SHAPES[number & (1 << SHAPE_BITS) - 1]
    return shape, number >> SHAPE_BITS & (1 << MILLISECONDS_BITS) - 1, kilobytes


def single(draw: random.Random, ident: int) -> int:
    """Return the number of a task that is submitted by itself; a few have heavy results."""
    shape = draw.choice(SHAPES)
    heavy = draw.randint(50, 300) if shape == "bytes" and draw.random() < 0.3 else 0
    return pack(ident, shape, draw_length(draw), heavy)


def draw_length(draw: random.Random) -> int:
    return draw.choices(list(LENGTHS), list(LENGTHS.values()))[0]


def plan(draw: random.Random, idents: Iterable[int], most: int) -> list[int]:
    """Return the numbers of one map, whose results turn heavy and light again.

    Args:
        draw: decides.
        idents: as many as there might be items.
        most: items of a light part, at most; there are up to five parts.
    """
    # Many that take no time travel together, which is when it matters what they weigh.
    quick = draw.random() < 0.5
    numbers: list[int] = []
    source = iter(idents)
    for _ in range(draw.randint(1, 5)):
        heavy = draw.random() < 0.4
        shape = "bytes" if heavy else draw.choice(SHAPES)
        count = draw.randint(3, 40) if heavy else draw.randint(1, most)
        if quick and not heavy and draw.random() < 0.2:
            count *= 4
        for _ in range(count):
            # One shape for most, and integers between the heavy ones.
            one = shape if draw.random() < 0.8 else "int"
            kilobytes = draw.choice((50, 50, 100, 200, 500, 1000)) if heavy and one == "bytes" else 0
            numbers.append(pack(next(source), one, 0 if quick else draw_length(draw), kilobytes))
    return numbers


def most_items(most: int) -> int:
    """Return how many items a plan, and a map that turns, has at most."""
    return 5 * max(4 * most, 40)


def turning(idents: Iterable[int], most: int) -> list[int]:
    """Return the numbers of a map that is light for long, heavy for a while, and light again."""
    parts = (("int", 7 * most, 0), ("bytes", most, 50), ("int", most, 0))
    source = iter(idents)
    return [pack(next(source), shape, 0, size) for shape, count, size in parts for _ in range(count)]


def argument(kind: str) -> Any:
    """Return what goes along with a task."""
    return faults.OnUnpickle(faults.happen, faults.RAISE) if kind == "bad argument" else None


_log: dict[str, int] = {}


def begin(number: int) -> None:
    """Note that a task begins, in one write that no death can tear."""
    path = os.environ[LOG]
    if path not in _log:
        _log[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    os.write(_log[path], b"%d %d\n" % (number, os.getpid()))


def job(number: int, kind: str = "good", _along: Any = None) -> Any:
    """Note the run, take the time, and do what the kind says."""
    begin(number)
    time.sleep(unpack(number)[1] / 1000)
    if kind == "memory":
        return tasks.take_memory(2 * MEMORY_LIMIT, 0.0)
    if kind == "leak":
        tasks.leak(20 * MB)
    if kind == "bad result":
        return faults.OnPickle(faults.happen, faults.RAISE)
    if kind in faults.KINDS:
        faults.happen(kind)
    return answer(number)


def item(number: int) -> Any:
    """As a function of a map."""
    begin(number)
    milliseconds = unpack(number)[1]
    if milliseconds:
        time.sleep(milliseconds / 1000)
    return answer(number)


def nap(number: int, seconds: float) -> int:
    """Take longer than other tasks."""
    begin(number)
    time.sleep(seconds)
    return number


def import_slowly(number: int, name: str) -> int:
    """Import a module that takes its time; the supervisor does so after it."""
    begin(number)
    __import__(name)
    return number


def answer(number: int) -> Any:
    """Return the right result."""
    shape, _, kilobytes = unpack(number)
    if shape == "int":
        return 3 * number + 1
    if shape == "tuple":
        return number, 3 * number + 1
    if shape == "counter":
        return Counter({number: 3, number + 1: 2, "many": 1})
    if shape == "dataclass":
        return Row(number, [number] * 3, f"row {number}")
    if shape == "nested":
        return [[number, [number + 1, (number,)]], {"one": [number]}, []]
    return number.to_bytes(8, "big") + bytes(kilobytes << 10)


def number_of(result: Any) -> int | None:
    """Return the number of the task that has this result; None where it is no task's."""
    if isinstance(result, int):
        return (result - 1) // 3
    if isinstance(result, Counter):
        return next((key for key, count in result.items() if count == 3), None)
    if isinstance(result, Row):
        return result.number
    if isinstance(result, bytes):
        return int.from_bytes(result[:8], "big")
    if isinstance(result, tuple) and result:
        return result[0]
    if isinstance(result, list) and result:
        return result[0][0]
    return None


def count(number: int) -> Counter[int]:
    """As the function of the program that ``counters`` runs."""
    return Counter({number: 1})
