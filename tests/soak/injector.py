"""Kills and stops processes of an executor, and this program, at random, and keeps count."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import threading
from typing import Any

import tree
from tally import Tally

KINDS = {
    "child killed": 50,
    "child stopped and killed": 12,
    "child stopped for a moment": 20,
    "supervisor killed": 7,
    "supervisor stopped for a moment": 4,
    "keeper killed": 2,
    "program stopped for a moment": 5,
}
# Processes that end faster than any can run a task rightly break an executor.
TASKS_BETWEEN = 50
# How long a stop lasts, in seconds: mostly short.
MOMENTS = (0.02, 0.2, 0.2, 0.5, 1.0, 2.0)
# A program that is stopped cannot let itself go on.
STOP_PROGRAM = 'kill -STOP "$1"; sleep "$2"; kill -CONT "$1"'


class Injector(threading.Thread):
    """Goes on until told to stop.

    Args:
        ex: the executor, all of whose processes are this program's only ones.
        workers: tasks that it runs at once.
        draw: decides what and when.
        tally: counts each fault under ``injected``.

    Attributes:
        cost: how many tasks these faults may have lost at most.
        stops: how many children were stopped for a moment, and so may have run into a time limit.
    """

    def __init__(self, ex: Any, workers: int, draw: random.Random, tally: Tally) -> None:
        super().__init__(name="injector", daemon=True)
        self.cost = 0
        self.stops = 0
        self._ex = ex
        self._workers = workers
        self._draw = draw
        self._tally = tally
        self._stop_now = threading.Event()

    def stop(self) -> None:
        """Inject no more, and let go on what is stopped."""
        self._stop_now.set()
        self.join()

    def run(self) -> None:
        next_at = TASKS_BETWEEN
        while not self._stop_now.wait(self._draw.uniform(0.0, 0.15)):
            stats = self._ex.stats()
            if stats.succeeded + stats.failed < next_at:
                continue
            self._inject(self._draw.choices(list(KINDS), list(KINDS.values()))[0])
            stats = self._ex.stats()
            next_at = stats.succeeded + stats.failed + TASKS_BETWEEN

    def _inject(self, kind: str) -> None:
        who, _, what = kind.partition(" ")
        if who == "program":
            seconds = self._draw.choice(MOMENTS)
            subprocess.run(["/bin/sh", "-c", STOP_PROGRAM, "sh", str(os.getpid()), str(seconds)], check=True)
            self._tally.add(f"injected {kind}")
            return
        victim = tree.pick(self._draw, {"child": "children"}.get(who, f"{who}s"))
        if victim is None:
            return
        # Before, so that no task is lost that is not accounted for yet.
        if "killed" in what:
            self.cost += 1 if who == "child" else self._workers
        if what == "stopped for a moment":
            self.stops += who == "child"
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGSTOP)
                self._stop_now.wait(self._draw.choice(MOMENTS))
                os.kill(victim, signal.SIGCONT)
        else:
            tree.kill(victim, stop_first="stopped" in what)
        self._tally.add(f"injected {kind}")
