# start methods: fork spawn
"""Functions name the executor, an open file and a thread, which tasks do not touch."""

import sys
import threading

from pool import Executor


def walk(number, parallel=False):
    if parallel:
        return sum(executor.map(walk, range(number)))
    return number


def report(text, show=False):
    if show:
        print(text, file=out)
        events.set()
    return len(text)


if __name__ == "__main__":
    events = threading.Event()
    out = sys.stdout
    with Executor(max_workers=2) as executor:
        print(walk(5, parallel=True))
        print(executor.submit(report, "four").result())
        report("shown here", show=True)
