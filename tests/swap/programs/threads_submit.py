# start methods: fork spawn
# slow: others tell more of the same
"""Threads of the main process share the executor; tasks use threads and subprocesses."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from pool import Executor

lock = threading.Lock()
parts = []


def part(number):
    with lock:
        parts.append(number)
    return number


def split(number):
    with ThreadPoolExecutor(3) as threads:
        return sum(threads.map(part, range(number)))


def shell(text):
    command = [sys.executable, "-c", f"print({text!r})"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    with Executor(max_workers=2) as executor, ThreadPoolExecutor(4) as threads:
        # The first task from here: the standard library must not fork beside running threads.
        print(executor.submit(split, 4).result())
        print(sorted(threads.map(lambda number: executor.submit(split, number).result(), range(6))))
        print(executor.submit(shell, "from below").result(), end="")
