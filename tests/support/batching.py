"""Calls that a worker is given in one message, and what has become of each."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import tasks
from helpers import PATIENCE, Gate, assert_all_free, wait_until

from bounded_executor import BoundedProcessPoolExecutor
from bounded_executor._core import batching

act = functools.partial


class Batch:
    """Has members travel together in an executor that has one worker.

    ``tasks.member`` is short by its average, and the worker is held until all calls wait.
    """

    def __init__(self, ex: BoundedProcessPoolExecutor, folder: Path) -> None:
        self.ex = ex
        self.log = ""
        self._folder = folder
        self._numbers = itertools.count()
        self._logs: list[str] = []

    def submit(self, acts: list[Any]) -> list[Future[Any]]:
        return self.behind_a_gate(
            lambda: [self.ex.submit(tasks.member, self.log, number, act) for number, act in enumerate(acts)],
            len(acts),
        )

    def map(self, acts: list[Any], **options: Any) -> Iterator[Any]:
        logs = itertools.repeat(self.log_for(len(acts)))
        return self.behind_a_gate(
            lambda: self.ex.map(tasks.member, logs, itertools.count(), acts, **options), len(acts), new=False
        )

    def log_for(self, count: int) -> str:
        """Begin a new log, with an average that lets so many members travel together."""
        self.log = str(self._folder / f"log-{next(self._numbers)}")
        self._logs.append(self.log)
        wait_until(lambda: self._warm(count), "members are short")
        return self.log

    def _warm(self, count: int) -> bool:
        for future in [self.ex.submit(tasks.member, self.log, -1) for _ in range(20)]:
            future.result(PATIENCE)
        seconds = self.ex._core.backend.codec.for_map(tasks.member).seconds
        return seconds is not None and 2 * count * seconds < batching.BATCH_SECONDS

    def behind_a_gate(self, call: Callable[[], Any], count: int, new: bool = True) -> Any:
        """Return what ``call`` does, which has been done before the worker is let go."""
        if new:
            self.log_for(count)
        with Gate(self._folder) as gate:
            held = self.ex.submit(tasks.hold_member, self.log, -1, gate)
            gate.wait_started(1)
            called = call()
        assert held.result(PATIENCE) == -1
        return called

    def runs(self) -> list[int]:
        """Members of the last batch in the order in which they were begun."""
        return [number for number, _ in self._notes(self.log) if number >= 0]

    def pids(self) -> list[int]:
        """Process ids of the members of the last batch."""
        return [pid for number, pid in self._notes(self.log) if number >= 0]

    def counts(self) -> Counter[int]:
        """How many tasks each process has run since this was made."""
        return Counter(pid for log in self._logs for _, pid in self._notes(log))

    def last_pid(self) -> int:
        return self._notes(self.log)[-1][1]

    @staticmethod
    def _notes(log: str) -> list[tuple[int, int]]:
        pairs = [line.partition(":") for line in tasks.notes(log)]
        return [(int(number), int(pid)) for number, _, pid in pairs]


def at(place: int, what: Any, count: int = 6) -> list[Any]:
    """Members of which only one does something."""
    return [what if number == place else None for number in range(count)]


def assert_nothing_left(ex: BoundedProcessPoolExecutor) -> None:
    """Every slot and byte has been given back, and each task counted once."""
    assert_all_free(ex)
    wait_until(lambda: ex.stats().unfinished == 0, "all slots free")
    stats = ex.stats()
    assert stats.submitted == stats.succeeded + stats.failed + stats.cancelled
    assert stats.waiting == stats.held_bytes == 0
