"""Signal handlers that raise in the middle of a call, as those of time-out libraries do."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import tasks
from helpers import PATIENCE, SPAWNED, wait_until

import bounded_executor
from bounded_executor import BoundedProcessPoolExecutor

# What is raised while the interpreter collects an object is reported, and goes no further.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PACKAGE = str(Path(bounded_executor.__file__).parent)


class Interrupt(BaseException):
    pass


class Interrupter:
    """Raises once, at one of the points at which the interpreter runs the handlers of signals.

    These are the beginnings of functions, and the moments after a function that is written in C has
    returned. Only those in this package count. (The interpreter does so too when a loop begins anew.)

    Args:
        point: number of the point, from 0.
    """

    def __init__(self, point: int) -> None:
        self._left = point
        self.raised = False

    def __enter__(self) -> Interrupter:
        sys.setprofile(self._see)
        return self

    def __exit__(self, kind: Any, *_: object) -> bool:
        sys.setprofile(None)
        return kind is Interrupt

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_return" and argument.__name__ == "__enter__":
            # Of a `with` statement, of which Pythons before 3.14 tell nothing here. 3.15 runs no handlers
            # there; 3.14 does, and leaves locks locked, which is its own fault: CPython issue 148874.
            return
        if event in ("call", "c_return") and frame.f_code.co_filename.startswith(PACKAGE):
            self._left -= 1
            if self._left == -1:
                self.raised = True
                raise Interrupt


def interrupted_everywhere(act: Callable[[], object], check: Callable[[], object]) -> int:
    """Do something again and again, interrupted one point later each time; return how many there are."""
    # What is done once only, such as importing, is not of interest.
    act()
    check()
    for point in itertools.count():
        with Interrupter(point) as interrupter:
            act()
        check()
        if not interrupter.raised:
            return point
    raise AssertionError


def nothing_is_held(ex: BoundedProcessPoolExecutor) -> None:
    """All slots are free, no work waits, nothing weighs, and the executor's thread can be woken."""
    wait_until(lambda: ex.stats().unfinished == 0, "all slots are free")
    wait_until(lambda: ex.stats().undelivered == 0, "all callbacks have run")
    # The iterator of a map may have been dropped, and its results are dropped by the executor's thread.
    wait_until(lambda: ex.stats().held_bytes == 0, "nothing weighs")
    assert ex.stats().waiting == 0
    assert ex.submit(tasks.double, 21).result(PATIENCE) == 42


@pytest.fixture
def ex() -> Iterator[BoundedProcessPoolExecutor]:
    with BoundedProcessPoolExecutor(1, queue_size=4) as executor:
        assert executor.submit(tasks.double, 1).result(PATIENCE) == 2
        yield executor


def test_submit_leaks_nothing(ex: BoundedProcessPoolExecutor) -> None:
    assert interrupted_everywhere(lambda: ex.submit(tasks.double, 1), lambda: nothing_is_held(ex)) > 20


def test_a_submit_that_waits_leaks_nothing(ex: BoundedProcessPoolExecutor) -> None:
    def submit_more_than_fit() -> None:
        for _ in range(5):
            ex.submit(time.sleep, 0.002)

    assert interrupted_everywhere(submit_more_than_fit, lambda: nothing_is_held(ex)) > 50


def test_a_submit_that_is_refused_leaks_nothing(ex: BoundedProcessPoolExecutor) -> None:
    def submit_more_than_fit() -> None:
        with contextlib.suppress(bounded_executor.QueueFull):
            for _ in range(5):
                ex.submit_nowait(time.sleep, 0.002)

    assert interrupted_everywhere(submit_more_than_fit, lambda: nothing_is_held(ex)) > 50


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize(("fn", "value"), [(abs, 1), (str, "x" * 1000)])
def test_a_map_leaks_nothing(
    ex: BoundedProcessPoolExecutor, fn: Callable[[Any], Any], value: Any, unordered: bool
) -> None:
    def run() -> None:
        for _ in ex.map(fn, [value] * 9, unordered=unordered):
            pass

    assert interrupted_everywhere(run, lambda: nothing_is_held(ex)) > 100


