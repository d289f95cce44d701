# start methods: fork forkserver
# slow: others tell more of the same
"""Random numbers that nobody seeds differ from process to process and from task to task."""

import random
import uuid

from pool import Executor


def draw():
    return random.random(), uuid.uuid4().hex


if __name__ == "__main__":
    drawn = set()
    for _ in range(3):
        with Executor(max_workers=2) as executor:
            for future in [executor.submit(draw) for _ in range(4)]:
                drawn.update(future.result())
    print(len(drawn))
