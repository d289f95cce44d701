# run: main.py
"""The executor is made in functions and methods of another module; the tasks are the script's."""

from batch import Runner, run_all

total = 0
ready = False
step = 1


class Item:
    def __init__(self, number):
        self.number = number


def add(item):
    global total
    total += item.number * step
    return Item(total)


def prepare():
    global ready
    ready = True


def status():
    return ready, total


def main():
    global step
    step = 10
    for count, item in run_all(add, map(Item, range(4))):
        print(count, type(item) is Item, item.number)
    runner = Runner(prepare)
    print(runner.run(add, Item(5)).number, runner.run(status))
    runner.close()
    print("here:", total, ready)


if __name__ == "__main__":
    main()
