"""A script with state."""

import sys

from pool import Executor

calls = []
total = 0


class Answer:
    def __init__(self, number):
        self.number = number


def work(number):
    calls.append(number)
    return Answer(number + len(calls))


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        answers = list(executor.map(work, range(3)))
        print(sys.argv[1], [answer.number for answer in answers], all(type(one) is Answer for one in answers))
    total = sum(answer.number for answer in answers)
