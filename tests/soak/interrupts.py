"""A producer on the main thread that a signal handler interrupts by an exception, at any moment.

Only the main thread runs signal handlers. An interrupted call may have done what it was to do or not, and
what it returned is lost; but the executor must go on, and nothing may leak.
"""

from __future__ import annotations

import concurrent.futures._base
import logging
import math
import random
import signal
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import jobs
from producers import MapCheck, Producer, Scene
from tally import Tally
from watchdog import HUNG_SECONDS

from bounded_executor import BrokenProcessPool

# From when an act begins until the handler raises, in seconds.
SOONEST, LATEST = 0.0002, 0.02
# A shutdown that takes longer than that would never end.
MOST_SHUTDOWNS = 30

# Python's own code that takes locks in a way that loses them when it is interrupted there. No library can
# help that, and the standard library's futures are what users hold.
FRAGILE = (concurrent.futures._base.__file__, logging.__file__, "<frozen importlib._bootstrap>")


class Interrupted(Exception):
    """Raised by the handler."""


class InterruptedHard(BaseException):
    """Raised by the handler, and by no ``except Exception`` caught."""


def is_interruption(error: BaseException) -> bool:
    """Return whether an error is one of the handler's, or has come of one."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (Interrupted, InterruptedHard)):
            return True
        if one is not None and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
    return False


class Interrupts:
    """Interrupts what the main thread does, each act at most once.

    Args:
        draw: decides when.
        tally: counts it.
    """

    def __init__(self, draw: random.Random, tally: Tally) -> None:
        self._draw = draw
        self._tally = tally
        self._armed = False
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        self._before = signal.signal(signal.SIGALRM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGALRM, self._before)

    def attempt(self, act: Callable[[], Any], *, calm: bool = False) -> tuple[bool, Any]:
        """Do something, and be interrupted in the middle of it, or not.

        Args:
            act: only code of the executor: what is done here must not be interrupted.
            calm: no signal comes. An interruption of before may still have left an error behind.

        Returns:
            Whether it came to its end, and what it returned.
        """
        # As many soon as late.
        seconds = math.exp(self._draw.uniform(math.log(SOONEST), math.log(LATEST)))
        try:
            try:
                self._armed = not calm
                if not calm:
                    signal.setitimer(signal.ITIMER_REAL, seconds)
                value = act()
            finally:
                self._armed = False
                signal.setitimer(signal.ITIMER_REAL, 0)
            return True, value
        except BrokenProcessPool:
            raise
        except BaseException as error:
            if not is_interruption(error):
                raise
        self._tally.add("interrupted calls")
        return False, None

    def _handle(self, _: int, frame: FrameType | None) -> None:
        if not self._armed:
            return
        if _is_fragile(frame):
            signal.setitimer(signal.ITIMER_REAL, SOONEST)
            return
        self._armed = False
        raise (Interrupted if self._draw.random() < 0.7 else InterruptedHard)("by a signal")


def _is_fragile(frame: FrameType | None) -> bool:
    """Return whether an exception here would harm what no library can mend."""
    in_lock = False
    at_top = True
    while frame is not None:
        code = frame.f_code
        if code.co_name == "__del__":
            # It would reach nobody, and what was to be done would never be.
            return True
        if at_top and code.co_filename == threading.__file__:
            in_lock = True
        elif at_top:
            at_top = False
            if code.co_filename in FRAGILE and (in_lock or code.co_filename != FRAGILE[0]):
                return True
        frame = frame.f_back
    return False


class MainProducer(Producer):
    """To be run by the main thread, by calling :meth:`run`."""

    def __init__(self, scene: Scene, draw: random.Random, interrupts: Interrupts) -> None:
        super().__init__("interrupted", scene, draw)
        self._interrupts = interrupts

    def interrupted(self) -> None:
        """Submit, cancel, fetch and iterate, with a signal in the middle of anything."""
        if self._draw.random() < 0.5:
            self._submit_some()
        else:
            self._iterate()

    def _submit_some(self) -> None:
        attempt = self._interrupts.attempt
        waiting: list[tuple[int, str, Any, bool]] = []
        for _ in range(self._draw.randint(1, 40)):
            number, kind, along = self._call()
            done, future = attempt(partial(self._ex.submit, jobs.job, number, kind, along))
            if done:
                self._tally.add("accepted")
                waiting.append((number, kind, future, self._draw.random() < 0.3))
        for _, _, future, cancels in waiting:
            if cancels:
                attempt(future.cancel)
        for number, kind, future, cancels in waiting:
            if self._draw.random() < 0.5:
                # What it raises is looked at below.
                with suppress(Exception, SystemExit):
                    attempt(partial(future.result, HUNG_SECONDS))
            self._check_calmly(number, kind, future, cancels)

    def _check_calmly(self, number: int, kind: str, future: Any, cancels: bool) -> None:
        try:
            done, result = self._interrupts.attempt(partial(future.result, HUNG_SECONDS), calm=True)
        except CancelledError:
            if cancels:
                self._tally.add("cancelled")
            else:
                self._tally.complain("lost", f"a {kind} task was cancelled by nobody")
        except BaseException as error:
            if not future.done():
                self._tally.complain("hung", f"a {kind} task has no outcome")
            else:
                self._check_error(kind, error)
        else:
            if done:
                self._check_result(number, kind, result)

    def _iterate(self) -> None:
        attempt = self._interrupts.attempt
        most = max(5, self._scene.most // 8)
        numbers = jobs.plan(self._draw, self._scene.log.idents(jobs.most_items(most)), most)
        unordered = self._draw.random() < 0.5
        check = MapCheck(numbers, unordered, self._tally)
        done, results = attempt(partial(self._ex.map, jobs.item, numbers, unordered=unordered))
        if not done:
            return
        end = self._draw.randrange(len(numbers)) if self._draw.random() < 0.3 else None
        try:
            while check.got != end and not self._stop_now.is_set():
                # Mostly not, or no map would come far.
                calm = self._draw.random() < 0.9
                try:
                    done, result = attempt(partial(next, results), calm=calm)
                except StopIteration:
                    check.end()
                    return
                if done:
                    check.look(result)
                else:
                    check.gaps = True
        except (BrokenProcessPool, TimeoutError) as error:
            self._check_error("good", error)
        finally:
            attempt(results.close)
            attempt(results.close, calm=True)

    def shut_down(self) -> None:
        """Shut the executor down, interrupted and tried again; the last time calmly."""
        for _ in range(self._draw.randint(0, MOST_SHUTDOWNS)):
            done, _ = self._interrupts.attempt(self._ex.shutdown)
            if done:
                return
        done = False
        while not done:
            # The error of a map's inputs may be one of the handler's.
            done, _ = self._interrupts.attempt(self._ex.shutdown, calm=True)
