# start methods: fork spawn
# standard error: both write the initializer's traceback there
"""An initializer that fails breaks the executor."""

from concurrent.futures.process import BrokenProcessPool

from pool import Executor


def prepare(path):
    with open(path) as file:
        file.read()


def work(number):
    return number


if __name__ == "__main__":
    with Executor(max_workers=1, initializer=prepare, initargs=("missing.txt",)) as executor:
        try:
            print(executor.submit(work, 1).result())
        except BrokenProcessPool:
            print("broken")
