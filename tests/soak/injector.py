"""Kills and stops processes of an executor at random, and keeps count."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
from typing import Any

import tree
from tally import Tally

KINDS = {
    "child killed": 60,
    "child stopped and killed": 15,
    "child stopped for a moment": 15,
    "supervisor killed": 8,
    "keeper killed": 2,
}
# Processes that end faster than any can run a task rightly break an executor.
TASKS_BETWEEN = 50
MOMENT = 0.2


class Injector(threading.Thread):
    """Goes on until told to stop.

    Args:
        ex: the executor, all of whose processes are this program's only ones.
        workers: tasks that it runs at once.
        draw: decides what and when.
        tally: counts each fault under ``injected``.

    Attributes:
        cost: how many tasks these faults may have lost at most.
    """

    def __init__(self, ex: Any, workers: int, draw: random.Random, tally: Tally) -> None:
        super().__init__(name="injector", daemon=True)
        self.cost = 0
        self._ex = ex
        self._workers = workers
        self._draw = draw
        self._tally = tally
        self._stop_now = threading.Event()

    def stop(self) -> None:
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
        role = {"child": "children", "supervisor": "supervisors", "keeper": "keepers"}[kind.split()[0]]
        victim = tree.pick(self._draw, role)
        if victim is None:
            return
        # Before, so that no task is lost that is not accounted for yet.
        if "killed" in kind:
            self.cost += 1 if role == "children" else self._workers
        if kind == "child stopped for a moment":
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGSTOP)
                self._stop_now.wait(MOMENT)
                os.kill(victim, signal.SIGCONT)
        else:
            tree.kill(victim, stop_first="stopped" in kind)
        self._tally.add(f"injected {kind}")
