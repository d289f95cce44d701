# start methods: fork spawn
"""Arguments and results that cannot be pickled fail their own task; the next one is fine."""

import threading

from pool import Executor


class Handle:
    def __init__(self):
        self.lock = threading.Lock()


def use(handle):
    return handle is not None


def make():
    return Handle()


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        for function, arguments in ((use, (Handle(),)), (make, ()), (use, (None,))):
            try:
                print(executor.submit(function, *arguments).result())
            except TypeError as error:
                print(error)
