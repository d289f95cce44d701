"""Measurements of what an executor takes before it does anything: memory, and the time to start."""

from __future__ import annotations

import importlib
import os
import statistics
import threading
import time
from typing import Any

import processes
import work
from adapter import Answer, Contender

SAMPLE_SECONDS = 0.05
SETTLE_SECONDS = 0.5


def memory(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Memory of the whole process tree while all workers are idle and have run tasks."""
    workers = params["workers"]
    task = importlib.import_module(params["module"]).whoami
    with contender.pool(workers, None) as run:
        seen: set[int] = set()
        while len(seen) < workers:
            seen.update(run(task, [0.05] * 3 * workers))
        time.sleep(SETTLE_SECONDS)
        pids = processes.tree(os.getpid())
        answer({"pss": sum(map(processes.pss_mb, pids)), "processes": len(pids)})


def fresh(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """Time from the construction of the first executor of the process to its first result."""
    start = time.perf_counter()
    with contender.executor(params["workers"]) as executor:
        executor.submit(work.give, 1).result()
        answer({"ms": (time.perf_counter() - start) * 1e3})


def again(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """The same for the blocks that follow a first one; their median."""
    took = []
    for _ in range(params["blocks"] + 1):
        start = time.perf_counter()
        with contender.executor(params["workers"]) as executor:
            executor.submit(work.give, 1).result()
            took.append(time.perf_counter() - start)
    answer({"ms": statistics.median(took[1:]) * 1e3})


def growth(contender: Contender, params: dict[str, Any], answer: Answer) -> None:
    """The parent's memory while tasks are submitted as fast as the executor takes them."""
    samples: list[tuple[float, float]] = []
    ended = threading.Event()
    workers = params["workers"]

    def sample() -> None:
        while not ended.is_set():
            samples.append((time.perf_counter() - start, processes.own_rss_mb()))
            ended.wait(SAMPLE_SECONDS)

    with contender.executor(workers) as executor:
        # The sampling thread comes after the workers, which may be forked from this process.
        for future in [executor.submit(work.size, b"") for _ in range(2 * workers)]:
            future.result()
        sampler = threading.Thread(target=sample)
        start = time.perf_counter()
        sampler.start()
        for number in range(params["tasks"]):
            executor.submit(work.size, number.to_bytes(8, "big") * (params["bytes"] // 8))
        submitted = time.perf_counter() - start
    seconds = time.perf_counter() - start
    ended.set()
    sampler.join()
    answer(
        {
            "peak": max(mb for _, mb in samples),
            "submitted": submitted,
            "seconds": seconds,
            "samples": samples[:: max(1, len(samples) // 150)],
        }
    )
