# start methods: fork spawn
"""Locks and other things that cannot be pickled are globals of the script."""

import threading
from concurrent.futures import ThreadPoolExecutor

from pool import Executor

LOCK = threading.Lock()
CHANGED = threading.Condition()
SLOTS = threading.BoundedSemaphore(2)
total = 0


def add(amount):
    global total
    with LOCK, SLOTS:
        total += amount


def add_all(amounts):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(add, amounts))
    with CHANGED:
        CHANGED.notify_all()
    return total


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(add_all, range(10)).result())
        print(executor.submit(add_all, range(10)).result())
    print("here:", total)
