# run: -m report 3
"""Run as `python -m report`: the functions are in its __main__.py."""

import sys

from pool import Executor

from .lines import line

written = []
WIDTH = 10


def write(number):
    written.append(number)
    return line(number).ljust(WIDTH, ".") + str(len(written))


def main():
    with Executor(max_workers=1) as executor:
        for text in executor.map(write, range(int(sys.argv[1]))):
            print(text)


if __name__ == "__main__":
    main()
