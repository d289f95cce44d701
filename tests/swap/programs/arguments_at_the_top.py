# run: -W ignore -X utf8 arguments_at_the_top.py first --second=2
# start methods: fork spawn
"""The top reads sys.argv and the flags of the interpreter, and tasks read them again."""

import sys

from pool import Executor

FIRST = sys.argv[1]
OPTIONS = dict(argument.lstrip("-").split("=") for argument in sys.argv[2:])
UPPER = FIRST.upper()


def facts():
    return FIRST, OPTIONS, UPPER, sys.argv[1:], sys.flags.optimize, sys.flags.utf8_mode, sys.warnoptions


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(facts).result())
