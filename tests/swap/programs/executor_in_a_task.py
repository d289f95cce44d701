"""A task makes an executor of its own for functions of the script."""

from pool import Executor

level = 0


class Part:
    def __init__(self, number):
        self.number = number


def leaf(part):
    global level
    level += 1
    return Part(part.number * 2), level


def branch(numbers):
    global level
    level += 10
    with Executor(max_workers=1) as executor:
        results = list(executor.map(leaf, map(Part, numbers)))
    return [(type(part) is Part, part.number, count) for part, count in results], level


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(branch, [1, 2]).result())
    print("here:", level)
