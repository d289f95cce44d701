"""Measurements of how many tasks are run in a second."""

from __future__ import annotations

import importlib
import operator
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import work
from adapter import Answer, Contender


def rate(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Tasks given one at a time, from the first after a warm-up, or from nothing, to the last result."""
    module = importlib.import_module(params["module"])
    task = getattr(module, params["task"])
    workers = params["workers"]
    warm_up = 2 * workers if params["warm"] else 0
    cold = _Clock()
    with contender.pool(workers, params["every"], params.get("unfinished")) as run:
        if warm_up:
            run(task, range(warm_up))
        clock = _Clock() if warm_up else cold
        results = run(task, range(params["tasks"]))
        values = clock.values(params)
        if sorted(results) != list(range(params["tasks"])):
            raise RuntimeError("results are missing or wrong")
        answer(values)


def mapped(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """The same for tasks that do nothing and are given all in one call, their results fetched in order."""
    workers, tasks = params["workers"], params["tasks"]
    give = importlib.import_module(params.get("module", "work")).give
    with contender.mapper(workers, params.get("chunksize")) as run:
        deque(run(give, range(2 * workers)), maxlen=0)
        clock = _Clock()
        # Compared as they come, in C: a loop in Python would be part of what is measured.
        right = sum(map(operator.eq, run(give, range(tasks)), range(tasks)))
        values = clock.values(params)
        if right != tasks:
            raise RuntimeError("results are missing or wrong")
        answer(values)


class _Clock:
    """Says what has been used since it was made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._start = time.perf_counter()

    def values(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return tasks per second, the parent's processor time for each, and the share of the ideal."""
        seconds = time.perf_counter() - self._start
        cpu = time.process_time() - self._cpu
        tasks = params["tasks"]
        values = {"rate": tasks / seconds, "cpu": cpu / tasks * 1e6}
        if "ideal" in params:
            values["share"] = 100 * values["rate"] / params["ideal"]
        return values


def payload(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Tasks that return their argument; each has one of its own, since some pools send none twice."""
    workers, tasks, size = params["workers"], params["tasks"], params["bytes"]
    make, look = _arrays(size) if params["array"] else _bytes(size)
    with contender.pool(workers, None) as run:
        run(work.give, map(make, range(workers)), look)
        clock = _Clock()
        # What is kept is a number: ten gigabytes of results would be another measurement.
        seen = run(work.give, map(make, range(tasks)), look)
        values = clock.values(params)
        if sorted(seen) != list(range(tasks)):
            raise RuntimeError("results are missing or wrong")
        answer(values)


def _bytes(size: int) -> tuple[Callable[[int], Any], Callable[[Any], int]]:
    def make(number: int) -> bytes:
        return number.to_bytes(8, "little") * (size // 8)

    def look(data: bytes) -> int:
        return int.from_bytes(data[-8:], "little") if len(data) == size else -1

    return make, look


def _arrays(size: int) -> tuple[Callable[[int], Any], Callable[[Any], int]]:
    import numpy

    def make(number: int) -> Any:
        return numpy.full(size // 8, number)

    def look(data: Any) -> int:
        return int(data[-1]) if data.nbytes == size else -1

    return make, look
