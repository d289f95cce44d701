# run: argparse_script.py --scale 3 --verbose alpha be gamma
# also spawned
"""The guarded block parses the command line into a global; tasks and what they call use it."""

import argparse

from pool import Executor

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("words", nargs="+")
parser.add_argument("--scale", type=int, default=1)
parser.add_argument("--verbose", action="store_true")


def detail(word):
    return f" ({len(word)} letters)" if args.verbose else ""


def measure(word):
    return f"{word}: {len(word) * args.scale}{detail(word)}"


if __name__ == "__main__":
    args = parser.parse_args()
    with Executor(max_workers=2) as executor:
        for line in executor.map(measure, args.words):
            print(line)
