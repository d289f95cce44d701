# run: -m cProfile -o of-this-run under_profile.py
# only ours: cProfile is the main module there, so no name is found
"""Run under cProfile."""

from pool import Executor

calls = 0


class Result:
    def __init__(self, number):
        self.number = number


def count(number):
    global calls
    calls += number
    return Result(calls)


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        results = list(executor.map(count, [1, 2, 3]))
    print([result.number for result in results], all(type(result) is Result for result in results))

# prints:
# [1, 3, 6] True
