"""The end of an executor whose supervisor is busy with an import while a process is to be killed."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from pathlib import Path
from typing import Any

import jobs
from producers import Producer, Scene
from watchdog import HUNG_SECONDS

# How long the import takes, at least and at most.
LEAST_SECONDS, MOST_SECONDS = 3.0, 4.5
# What takes this long is killed before: less than the time limit of a task, or more than it.
SHORT_SECONDS, LONG_SECONDS = 3.5, 60.0
# Between the end of a time limit and SIGKILL the stack is asked for.
GRACE_SECONDS = 1.0


class LateImport(Producer):
    """Has a slow module imported, and a process killed while the supervisor imports it.

    A supervisor imports what tasks have imported: first a process that it starts tries to, then it does so
    itself and answers nothing meanwhile. Tasks in other processes must not notice that it is late.

    Args:
        scene: the executor, which has no other tasks, at least two workers, and maybe a time limit.
        draw: decides.
        folder: a folder on ``sys.path``, for the module.
        limited: the executor has the time limit ``jobs.TASK_TIMEOUT``.

    Attributes:
        ready: set when the executor is to be shut down.
    """

    def __init__(self, scene: Scene, draw: random.Random, folder: str, limited: bool) -> None:
        super().__init__("late_import", scene, draw)
        self.ready = threading.Event()
        self._cancels = not limited or draw.random() < 0.6
        self._seconds = draw.uniform(LEAST_SECONDS, MOST_SECONDS)
        self._name = f"slow_{uuid.uuid4().hex}"
        Path(folder, f"{self._name}.py").write_text(f"import time\n\ntime.sleep({self._seconds})\n")

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.ready.set()

    def late_import(self) -> None:
        """Do all of it, once."""
        self._stop_now.set()
        asyncio.run(self._import_and_kill())

    async def _import_and_kill(self) -> None:
        seconds = self._seconds
        loop = asyncio.get_running_loop()
        began = loop.time()
        importing = await self._submit(jobs.import_slowly, self._name)
        # The supervisor's own import is from twice to three times `seconds` from now.
        if self._cancels:
            kill_at = began + self._draw.uniform(2 * seconds, 3 * seconds - 2.0)
            late = None
        else:
            hang_at = self._draw.uniform(max(0.0, 2 * seconds - jobs.TASK_TIMEOUT), seconds)
            await asyncio.sleep(hang_at)
            late = await self._submit(jobs.nap, LONG_SECONDS)
            kill_at = began + hang_at + jobs.TASK_TIMEOUT + GRACE_SECONDS
        await self._look(*importing)
        await asyncio.sleep(kill_at - 0.5 - loop.time())
        victim = await self._submit(jobs.nap, LONG_SECONDS, cancel_running=True) if self._cancels else None
        others = [await self._submit(jobs.nap, SHORT_SECONDS) for _ in range(self._ex._max_workers - 1)]
        await asyncio.sleep(kill_at - 0.2 - loop.time())
        self.ready.set()
        await asyncio.sleep(kill_at - loop.time())
        if victim is not None:
            victim[1].cancel()
        for one in others:
            await self._look(*one)
        if late is not None:
            await self._look(*late, kind="hang")
        self._tally.add("imports during a shutdown")

    async def _submit(self, act: Any, what: Any, **options: Any) -> tuple[int, asyncio.Future[Any]]:
        number = jobs.pack(self._scene.log.ident(), "int")
        return number, await self._ex.asubmit(act, number, what, **options)

    async def _look(self, number: int, future: asyncio.Future[Any], kind: str = "good") -> None:
        await asyncio.wait([future], timeout=HUNG_SECONDS)
        if not future.done():
            self._tally.complain("hung", f"a {kind} task beside a slow import")
        elif future.cancelled():
            self._tally.complain("lost", f"a {kind} task beside a slow import was cancelled by nobody")
        elif (error := future.exception()) is not None:
            if type(error).__name__ == jobs.ERRORS.get(kind):
                self._tally.add(f"expected {type(error).__name__}")
            else:
                # Nothing was injected that could explain it.
                self._tally.complain("lost", f"a {kind} task beside a slow import: {error!r}")
        elif future.result() != number or kind != "good":
            self._tally.complain("wrong", f"a {kind} task beside a slow import gave {future.result()!r}")
        else:
            self._tally.add("right")
