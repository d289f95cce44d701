# start methods: fork forkserver
"""The top raises the recursion limit, the largest CSV field and the longest integer in text."""

import csv
import io
import sys

from pool import Executor

sys.setrecursionlimit(6_000)
csv.field_size_limit(1_000_000)
if hasattr(sys, "set_int_max_str_digits"):
    sys.set_int_max_str_digits(10_000)


def depth(number):
    return 0 if number == 0 else 1 + depth(number - 1)


def fields(text):
    return [[len(field) for field in row] for row in csv.reader(io.StringIO(text))]


def digits(exponent):
    return len(str(10**exponent))


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(executor.submit(depth, 3_000).result())
        print(executor.submit(fields, "a," + "b" * 300_000).result())
        print(executor.submit(digits, 8_000).result())
        print(executor.submit(sys.getrecursionlimit).result())
