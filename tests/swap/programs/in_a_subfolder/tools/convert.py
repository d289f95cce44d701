# run: tools/convert.py
# start methods: fork forkserver
"""Run from the folder above; changes the folder before it makes its executor."""

import os
import sys

from pool import Executor

here = []


def convert(number):
    import neighbour

    here.append(number)
    return neighbour.times(number), os.path.basename(os.getcwd()), len(here)


def path():
    return os.path.basename(sys.path[0]), os.path.basename(sys.argv[0])


if __name__ == "__main__":
    os.makedirs("elsewhere")
    os.chdir("elsewhere")
    with Executor(max_workers=1) as executor:
        print(list(executor.map(convert, range(2))))
        print(executor.submit(path).result())
