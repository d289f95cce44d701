"""There is a guard, but a function called above it makes the executor: it runs once."""

import functools

from pool import Executor

seen = []


def load(name):
    seen.append(name)
    return name.upper(), len(seen)


@functools.cache
def table():
    with open("runs.txt", "a") as file:
        file.write(f"{__name__}\n")
    with Executor(max_workers=1) as executor:
        return [executor.submit(load, name).result() for name in ("a", "b")]


TABLE = table()


def find(number):
    return TABLE[number]


if __name__ == "__main__":
    print(TABLE, open("runs.txt").read().split())
    with Executor(max_workers=1) as executor:
        print(list(executor.map(find, [1, 0])))
    print(open("runs.txt").read().split())
