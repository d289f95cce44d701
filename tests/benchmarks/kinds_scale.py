"""Measurements of what one producer can do for very many workers, which are there on paper only."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapter import Answer, Contender

from bounded_executor import BoundedExecutor

# Where the tests have them.
sys.path.append(str(Path(__file__).resolve().parent.parent / "support"))

from virtual import VirtualExecutor, spend

Give = Callable[[BoundedExecutor, float, Any, int], None]


def _submit(ex: BoundedExecutor, seconds: float, value: Any, tasks: int) -> None:
    for _ in range(tasks):
        ex.submit(spend, seconds, value)


def _map(ex: BoundedExecutor, seconds: float, value: Any, tasks: int, **options: Any) -> None:
    deque(ex.map(spend, [seconds] * tasks, [value] * tasks, **options), maxlen=0)


def _unordered(ex: BoundedExecutor, seconds: float, value: Any, tasks: int) -> None:
    _map(ex, seconds, value, tasks, unordered=True)


def _tens(ex: BoundedExecutor, seconds: float, value: Any, tasks: int) -> None:
    _map(ex, seconds, value, tasks, chunksize=10)


def _hundreds(ex: BoundedExecutor, seconds: float, value: Any, tasks: int) -> None:
    _map(ex, seconds, value, tasks, chunksize=100)


def _asubmit(ex: BoundedExecutor, seconds: float, value: Any, tasks: int) -> None:
    async def give() -> None:
        for _ in range(tasks):
            await ex.asubmit(spend, seconds, value)

    asyncio.run(give())


CALLS: dict[str, Give] = {
    "submit": _submit,
    "asubmit": _asubmit,
    "map": _map,
    "map, unordered": _unordered,
    "map, chunksize=10": _tens,
    "map, chunksize=100": _hundreds,
}


def messages(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Tasks of no length: their rate, and the processor time that each takes of each of the threads."""
    give, tasks = CALLS[params["call"]], params["tasks"]
    value = bytes(params["bytes"]) if params["bytes"] else None
    with VirtualExecutor(params["workers"]) as engine, BoundedExecutor(engine) as ex:
        give(ex, 0.0, value, params["workers"])
        _settle(ex)
        sent = engine.bytes_in
        before = _thread_times()
        start = time.perf_counter()
        give(ex, 0.0, value, tasks)
        _settle(ex)
        seconds = time.perf_counter() - start
        used = {name: spent - before.get(name, 0.0) for name, spent in _thread_times().items()}
        sent = engine.bytes_in - sent
    workers = used.pop("virtual-workers")
    each = {name: spent / tasks * 1e6 for name, spent in used.items()}
    cpu = sum(each.values())
    answer(
        {
            "rate": tasks / seconds,
            "cpu": cpu,
            "core": 1e6 / cpu,
            "caller": each.pop("MainThread"),
            "queue": each.pop("bounded-inner"),
            "callbacks": sum(each.values()),
            "workers": workers / tasks * 1e6,
            "sent": sent / tasks,
            "megabytes": params["bytes"] / cpu,
        }
    )


def busy(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """The share of their time that workers are busy, and what of a core the producer needs for that."""
    workers, seconds, latency = params["workers"], params["seconds"], params["latency"]
    window = params["window"]
    each = max(3, round(params["lasting"] / seconds))
    bounds = {"queue_size": params["queue_size"]} if "queue_size" in params else {}
    with (
        VirtualExecutor(workers, latency=latency) as engine,
        BoundedExecutor(engine, window=window, **bounds) as ex,
    ):
        before, start = time.process_time(), time.perf_counter()
        _give_in_bursts(ex, seconds, workers * each, params.get("pause", 0.0), workers)
        ex.shutdown()
        core = (time.process_time() - before) / (time.perf_counter() - start)
    held = window or workers + workers // 20
    # What is held is on its way, or it runs, or it waits.
    model = min(1.0, held * seconds / (workers * (seconds + latency)))
    # Until each has had its first task, and while some have had their last, nobody can be kept busy.
    answer(
        {"share": 100 * engine.busy_share(workers, skip=workers), "model": 100 * model, "core": 100 * core}
    )


def _give_in_bursts(ex: BoundedExecutor, seconds: float, tasks: int, pause: float, workers: int) -> None:
    # What the workers do in a pause, and a little more, since the pauses are not all.
    burst = int(1.2 * pause * workers / seconds) or tasks
    while tasks > 0:
        _submit(ex, seconds, None, min(burst, tasks))
        tasks -= burst
        time.sleep(pause)


def _settle(ex: BoundedExecutor) -> None:
    """Return when all outcomes have come and been passed on."""
    while (stats := ex.stats()).unfinished or stats.undelivered:
        time.sleep(0.001)


def _thread_times() -> dict[str, float]:
    """Return the processor time of each thread so far, by its name."""
    return {
        thread.name: time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
        for thread in threading.enumerate()
        if thread.ident is not None
    }
