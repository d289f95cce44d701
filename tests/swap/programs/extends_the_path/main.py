# run: main.py
# start methods: fork spawn
"""The top extends sys.path; tasks import from there, and so does a function that is sent."""

import os
import sys

from pool import Executor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "plugins"))

import colours


def long_name(letter):
    import colours as again

    return again.name(letter), again is colours


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(list(executor.map(long_name, "rb")))
        print(list(executor.map(colours.name, "br")))
