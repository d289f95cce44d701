# start methods: fork spawn
"""Tasks print; what they print is there once, and before the end of the block where it is flushed."""

import sys

from pool import Executor


def say(number):
    print(f"task {number}", flush=True)
    return number


def murmur(number):
    sys.stdout.write(f"unflushed {number}\n")
    return number


if __name__ == "__main__":
    print("begin", flush=True)
    with Executor(max_workers=1) as executor:
        for number in range(3):
            print("result", executor.submit(say, number).result(), flush=True)
        print(list(executor.map(murmur, range(2))), flush=True)
    print("end", flush=True)
