# start methods: fork forkserver
# also spawned
"""An initializer compiles a pattern into a global, and tasks use it."""

import re

from pool import Executor

pattern = None


def prepare(expression):
    global pattern
    pattern = re.compile(expression)


def words(line):
    return pattern.findall(line)


if __name__ == "__main__":
    lines = ["one 2 three", "4 five", "", "six seven 8 nine"]
    with Executor(max_workers=2, initializer=prepare, initargs=(r"[a-z]+",)) as executor:
        for line, found in zip(lines, executor.map(words, lines)):
            print(repr(line), found)
