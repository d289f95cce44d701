# slow: others tell more of the same
"""Proxies of a manager, made in main(), are globals that tasks use."""

import multiprocessing

from pool import Executor

results = None
lock = None


def work(number):
    with lock:
        results[number] = number * number
    return len(results) > 0


def main():
    global results, lock
    with multiprocessing.Manager() as manager:
        results = manager.dict()
        lock = manager.Lock()
        with Executor(max_workers=2) as executor:
            print(all(executor.map(work, range(4))))
        print(sorted(results.items()))


if __name__ == "__main__":
    main()
