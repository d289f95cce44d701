"""An executor that is new, busy or full, with other tasks around one that is to go wrong."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import faults
import tasks
from helpers import PATIENCE, Gate, callers_waiting, wait_until

from bounded_executor import BoundedProcessPoolExecutor, QueueFull

LOADS = ("first", "busy", "full")

SIZE = 8
PRODUCERS = 3
TIMEOUT = 0.5  # of tasks that hang; all others take no time
AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


class Scene:
    """An executor in one of the three states, with other tasks around the one at fault.

    What is to be seen of them in the end: each had its right result and ran once.
    """

    def __init__(self, folder: Path, kind: str, load: str) -> None:
        self.load = load
        self.log = str(folder / "others")
        self.start = Gate(folder)
        # The time limit is for all tasks of an executor, so none is held up where there is one.
        self.sibling = Gate(folder) if load == "busy" and kind != faults.HANG else None
        self.others: list[tuple[int, Future[Any]]] = []
        self.refused: list[BaseException] = []
        self.ex: Any = None
        # An import on a busy machine is not to be taken for a hang.
        limit = {"task_timeout": TIMEOUT, "preload": ("faults",)}
        self._options: dict[str, Any] = limit if kind == faults.HANG else {}
        self._numbers = itertools.count()
        self._producers: list[threading.Thread] = []

    @contextlib.contextmanager
    def executor(self, workers: int = 2, **options: Any) -> Iterator[BoundedProcessPoolExecutor]:
        if self.load == "full":
            # Nothing leaves the queue before it is full, not even by a time limit.
            options.setdefault("initializer", self.start.wait)
        with BoundedProcessPoolExecutor(workers, queue_size=SIZE, **self._options, **options) as self.ex:
            try:
                yield self.ex
            finally:
                self.go()
                if self.sibling is not None:
                    self.sibling.open()
                for producer in self._producers:
                    producer.join(PATIENCE)

    def submit_other(self) -> None:
        number = next(self._numbers)
        self.others.append((number, self.ex.submit(faults.count_run, self.log, number)))

    def ahead(self) -> None:
        """Submit what stands before the task at fault."""
        if self.load == "busy":
            for _ in range(4):
                self.submit_other()
            for number, future in self.others:
                assert future.result(PATIENCE) == number
            if self.sibling is not None:
                self.others.append((-1, self.ex.submit(self.sibling.hold, -1)))
                self.sibling.wait_started(1)
        if self.load != "first":
            self.submit_other()

    def behind(self) -> None:
        """Submit what stands behind it; with ``full``, producers stand there too."""
        if self.load != "full":
            for _ in range(3):
                self.submit_other()
            return
        with contextlib.suppress(QueueFull):
            while True:
                number = next(self._numbers)
                self.others.append((number, self.ex.submit_nowait(faults.count_run, self.log, number)))
        self._producers = [threading.Thread(target=self._produce) for _ in range(PRODUCERS)]
        for producer in self._producers:
            producer.start()
        wait_until(lambda: callers_waiting(self.ex) == PRODUCERS, "blocked producers")

    def _produce(self) -> None:
        try:
            for _ in range(2):
                self.submit_other()
        except BaseException as error:
            self.refused.append(error)

    def go(self) -> None:
        """Let a full queue go."""
        self.start.open()

    def check_others(self) -> None:
        if self.sibling is not None:
            self.sibling.open()
        for producer in self._producers:
            producer.join(PATIENCE)
            assert not producer.is_alive()
        for number, future in self.others:
            assert future.result(PATIENCE) == number
        ran = [number for number, _ in self.others if number >= 0]
        assert sorted(map(int, tasks.notes(self.log))) == sorted(ran)

    def check_refused(self, error: type[BaseException], words: str) -> None:
        """Check that each producer that stood before the full queue was woken with an error of its own."""
        for producer in self._producers:
            producer.join(PATIENCE)
            assert not producer.is_alive()
        assert len({id(one) for one in self.refused}) == len(self._producers)
        for one in self.refused:
            assert type(one) is error
            assert words in str(one)
