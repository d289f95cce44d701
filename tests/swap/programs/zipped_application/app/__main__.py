# run: app.pyz a b
"""Run as a zip archive: functions of its __main__.py and of a module beside it."""

import sys

from parts import part
from pool import Executor

done = []


class Result:
    def __init__(self, text):
        self.text = text


def work(text):
    done.append(text)
    return Result(f"{text} {len(done)}")


def main():
    with Executor(max_workers=1) as executor:
        for result in executor.map(work, sys.argv[1:]):
            print(type(result) is Result, result.text)
        print(executor.submit(part, 1).result())


if __name__ == "__main__":
    main()
