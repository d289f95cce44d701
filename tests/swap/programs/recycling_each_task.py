# start methods: spawn
# only ours before 3.11: no max_tasks_per_child there
"""Each process runs one task: the initializer and the top of the script are there in each."""

import decimal
import os

from pool import Executor

decimal.getcontext().prec = 5
calls = 0
name = None


class Answer:
    def __init__(self, value):
        self.value = value


def prepare(text):
    global name
    name = text


def work(number):
    global calls
    calls += 1
    return Answer(decimal.Decimal(number) / 7), calls, name, os.getpid()


if __name__ == "__main__":
    with Executor(max_workers=2, max_tasks_per_child=1, initializer=prepare, initargs=("ready",)) as executor:
        results = list(executor.map(work, range(6)))
    for answer, count, text, _ in results:
        print(type(answer) is Answer, answer.value, count, text)
    print(len({process for *_, process in results}))

# prints:
# True 0 1 ready
# True 0.14286 1 ready
# True 0.28571 1 ready
# True 0.42857 1 ready
# True 0.57143 1 ready
# True 0.71429 1 ready
# 6
