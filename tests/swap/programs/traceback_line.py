# start methods: fork forkserver
"""The traceback of a task that failed has the lines of the script's source."""

import re
import traceback

from pool import Executor


def mean(numbers):
    return sum(numbers) / len(numbers)  # fails for none


def all_means(table):
    return [mean(row) for row in table]


def lines(error):
    text = "".join(traceback.format_exception(type(error.__cause__), error.__cause__, None))
    for file, number, name, source in re.findall(r'File ".*?(\w+\.py)", line (\d+), in (\w+)\n +(.*)', text):
        if file == "traceback_line.py":
            yield file, number, name, source


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        try:
            executor.submit(mean, []).result()
        except ZeroDivisionError as error:
            print(*lines(error), sep="\n")
        try:
            list(executor.map(all_means, [[[1], [2]], [[]]]))
        except ZeroDivisionError as error:
            # Until Python 3.11 a comprehension is a frame of its own.
            print(*(line for line in lines(error) if line[2] != "<listcomp>"), sep="\n")
