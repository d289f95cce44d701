"""What a long run has to get through: processes killed by hundreds, and the program that is killed itself."""

from __future__ import annotations

import fcntl
import os
import random
import re
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import faults
import pytest
import tasks
import tree
from helpers import (
    PACKAGE_ROOT,
    PATIENCE,
    SPAWNED,
    assert_all_free,
    marked_processes,
    script_environment,
    start_script,
    wait_until,
)

from bounded_executor import BoundedProcessPoolExecutor, TerminatedWorkerError

SEED = 20250607


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


# Tasks that kill their own process.


def run_and_maybe_die(log: str, number: int, rest: float | None) -> int:
    faults.count_run(log, number)
    if rest is not None:
        time.sleep(rest)
        tasks.kill_self()
    return 2 * number


@pytest.mark.parametrize("limit", [None, 50], ids=["lasting", "recycling"])
def test_tasks_that_kill_their_process_fail_and_no_other_does(tmp_path: Path, limit: int | None) -> None:
    # Where each process takes long to start, fewer are killed.
    count = 1_000 if SPAWNED else 10_000
    draw = random.Random(SEED)
    log = str(tmp_path / "runs")
    dying = {number: draw.uniform(0.0, 0.005) for number in draw.sample(range(count), count // 100)}
    with BoundedProcessPoolExecutor(2, queue_size=100, max_tasks_per_child=limit) as ex:
        futures = [ex.submit(run_and_maybe_die, log, number, dying.get(number)) for number in range(count)]
        for number, future in enumerate(futures):
            if number in dying:
                assert type(future.exception(PATIENCE)) is TerminatedWorkerError
            else:
                assert future.result(PATIENCE) == 2 * number
        assert sorted(map(int, tasks.notes(log))) == list(range(count))
        assert ex.stats().children_crashed == len(dying)
        assert_all_free(ex)


# Processes that are killed from outside.


class Killer:
    """Kills one process each time when so many more tasks are done, supervisors in one of ten cases.

    It goes by the tasks and not by the clock: processes that are killed faster than any of them can run
    a task rightly break an executor.
    """

    def __init__(self, kills: int, every: int, share_of_supervisors: float) -> None:
        draw = random.Random(SEED)
        weights = (share_of_supervisors, 1 - share_of_supervisors)
        self.roles = draw.choices(["supervisors", "children"], weights, k=kills)
        self.done: Counter[str] = Counter()
        self._every = every
        self._draw = draw

    def look(self, finished: int) -> None:
        """Kill what is due when so many tasks are done."""
        while self.roles and finished >= (sum(self.done.values()) + 1) * self._every:
            victim = tree.pick(self._draw, self.roles[-1])
            if victim is None or not tree.kill(victim):
                return
            self.done[self.roles.pop()] += 1


@pytest.mark.parametrize(
    ("count", "kills", "supervisors"),
    [
        (2_000, 5 if SPAWNED else 20, 0.1),
        (1_000, 2 if SPAWNED else 5, 1.0),
        slow(100_000, 1_000, 0.1),
        slow(20_000, 100, 1.0),
    ],
    ids=["short", "short supervisors", "long", "long supervisors"],
)
def test_processes_that_are_killed_lose_no_task(
    tmp_path: Path, count: int, kills: int, supervisors: float
) -> None:
    log = str(tmp_path / "runs")
    killer = Killer(kills, count // (kills + 1), supervisors)
    wrong: list[tuple[int, BaseException | None]] = []
    finished = threading.Semaphore(0)

    def check(number: int, future: Future[Any]) -> None:
        if future.exception() is not None or future.result()[0] != number:
            wrong.append((number, future.exception()))
        finished.release()

    began = time.monotonic()
    done = 0
    with BoundedProcessPoolExecutor(2, queue_size=200, task_retries=10) as ex:
        for number in range(count):
            ex.submit(faults.work, log, number).add_done_callback(lambda f, n=number: check(n, f))
            while finished.acquire(blocking=False):
                done += 1
            killer.look(done)
        while done < count:
            assert finished.acquire(timeout=PATIENCE), f"{count - done} tasks hang"
            done += 1
            killer.look(done)
        assert not wrong
        runs = Counter(map(int, tasks.notes(log)))
        assert runs.keys() == set(range(count))
        # Each child costs one run at most, each supervisor two, as there are two workers.
        assert sum(runs.values()) - count <= killer.done["children"] + 2 * killer.done["supervisors"]
        assert sum(killer.done.values()) == kills
        assert_all_free(ex)
    # Five minutes are what is promised.
    assert SPAWNED or time.monotonic() - began < 300


BUSY = """
    import itertools, sys, faults, tasks
    from bounded_executor import BoundedProcessPoolExecutor

    log = sys.argv[1]
    with BoundedProcessPoolExecutor(2, queue_size=20, max_tasks_per_child=20) as ex:
        tasks.in_thread(lambda: (tasks.await_marks(log, 100), print("ready", flush=True)))
        for _ in ex.map(tasks.mark, itertools.repeat(log)):
            pass
"""


@pytest.mark.parametrize("times", [3, slow(100)])
def test_a_parent_that_is_killed_in_a_busy_run_leaves_no_process_behind(tmp_path: Path, times: int) -> None:
    draw = random.Random(SEED)
    for turn in range(times):
        mark = uuid.uuid4().hex
        with start_script(BUSY, tmp_path / f"log-{turn}", KILLED=mark) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                assert len(marked_processes("KILLED", mark)) >= 4
                time.sleep(draw.uniform(0.0, 0.1))
                assert process.poll() is None
            finally:
                process.kill()
        # Five seconds are what is promised.
        wait_until(lambda mark=mark: not marked_processes("KILLED", mark), "the end of all processes", 5.0)


# Ctrl-C in a terminal.

CRAWL = PACKAGE_ROOT / "docs" / "examples" / "crawl.py"
PROGRESS = re.compile(rb"([0-9,]+) of [0-9,]+ pages")


def take_terminal() -> None:
    """In a new process, whose standard input is the terminal: make it the one that Ctrl-C goes to."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.skipif(not CRAWL.exists(), reason="the documentation is not installed with the package")
@pytest.mark.parametrize("use", ["submit", "map"])
def test_ctrl_c_at_a_terminal_ends_a_busy_crawl(use: str) -> None:
    mark = uuid.uuid4().hex
    screen = bytearray()
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, str(CRAWL), "--pages", "1000000", "--workers", "6", "--use", use],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=script_environment(PRESSED=mark),
        preexec_fn=take_terminal,
    )
    os.close(theirs)
    reader = threading.Thread(target=read_all, args=(ours, screen))
    reader.start()
    try:
        # The line of progress comes once a second.
        wait_until(lambda: any(n != b"0" for n in PROGRESS.findall(bytes(screen))), "pages")
        assert len(marked_processes("PRESSED", mark)) >= 6
        os.write(ours, b"\x03")
        # Two seconds are what is promised.
        status = process.wait(2.0)
    finally:
        process.kill()
        process.wait()
        reader.join(PATIENCE)
        os.close(ours)
    assert status == 130, bytes(screen)
    shown = bytes(screen).decode(errors="replace")
    assert "interrupted" in shown
    assert "Traceback" not in shown, shown
    assert "Error" not in shown, shown
    wait_until(lambda: not marked_processes("PRESSED", mark), "the end of all processes", 5.0)


def read_all(fd: int, into: bytearray) -> None:
    """Read a terminal until nobody has it open any more."""
    try:
        while data := os.read(fd, 65536):
            into += data
    except OSError:
        pass
