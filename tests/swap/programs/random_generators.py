# not spawned: a process that imports the script for itself makes generators of its own
"""The module `random` differs in each process; a generator of the script is to be seeded anew."""

import os
import random

from pool import Executor

plain = random.Random()
by_hook = random.Random()
by_initializer = random.Random()
os.register_at_fork(after_in_child=lambda: by_hook.seed())


def seed():
    by_initializer.seed()


def draw():
    return random.random(), plain.random(), by_hook.random(), by_initializer.random()


if __name__ == "__main__":
    drawn = []
    for _ in range(3):
        with Executor(max_workers=1, initializer=seed) as executor:
            drawn.append(executor.submit(draw).result())
    for name, numbers in zip(("random", "plain", "by hook", "by initializer"), zip(*drawn)):
        print(name, len(set(numbers)))
