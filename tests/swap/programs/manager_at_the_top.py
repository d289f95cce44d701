"""The top starts a manager; tasks fill its dict, which the main process reads."""

import multiprocessing

from pool import Executor

# Only by fork can a process be started here, and since Python 3.14 that has to be said.
manager = multiprocessing.get_context("fork").Manager()
shared = manager.dict()


def fill(number):
    shared[number] = number * number


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        list(executor.map(fill, range(4)))
    print(sorted(shared.items()))
    manager.shutdown()
