# only ours: plain pickle has no names for these
# also spawned
"""Lambdas, closures and local functions of a script that can be imported share its globals."""

from pool import Executor

calls = 0
seen = []
unit = "m"
double = lambda number: number * 2


class Item:
    def __init__(self, number):
        self.number = number


def count():
    global calls
    calls += 1
    return calls


def make_adder(amount):
    def add(number):
        count()
        seen.append(number)
        return Item(number + amount)

    return add


def main():
    def local(number):
        return count(), number, unit

    class Local:
        def run(self):
            return count(), sorted(seen)

    with Executor(max_workers=1) as executor:
        print(executor.submit(count).result())
        print(executor.submit(lambda: (count(), calls)).result())
        print(executor.submit(local, 7).result())
        item = executor.submit(make_adder(3), 4).result()
        print(type(item) is Item, item.number)
        print(executor.submit(double, 4).result(), list(executor.map(lambda number: number + 1, range(3))))
        print(executor.submit(Local().run).result())
        print(executor.submit(lambda item: isinstance(item, Item), item).result())
        print(executor.submit(count).result())
    print("here:", calls, seen)


if __name__ == "__main__":
    unit = "km"
    main()

# prints:
# 1
# (2, 2)
# (3, 7, 'km')
# True 7
# 8 [1, 2, 3]
# (5, [4])
# True
# 6
# here: 0 []
