"""``python tests/benchmarks/dask_memory.py``: memory of a Dask scheduler and its client while many tasks run.

Each run has a cluster and a client process of its own: a scheduler and two workers on this machine. Sampled
is the proportional set size of the scheduler and of the client.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

import dask_page  # noqa: E402
import work  # noqa: E402
from dask_cluster import cluster  # noqa: E402
from distributed import Client  # noqa: E402
from drawing import GRID, Picture  # noqa: E402
from processes import pss_mb  # noqa: E402

from bounded_executor import BoundedExecutor  # noqa: E402

TASKS = 100_000
QUEUE_SIZE = 1000
PERIOD = 0.25
TITLE = "Memory of the scheduler and of the client"
COLOURS = {"ours": "#0b5fa5", "ours, batches=False": "#4a9fe0", "client.map": "#d55e00"}


def ours(client: Client, count: int, batches: bool = True) -> int:
    done = 0

    def add(future: Any) -> None:
        nonlocal done
        done += future.result() == 0

    with BoundedExecutor.for_dask(client, queue_size=QUEUE_SIZE, batches=batches) as executor:
        for number in range(count):
            executor.submit(work.nothing, number).add_done_callback(add)
    return done


def ours_alone(client: Client, count: int) -> int:
    return ours(client, count, batches=False)


def by_client(client: Client, count: int) -> int:
    return client.gather(client.map(work.nothing, range(count), pure=False)).count(0)


FEEDS: dict[str, Callable[[Client, int], int]] = {
    "ours": ours,
    "ours, batches=False": ours_alone,
    "client.map": by_client,
}


def run_client(feed: str, address: str, count: int) -> None:
    """Be the client process: say who the scheduler is, wait for the word to begin, say when it is done."""
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2)
        # What is imported and made at the first task is nobody's.
        FEEDS[feed](client, 200)
        print(client.run_on_scheduler(os.getpid), flush=True)
        sys.stdin.readline()
        assert FEEDS[feed](client, count) == count
        print("done", flush=True)
        sys.stdin.readline()


def measure(feed: str, count: int) -> dict[str, Any]:
    """Return the samples of one run: seconds, MB of the scheduler, MB of the client."""
    with cluster(2, 1) as one:
        command = [sys.executable, __file__, "--only", feed, "--address", one.address, "--tasks", str(count)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            scheduler = int(process.stdout.readline())
            start = time.monotonic()
            process.stdin.write("go\n")
            samples = []
            ended: list[Any] = []
            while not ended:
                samples.append((time.monotonic() - start, pss_mb(scheduler), pss_mb(process.pid)))
                ended, _, _ = select.select([process.stdout], [], [], PERIOD)
            assert process.stdout.readline() == "done\n", "the client process failed"
            seconds = time.monotonic() - start
            process.stdin.write("end\n")
    return {"feed": feed, "samples": samples, "seconds": seconds}


def _draw(axes: Any, runs: list[dict[str, Any]]) -> None:
    for run in runs:
        times, scheduler, client = zip(*run["samples"], strict=True)
        colour = COLOURS[run["feed"]]
        axes.plot(times, scheduler, color=colour, linewidth=2, label=f"{run['feed']}: scheduler")
        axes.plot(times, client, color=colour, linewidth=1.2, linestyle="--", label=f"{run['feed']}: client")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(color=GRID)
    axes.set_xlabel("seconds")
    axes.set_ylabel("proportional set size, MB")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


PICTURE = Picture(
    "dask-memory",
    "",
    "Memory of the Dask scheduler and of its client over time, with for_dask and with client.map",
    _draw,
    (7.5, 3.6),
)


def body(runs: list[dict[str, Any]], count: int) -> str:
    """Return what the page says of it."""
    rows = []
    for run in runs:
        _, scheduler, client = zip(*run["samples"], strict=True)
        numbers = [scheduler[0], max(scheduler), client[0], max(client)]
        rows.append([run["feed"], *(f"{one:,.1f}" for one in numbers), f"{count / run['seconds']:,.0f}"])
    head = ["", "scheduler at the start, MB", "at its peak", "client at the start, MB", "at its peak"]
    text = (
        f"{count:,} tasks that do nothing are given to two workers with one thread each: by `submit` of "
        f"`BoundedExecutor.for_dask(client, queue_size={QUEUE_SIZE:,})`, whose futures are dropped and whose "
        "results are counted by a callback, and by `client.gather(client.map(...))`. Sampled is the "
        f"proportional set size of the scheduler's process and of the client's, each {PERIOD} seconds.\n\n"
        f"![{PICTURE.alt}](images/{PICTURE.name}.svg)\n\n"
    )
    return text + dask_page.table([*head, "tasks per second"], rows)


def main() -> None:
    """Measure, print the table, and write the page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--feed", nargs="+", choices=FEEDS, default=list(FEEDS))
    parser.add_argument("--write", nargs="?", type=Path, const=dask_page.DOCS, metavar="FOLDER")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep all measurements")
    parser.add_argument("--load", type=Path, metavar="FILE", help="take what was saved, and measure nothing")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    options = parser.parse_args()
    dask_page.find_work()
    if options.only:
        run_client(options.only, options.address, options.tasks)
        return
    kept = json.loads(options.load.read_text()) if options.load else _measure(options.feed, options.tasks)
    if options.save:
        options.save.write_text(json.dumps(kept))
    text = body(kept["runs"], kept["tasks"])
    print(text)
    if options.write:
        PICTURE.save(kept["runs"], _images(options.write) / f"{PICTURE.name}.svg")
        dask_page.write(options.write, TITLE, text, kept["facts"])


def _measure(feeds: Sequence[str], count: int) -> dict[str, Any]:
    command = "python tests/benchmarks/dask_memory.py"
    command += "" if count == TASKS else f" --tasks {count}"
    facts = dask_page.gather(f"{command} --write", 1)
    start = time.monotonic()
    runs = []
    for feed in feeds:
        runs.append(measure(feed, count))
        print(f"{feed}: {runs[-1]['seconds']:.0f} s", file=sys.stderr, flush=True)
    dask_page.finish(facts, time.monotonic() - start)
    return {"tasks": count, "facts": facts, "runs": runs}


def _images(folder: Path) -> Path:
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    return images


if __name__ == "__main__":
    main()
