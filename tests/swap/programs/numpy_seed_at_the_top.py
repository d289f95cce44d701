# start methods: fork spawn
# needs: numpy
"""The top seeds NumPy's global generator; tasks draw from it."""

import numpy as np
from pool import Executor

np.random.seed(11)


def draw():
    return np.random.randint(0, 1000, size=3).tolist()


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(draw).result())
        print(executor.submit(draw).result())
