"""``python tests/soak --minutes N``: everything at once, with faults, for as long as you like.

Executors of random settings are used by several threads for some seconds each, while their processes are
killed and stopped at random. Every result is checked. A line of progress comes once a minute, and at the
end a summary. The exit status is 0 only if nothing was lost, wrong or hung, and no process was left.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import random
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import jobs
import tasks
from helpers import marked_processes
from injector import Injector
from producers import HUNG_SECONDS, Producer
from tally import BAD, Tally

from bounded_executor import BoundedProcessPoolExecutor

MARK = "BOUNDED_EXECUTOR_SOAK"
ROUND_SECONDS = 12.0
USES = ("bursts", "nowait", "cancels", "callbacks", "ordered", "unordered", "rare")


def main() -> int:
    """Run for the time that was asked for; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python tests/soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="default: a random one")
    options = parser.parse_args()
    mark = os.environ[MARK] = uuid.uuid4().hex
    print(f"seed {options.seed}", flush=True)
    draw = random.Random(options.seed)
    tally = Tally()
    began = time.monotonic()
    end = began + 60 * options.minutes
    watchdog = threading.Thread(target=report, args=(tally, began), daemon=True)
    watchdog.start()
    memory = []
    while time.monotonic() < end or not memory:
        run_round(draw, tally, min(ROUND_SECONDS, max(1.0, end - time.monotonic())))
        # From the first round on, what is imported and allocated once is there.
        memory.append(resident_bytes())
        if tally["hung"]:
            break
    left = left_behind(mark)
    summarize(tally, memory, left, time.monotonic() - began)
    return 1 if tally.bad or left else 0


def settings(draw: random.Random) -> dict[str, Any]:
    """Return the settings of one executor."""
    return {
        "max_workers": draw.randint(2, 4),
        "queue_size": draw.choice((3, 20, 100)),
        "queue_bytes": draw.choice((None, 64 * jobs.MB, jobs.MB)),
        "max_tasks_per_child": draw.choice((None, 1, 20, 200)),
        "max_tasks_jitter": draw.choice((0, 5)),
        "initializer": draw.choice((None, tasks.initialize)),
        "max_memory_per_child": draw.choice((None, jobs.SOFT_LIMIT)),
        "max_memory_hard": jobs.MEMORY_LIMIT,
        "task_timeout": jobs.TASK_TIMEOUT,
        "task_retries": draw.choice((0, 1, 3)),
        "idle_timeout": draw.choice((0, 10)),
    }


def run_round(draw: random.Random, tally: Tally, seconds: float) -> None:
    """Use one executor for some time, end it, and see that it has lost nothing."""
    chosen = settings(draw)
    if not chosen["max_tasks_per_child"]:
        chosen["max_tasks_jitter"] = 0
    under_way = draw.random() < 0.5
    stop = threading.Event()
    lost_before = tally["killed by a fault"]
    ex = BoundedProcessPoolExecutor(**chosen)
    injector = Injector(ex, chosen["max_workers"], random.Random(draw.random()), tally)
    producers = [Producer(use, ex, random.Random(draw.random()), tally, stop) for use in USES]
    for thread in (*producers, injector):
        thread.start()
    stop.wait(seconds)
    injector.stop()
    if under_way:
        # The threads are in the middle of it and are told by an error.
        within(tally, "a shutdown", ex.shutdown)
    stop.set()
    for producer in producers:
        within(tally, producer.name, producer.join)
    within(tally, "a shutdown", ex.shutdown)
    stats = ex.stats()
    tally.add("rounds")
    tally.add("submitted", stats.submitted)
    tally.add("retried", stats.retried)
    tally.add("replaced", stats.children_replaced)
    tally.add("timed out", stats.timed_out)
    missing = stats.submitted - stats.succeeded - stats.failed - stats.cancelled
    if missing or stats.unfinished or stats.children:
        tally.complain("lost", f"at the end of an executor: {stats}", max(1, abs(missing)))
    losses = tally["killed by a fault"] - lost_before
    if losses > injector.cost:
        tally.complain("lost", f"{losses} tasks for {injector.cost} that faults can explain", losses)


def within(tally: Tally, name: str, act: Any) -> None:
    """Do something that may hang, and tell if it does."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(2 * HUNG_SECONDS)
    if thread.is_alive():
        tally.complain("hung", name)
        faulthandler.dump_traceback(all_threads=True)


def report(tally: Tally, began: float) -> None:
    """Print a line once a minute."""
    for minute in range(1, sys.maxsize):
        time.sleep(max(0.0, began + 60 * minute - time.monotonic()))
        faults = sum(tally.named("injected ").values())
        print(
            f"{minute} min: {tally['accepted']:,} tasks, {faults:,} faults, {tally['right']:,} right, "
            f"parent {resident_bytes() / jobs.MB:.1f} MB, "
            + ", ".join(f"{name} {tally[name]}" for name in BAD),
            flush=True,
        )


def summarize(tally: Tally, memory: list[int], left: list[str], seconds: float) -> None:
    rows: list[tuple[str, object]] = [("seconds", f"{seconds:,.0f}"), ("executors", tally["rounds"])]
    rows += [(f"injected: {name}", f"{n:,}") for name, n in tally.named("injected ").items()]
    rows += [(f"failed as expected: {name}", f"{n:,}") for name, n in tally.named("expected ").items()]
    for name in ("submitted", "right", "cancelled", "killed by a fault", "retried", "timed out", "replaced"):
        rows.append((name, f"{tally[name]:,}"))
    rows += [(name, f"{tally[name]:,}") for name in BAD]
    rows.append(("parent's memory after the first executor", f"{memory[0] / jobs.MB:.1f} MB"))
    rows.append(("parent's memory at the end", f"{memory[-1] / jobs.MB:.1f} MB"))
    rows.append(("children left", len(left)))
    for label, value in rows:
        print(f"{label:<42} {value:>14}")
    for line in (*tally.complaints, *left):
        print(line)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def left_behind(mark: str) -> list[str]:
    """Return what runs still, except clean idle processes for as long as they may stay."""
    deadline = time.monotonic() + 15
    while True:
        found = []
        for pid in marked_processes(MARK, mark):
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if "resource_tracker" not in command:
                found.append(f"left behind: {pid} {command:.120}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


if __name__ == "__main__":
    # Threads that hang must not keep the program from ending.
    status = main()
    sys.stdout.flush()
    os._exit(status)
