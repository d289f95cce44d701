# run: -m coverage run --data-file=of-this-run under_coverage.py
# needs: coverage
"""Run under coverage."""

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
