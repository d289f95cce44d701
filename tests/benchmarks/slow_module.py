"""A module that takes 300 ms of processor time to import, as large libraries do."""

from __future__ import annotations

import time

IMPORT_SECONDS = 0.3

# Processor time and not a sleep: importing is work, for which the workers compete.
_end = time.thread_time() + IMPORT_SECONDS
while time.thread_time() < _end:
    pass


def sleep_10_ms(number: int) -> int:
    """Sleep for 10 ms."""
    time.sleep(0.01)
    return number
