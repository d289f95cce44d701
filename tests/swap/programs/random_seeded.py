"""Random numbers: a generator of the script, one seeded by the initializer, and one per task."""

import random

from pool import Executor

generator = random.Random(7)


def draw():
    return generator.randrange(1000)


def draw_global():
    return random.randrange(1000)


def simulate(seed):
    own = random.Random(seed)
    return [own.randrange(1000) for _ in range(3)]


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=random.seed, initargs=(42,)) as executor:
        print([executor.submit(draw).result() for _ in range(4)])
        print([executor.submit(draw_global).result() for _ in range(4)])
        print(list(executor.map(simulate, range(3))))
    print("here:", draw())
