"""Measurements of what a single task costs."""

from __future__ import annotations

import statistics
import time
from collections import deque
from itertools import islice, pairwise
from typing import Any

import work
from adapter import Answer, Contender

# A curve of 100 points; the first and the last tenth of the tasks are ten of them each.
PARTS = 100


def queue_size(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Time per task that does nothing, by submit and by map, with a bound."""
    workers, bound = params["workers"], params["bound"]
    values = {}
    with contender.pool(workers, None, bound) as run:
        run(work.give, range(2 * workers))
        start = time.perf_counter()
        run(work.give, range(params["tasks"]))
        values["submit"] = (time.perf_counter() - start) / params["tasks"] * 1e6
    with contender.mapper(workers, None, bound) as run_map:
        deque(run_map(work.give, range(2 * workers)), maxlen=0)
        start = time.perf_counter()
        deque(run_map(work.give, range(params["items"])), maxlen=0)
        values["map"] = (time.perf_counter() - start) / params["items"] * 1e6
    answer(values)


def lasting(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """The rate of one long map over the number of items that it has yielded."""
    workers, items = params["workers"], params["items"]
    part = items // PARTS
    with contender.mapper(workers) as run:
        deque(run(work.give, range(2 * workers)), maxlen=0)
        results = run(work.give, range(items))
        times = [time.perf_counter()]
        for _ in range(PARTS):
            deque(islice(results, part), maxlen=0)
            times.append(time.perf_counter())
    tenth = PARTS // 10
    first = tenth * part / (times[tenth] - times[0])
    last = tenth * part / (times[-1] - times[-1 - tenth])
    samples = [
        ((number + 1) * part, part / (after - before))
        for number, (before, after) in enumerate(pairwise(times))
    ]
    answer({"first": first, "last": last, "ratio": last / first, "samples": samples})


def latency(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Time from giving one task to having its result, with nothing else to do."""
    calls = params["calls"]
    took = []
    with contender.caller(params["workers"]) as call:
        for _ in range(2 * params["workers"]):
            call(work.give, 0)
        for number in range(calls):
            start = time.perf_counter()
            call(work.give, number)
            took.append((time.perf_counter() - start) * 1e6)
    took.sort()
    answer({"median": statistics.median(took), "late": took[min(calls - 1, calls * 99 // 100)]})
