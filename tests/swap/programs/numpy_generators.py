# start methods: fork forkserver
# needs: numpy
"""NumPy generators: one of the script, spawned seeds for tasks, and a seed set by the initializer."""

import numpy as np
from pool import Executor

rng = np.random.default_rng(7)


def draw():
    return rng.integers(1000, size=3).tolist()


def draw_legacy():
    return np.random.randint(0, 1000, size=3).tolist()


def simulate(seed):
    return np.random.default_rng(seed).integers(1000, size=2).tolist()


def shuffled(generator):
    return generator.permutation(5).tolist()


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=np.random.seed, initargs=(3,)) as executor:
        print([executor.submit(draw).result() for _ in range(3)])
        print([executor.submit(draw_legacy).result() for _ in range(3)])
        print(list(executor.map(simulate, np.random.SeedSequence(1).spawn(3))))
        print(executor.submit(shuffled, np.random.default_rng(5)).result())
    print("here:", draw())
