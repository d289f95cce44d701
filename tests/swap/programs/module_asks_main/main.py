# run: main.py
"""Functions of a module look into the main module for its settings."""

import library
from pool import Executor

GREETING = "Hello"
DEPTH = 3


def raise_depth(by):
    global DEPTH
    DEPTH += by
    return library.setting("DEPTH")


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(library.greet, "you").result())
        print(executor.submit(library.setting, "DEPTH").result())
        print(executor.submit(raise_depth, 4).result())
        print(executor.submit(library.setting, "DEPTH").result())
        print(executor.submit(library.setting, "WIDTH").result())
