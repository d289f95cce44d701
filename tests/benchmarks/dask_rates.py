"""``python tests/benchmarks/dask_rates.py``: tasks per second on a Dask cluster, ours and by its client.

The scheduler and two workers are processes on this machine. In each round, on a cluster of its own, all take
turns, so that whatever else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import dask_page  # noqa: E402
import work  # noqa: E402
from dask_cluster import cluster  # noqa: E402
from distributed import Client, as_completed  # noqa: E402

from bounded_executor import BoundedExecutor  # noqa: E402

UNFINISHED = 1000
ROUNDS = 5

Feed = Callable[[Client, Callable[[int], Any], int], Any]


def ours(use: str, batches: bool) -> Feed:
    def feed(client: Client, task: Callable[[int], Any], count: int) -> int:
        with BoundedExecutor.for_dask(client, queue_size=UNFINISHED, batches=batches) as executor:
            if use == "map":
                return sum(1 for _ in executor.map(task, range(count)))
            done = []
            for number in range(count):
                executor.submit(task, number).add_done_callback(lambda future: done.append(future.result()))
        return len(done)

    return feed


def in_windows(client: Client, task: Callable[[int], Any], count: int) -> int:
    """Submit as many as may be unfinished, gather their results, and do it again."""
    done = 0
    for numbers in windows(count):
        done += len(client.gather([client.submit(task, number, pure=False) for number in numbers]))
    return done


def map_in_windows(client: Client, task: Callable[[int], Any], count: int) -> int:
    """Do the same with one call of ``map`` for each window."""
    return sum(len(client.gather(client.map(task, numbers, pure=False))) for numbers in windows(count))


def sliding(client: Client, task: Callable[[int], Any], count: int) -> int:
    """Submit the next one whenever one has come back."""
    numbers = iter(range(count))
    first = [client.submit(task, number, pure=False) for number in islice(numbers, UNFINISHED)]
    done = 0
    found = as_completed(first, loop=client.loop, with_results=True)
    del first
    for future, _ in found:
        done += 1
        future.release()
        for number in islice(numbers, 1):
            found.add(client.submit(task, number, pure=False))
    return done


def windows(count: int) -> Iterator[range]:
    for start in range(0, count, UNFINISHED):
        yield range(start, min(start + UNFINISHED, count))


FEEDS: dict[str, Feed] = {
    "ours: submit": ours("submit", True),
    "ours: map": ours("map", True),
    "ours: submit, batches=False": ours("submit", False),
    "client.submit of 1,000, then gather": in_windows,
    "client.map of 1,000, then gather": map_in_windows,
    "client.submit, as_completed": sliding,
}
TOGETHER = ("ours: submit", "ours: map")
TASKS: dict[str, tuple[Callable[[int], Any], int, int]] = {
    # The task, how many of them, and how many where they travel together.
    "nothing": (work.give, 2000, 20_000),
    "1 ms": (work.sleep_1_ms, 2000, 8000),
    "5 ms": (work.sleep_5_ms, 2000, 2000),
    "20 ms": (work.sleep_20_ms, 1000, 1000),
}
TITLE = "Tasks per second, beside the client's own calls"


def measure(feed: str, length: str, client: Client) -> dict[str, float]:
    """Return tasks per second, and the processor time that a task took, in microseconds."""
    task, alone, together = TASKS[length]
    count = together if feed in TOGETHER else alone
    scheduler = client.run_on_scheduler(os.getpid)
    workers = list(client.run(os.getpid).values())
    FEEDS[feed](client, task, 100)

    def cpu() -> float:
        return sum(map(dask_page.cpu_seconds, [os.getpid(), scheduler, *workers]))

    began, start = cpu(), time.perf_counter()
    assert FEEDS[feed](client, task, count) == count
    seconds = time.perf_counter() - start
    return {"rate": count / seconds, "cpu": (cpu() - began) / count * 1e6}


def body(found: dict[str, dict[str, list[dict[str, float]]]]) -> str:
    """Return what the page says of it."""

    def medians(key: str) -> dict[tuple[str, str], float]:
        return {
            (length, feed): statistics.median(one[key] for one in rounds)
            for length, feeds in found.items()
            for feed, rounds in feeds.items()
        }

    rates, cpu = medians("rate"), medians("cpu")
    feeds = list(next(iter(found.values())))
    best = {
        length: max(rates[length, feed] for feed in feeds if feed.startswith("client")) for length in found
    }
    rows = [
        [
            feed,
            *(f"{rates[length, feed]:,.0f} ({rates[length, feed] / best[length]:.2f})" for length in found),
        ]
        for feed in feeds
    ]
    parts = [
        "Two workers with one thread each; tasks that do nothing, or sleep. At most 1,000 are unfinished: by "
        f"`queue_size={UNFINISHED:,}`, because the client's calls are made for 1,000 at a time, or because "
        "one is submitted whenever one has come back. In each round, on a new cluster, all take turns.",
        "**Tasks per second, median of the rounds (and that divided by the best of the client's own)**",
        dask_page.table(["", *found], rows),
        "**Processor time of all processes per task, microseconds, median of the rounds**",
        dask_page.table(
            ["", *found], [[one, *(f"{cpu[length, one]:,.0f}" for length in found)] for one in feeds]
        ),
    ]
    return "\n\n".join(parts)


def main() -> None:
    """Measure, print the tables, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--feed", nargs="+", default=list(FEEDS), choices=FEEDS)
    parser.add_argument("--task", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep all measurements, after each round")
    parser.add_argument("--load", type=Path, metavar="FILE", help="take what was saved, and measure nothing")
    parser.add_argument("--write", nargs="?", type=Path, const=dask_page.DOCS, metavar="FOLDER")
    options = parser.parse_args()
    dask_page.find_work()
    kept = json.loads(options.load.read_text()) if options.load else _measure(options)
    text = body(kept["found"])
    print(text)
    if options.write:
        dask_page.write(options.write, TITLE, text, kept["facts"])


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        length: {feed: [] for feed in options.feed} for length in options.task
    }
    start = time.monotonic()
    facts = dask_page.gather("", 0)
    for number in range(1, options.rounds + 1):
        with cluster(2, 1) as one, Client(one.address, set_as_default=False) as client:
            client.wait_for_workers(2)
            for length in options.task:
                for feed in options.feed:
                    values = measure(feed, length, client)
                    found[length][feed].append(values)
                    said = f"round {number}: {length}, {feed}: {values['rate']:,.0f}"
                    print(said, file=sys.stderr, flush=True)
        rounds = "" if number == ROUNDS else f" --rounds {number}"
        facts |= {"command": f"python tests/benchmarks/dask_rates.py{rounds} --write", "rounds": str(number)}
        dask_page.finish(facts, time.monotonic() - start)
        if options.save:
            options.save.write_text(json.dumps({"facts": facts, "found": found}))
    return {"facts": facts, "found": found}


if __name__ == "__main__":
    main()
