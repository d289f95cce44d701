# run: job
# slow: others tell more of the same
"""Run as `python job`, where job is a folder."""

from parts import part
from pool import Executor

done = []


def work(number):
    done.append(number)
    return part(number), len(done)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(list(executor.map(work, range(3))))
