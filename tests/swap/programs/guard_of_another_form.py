# start methods: fork spawn
# slow: others tell more of the same
"""The guard is written in other ways, and there are two of them."""

import sys

from pool import Executor

counts = []

if "__main__" == __name__ and len(sys.argv) > 5:
    print("not reached")


def count(item):
    counts.append(item)
    return len(counts)


def main() -> int:
    with Executor(max_workers=1) as executor:
        print([executor.submit(count, item).result() for item in "abc"])
    return 0


def more():
    return "unused"


if __name__ == "__main__":
    raise SystemExit(main())
