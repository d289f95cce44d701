"""A task assigns a global before another one is sent that shares with it."""

from pool import Executor as Pool

BASE = {"v": 1}
DERIVED = {}


def use():
    global BASE
    BASE = {"v": BASE["v"] + 1}
    return BASE


def read():
    return BASE, DERIVED


if __name__ == "__main__":
    DERIVED["base"] = BASE
    with Pool(1) as p:
        print(p.submit(use).result())
        print(p.submit(read).result())
