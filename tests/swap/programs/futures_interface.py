# start methods: fork forkserver
"""as_completed, wait, callbacks, map with chunks and several inputs, time-outs, cancelled futures."""

import concurrent.futures
import time

from pool import Executor


def area(width, height=1):
    return width * height


def fail(text):
    raise KeyError(text)


def wait(seconds):
    time.sleep(seconds)
    return seconds


if __name__ == "__main__":
    called = []
    with Executor(max_workers=2) as executor:
        futures = {executor.submit(area, number, height=2): number for number in range(5)}
        done = {futures[future]: future.result() for future in concurrent.futures.as_completed(futures)}
        print(sorted(done.items()))
        print(list(executor.map(area, range(6), range(1, 7), chunksize=4)))
        failed = executor.submit(fail, "no such thing")
        failed.add_done_callback(lambda future: called.append(repr(future.exception())))
        print(repr(failed.exception()))
        results = executor.map(area, [1, 2])
        print(next(results), list(results))
        slow = executor.submit(wait, 0.3)
        try:
            slow.result(timeout=0.01)
        except concurrent.futures.TimeoutError:
            print("too slow")
        finished, pending = concurrent.futures.wait([slow, failed])
        print(len(finished), len(pending), slow.done(), slow.cancel())
    print(called)
    try:
        executor.submit(area, 1)
    except RuntimeError as error:
        print(error)
