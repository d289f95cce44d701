# run: argparse_in_main.py --unit km 1 2 3
"""main() parses the command line into globals, and gives its status to sys.exit."""

import argparse
import sys

from pool import Executor

OPTIONS = None
log = []


def convert(number):
    log.append(number)
    return f"{number * OPTIONS.factor} {OPTIONS.unit} ({len(log)})"


def parse(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("numbers", nargs="+", type=int)
    parser.add_argument("--unit", choices=["m", "km"], default="m")
    options = parser.parse_args(argv)
    options.factor = {"m": 1, "km": 1000}[options.unit]
    return options


def main(argv=None):
    global OPTIONS
    OPTIONS = parse(argv)
    with Executor(max_workers=1) as executor:
        for text in executor.map(convert, OPTIONS.numbers):
            print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
