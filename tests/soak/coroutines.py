"""A producer on an event loop of its own, which stalls, cancels, and leaves coroutines behind."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Coroutine
from concurrent import futures
from typing import Any

import jobs
from producers import MapCheck, Producer, Stall
from watchdog import HUNG_SECONDS

# What asyncio logs about a loop that was closed too early, as some of these are.
LEFT_BEHIND = ("Task was destroyed", "Task exception was never", "Future exception was never")


class CoroutineProducer(Producer):
    """One thread that runs one event loop after the other."""

    def coroutines(self) -> None:
        """Run a loop to its end, or close it with coroutines in the middle of what they do."""
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(self._on_loop_error)
        leaves = self._scene.drops and self._draw.random() < 0.3
        life: asyncio.Task[None] | None = loop.create_task(self._live())
        try:
            if leaves:
                loop.call_later(self._draw.uniform(0.02, 0.8), loop.stop)
                loop.run_forever()
                self._tally.add("loops closed too early")
                if life.done():
                    life.result()
            else:
                loop.run_until_complete(life)
        finally:
            loop.close()
            life = None
            if leaves:
                gc.collect()

    def _on_loop_error(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not context["message"].startswith(LEFT_BEHIND):
            self._tally.complain("wrong", f"{self.name}: {context['message']}: {context.get('exception')!r}")

    async def _live(self) -> None:
        """Use the executor from many coroutines at once."""
        each: list[Coroutine[Any, Any, None]] = [self._call_one() for _ in range(self._draw.randint(1, 40))]
        each += [self._iterate() for _ in range(self._draw.randint(0, 2))]
        each.append(self._stall())
        tasks = [asyncio.ensure_future(one) for one in each]
        done, pending = await asyncio.wait(tasks, timeout=HUNG_SECONDS)
        if pending:
            self._tally.complain("hung", f"{len(pending)} coroutines", len(pending))
        errors = [task.exception() for task in done if not task.cancelled()]
        error = next((one for one in errors if one is not None), None)
        if error is not None:
            raise error

    async def _stall(self) -> None:
        """Have the event loop stand still now and then."""
        for _ in range(self._draw.randint(0, 4)):
            await asyncio.sleep(self._draw.uniform(0.0, 0.1))
            time.sleep(self._draw.uniform(0.05, 0.3))

    async def _call_one(self) -> None:
        """Submit one call, and cancel it in the line, before it runs, while it runs, or not at all."""
        await asyncio.sleep(self._draw.uniform(0.0, 0.05))
        number, kind, along = self._call()
        kills = self._draw.random() < 0.3
        submitted = asyncio.ensure_future(
            self._ex.asubmit(jobs.job, number, kind, along, cancel_running=kills)
        )
        if self._draw.random() < 0.2:
            await asyncio.wait([submitted], timeout=self._draw.uniform(0.0, 0.02))
            submitted.cancel()
        await asyncio.wait([submitted])
        if submitted.cancelled():
            self._tally.add("cancelled in the line")
            return
        future = submitted.result()
        self._tally.add("accepted")
        cancels = self._draw.random() < 0.4
        if cancels:
            await asyncio.wait([future], timeout=self._draw.uniform(0.0, 0.05))
            if self._draw.random() < 0.2:
                # Meanwhile the loop does not hear of anything.
                time.sleep(self._draw.uniform(0.05, 0.3))
            future.cancel()
        await asyncio.wait([future], timeout=HUNG_SECONDS)
        if not future.done():
            self._tally.complain("hung", f"a {kind} task has no outcome for its coroutine")
        elif future.cancelled():
            if cancels:
                self._tally.add("cancelled")
            else:
                self._tally.complain("lost", f"a {kind} task of a coroutine was cancelled by nobody")
        elif (error := future.exception()) is not None:
            self._check_error(kind, error)
        else:
            self._check_result(number, kind, future.result())

    async def _iterate(self) -> None:
        """Go through a map, and leave it in one of the ways that there are."""
        most = self._scene.most // 20
        numbers = jobs.plan(self._draw, self._scene.log.idents(jobs.most_items(most)), most)
        unordered = self._draw.random() < 0.5
        check = MapCheck(numbers, unordered, self._tally)
        results = self._ex.amap(
            jobs.item,
            numbers,
            unordered=unordered,
            buffersize=self._draw.choice((None, 2, 10)),
            cancel_running=self._draw.random() < 0.3,
        )
        end = self._draw.randrange(len(numbers)) if self._draw.random() < 0.4 else None
        iteration = asyncio.ensure_future(self._go_through(results, check, end))
        cancels = self._draw.random() < 0.2
        await asyncio.wait([iteration], timeout=self._draw.uniform(0.0, 0.5) if cancels else 2 * HUNG_SECONDS)
        if cancels:
            iteration.cancel()
            await asyncio.wait([iteration], timeout=HUNG_SECONDS)
        if not iteration.done():
            self._tally.complain("hung", f"a map of coroutines after {check.got} of {len(numbers)} results")
        elif not iteration.cancelled():
            iteration.result()
        elif not cancels:
            self._tally.complain("lost", "a map of a coroutine was cancelled by nobody")
        await results.aclose()

    async def _go_through(self, results: Any, check: MapCheck, end: int | None) -> None:
        stall = Stall(self._draw, self._stop_now)
        try:
            async for result in results:
                check.look(result)
                if check.got == end or self._stop_now.is_set():
                    return
                seconds = stall.seconds()
                if seconds:
                    await asyncio.sleep(seconds)
        except (futures.BrokenExecutor, TimeoutError, asyncio.TimeoutError) as error:
            self._check_error("good", error)
        else:
            check.end()
