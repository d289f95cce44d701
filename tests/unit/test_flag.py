"""The event that waiting callers may be interrupted in."""

from __future__ import annotations

import itertools
import threading
import time

from helpers import PATIENCE, wait_until
from test_interruptions import Interrupter

from bounded_executor._flag import Flag


def test_waiting_ends_when_it_is_set_and_when_the_time_is_over() -> None:
    flag = Flag()
    assert not flag.is_set()
    assert not flag.wait(0)
    assert not flag.wait(0.01)
    threads = [threading.Thread(target=flag.wait, daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(flag._waiters) == 5)
    flag.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert flag.wait()
    flag.clear()
    assert not flag.wait(0)


def test_an_interrupted_wait_or_set_leaves_nothing_locked() -> None:
    for point in itertools.count():
        flag = Flag()
        setter = threading.Timer(0.001, flag.set)
        setter.start()
        with Interrupter(point) as interrupter:
            flag.wait(PATIENCE)
        setter.join(PATIENCE)
        assert not setter.is_alive()
        assert not flag._waiters
        with Interrupter(point):
            flag.set()
        flag.set()
        began = time.monotonic()
        assert flag.wait(PATIENCE)
        assert time.monotonic() - began < PATIENCE
        if not interrupter.raised:
            break
