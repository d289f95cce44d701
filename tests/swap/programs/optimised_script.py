# run: -O optimised_script.py
# slow: others tell more of the same
# start methods: fork forkserver
"""Run with -O: assertions of the script are off in tasks too."""

from pool import Executor


def halve(number):
    assert number % 2 == 0, "odd"
    return number // 2, __debug__


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(list(executor.map(halve, [4, 5])))
