"""The tasks that are measured."""

from __future__ import annotations

import os
import time


def give(value: object) -> object:
    """Return the input."""
    return value


def nothing(number: int) -> int:
    """Return 0, whatever the input."""
    return 0


def size(data: bytes) -> int:
    """Return the length of the input."""
    return len(data)


def sleep_1_ms(number: int) -> int:
    """Sleep for 1 ms."""
    time.sleep(0.001)
    return number


def sleep_5_ms(number: int) -> int:
    """Sleep for 5 ms."""
    time.sleep(0.005)
    return number


def sleep_10_ms(number: int) -> int:
    """Sleep for 10 ms, as a task does that waits for a disk or a network."""
    time.sleep(0.01)
    return number


def sleep_20_ms(number: int) -> int:
    """Sleep for 20 ms."""
    time.sleep(0.02)
    return number


def whoami(seconds: float) -> int:
    """Return the process id, late enough for every other worker to get a task as well."""
    time.sleep(seconds)
    return os.getpid()