def test_no_result_of_a_map_is_lost_in_silence(ex: BoundedProcessPoolExecutor) -> None:
    """It comes, or the map ends."""
    for point in itertools.count():
        results = ex.map(tasks.double, range(8), chunksize=4)
        seen = [next(results)]
        with Interrupter(point) as interrupter:
            seen.append(next(results))
        seen += list(results)
        assert seen == [2 * number for number in range(len(seen))]
        nothing_is_held(ex)
        if not interrupter.raised:
            assert len(seen) == 8
            break


def test_cancel_leaks_nothing(ex: BoundedProcessPoolExecutor) -> None:
    def cancel_some() -> None:
        futures = [ex.submit(time.sleep, 0.002) for _ in range(4)]
        for future in futures:
            future.cancel()

    assert interrupted_everywhere(cancel_some, lambda: nothing_is_held(ex)) > 50


@pytest.mark.parametrize("step", [61 if SPAWNED else 13, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cancel_futures", [False, True])
def test_a_shutdown_that_was_interrupted_can_be_repeated(cancel_futures: bool, step: int) -> None:
    """What waits for the end learns of it at the second try, if not at the first."""
    for point in itertools.count(0, step):
        ex = BoundedProcessPoolExecutor(1, queue_size=3)
        futures = [ex.submit(time.sleep, 0.001) for _ in range(3)]
        results = ex.map(tasks.double, range(9))
        with Interrupter(point) as interrupter:
            ex.shutdown(cancel_futures=cancel_futures)
        ended = threading.Thread(target=ex.shutdown, daemon=True)
        ended.start()
        ended.join(PATIENCE)
        assert not ended.is_alive(), f"point {point}"
        assert all(future.done() for future in futures), f"point {point}"
        stats = ex.stats()
        assert (stats.unfinished, stats.waiting, stats.children) == (0, 0, 0), f"point {point}"
        with contextlib.suppress(BaseException):
            assert [*results] == [2 * number for number in range(9)] or cancel_futures
        if not interrupter.raised:
            assert point > 20
            break


def test_no_lock_of_a_future_is_left_locked(ex: BoundedProcessPoolExecutor) -> None:
    """Also where the handler raises in the standard library's code, on the way into its condition."""
    for point in range(400):
        future = ex.submit(tasks.double, 1)
        left = [point]

        def see(frame: FrameType, event: str, _: object, left: list[int] = left) -> None:
            if event in ("call", "c_return") and frame.f_code.co_filename == threading.__file__:
                left[0] -= 1
                if left[0] == -1:
                    raise Interrupt

        with contextlib.suppress(Interrupt, RuntimeError):
            sys.setprofile(see)
            try:
                future.cancel()
                future.done()
                future.add_done_callback(str)
                future.running()
            finally:
                sys.setprofile(None)
        released = threading.Thread(target=lambda future=future: future.done(), daemon=True)
        released.start()
        released.join(PATIENCE)
        assert not released.is_alive(), f"point {point}"
        if left[0] >= 0:
            break
    nothing_is_held(ex)


class Alarm(Exception):
    pass


def test_a_storm_of_alarms(ex: BoundedProcessPoolExecutor) -> None:
    """The real thing: an alarm clock whose handler raises, at any moment."""

    def ring(*_: object) -> None:
        raise Alarm

    def act(number: int) -> None:
        kind = number % 4
        if kind == 0:
            for _ in range(50):
                ex.submit(tasks.double, number)
        elif kind == 1:
            for _ in ex.map(tasks.double, range(200)):
                pass
        elif kind == 2:
            for _ in ex.map(str, ["x" * 100] * 100, unordered=True):
                pass
        else:
            for future in [ex.submit(tasks.double, number) for _ in range(4)]:
                future.cancel()

    before = signal.signal(signal.SIGALRM, ring)
    rung = 0
    try:
        for number in range(1200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + (number % 37) * 0.0001)
                try:
                    act(number)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                rung += 1
            except RuntimeError as error:
                # A lock of the standard library's that was interrupted while it waited.
                assert "release" in str(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rung > 100
    nothing_is_held(ex)
    for _ in range(3):
        assert [*ex.map(tasks.double, range(50))] == [2 * number for number in range(50)]
