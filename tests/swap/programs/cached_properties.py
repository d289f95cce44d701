# start methods: fork forkserver
"""functools.cached_property, partialmethod, total_ordering and a descriptor, in classes of the script."""

from functools import cached_property, partialmethod, total_ordering

from pool import Executor

computed = 0


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, obj, owner=None):
        return self if obj is None else getattr(obj, self.name)

    def __set__(self, obj, value):
        if value <= 0:
            raise ValueError(f"{self.name[1:]} must be positive")
        setattr(obj, self.name, value)


@total_ordering
class Square:
    side = Positive()

    def __init__(self, side):
        self.side = side

    @cached_property
    def area(self):
        global computed
        computed += 1
        return self.side**2

    def scaled(self, factor):
        return Square(self.side * factor)

    doubled = partialmethod(scaled, 2)

    def __eq__(self, other):
        return self.area == other.area

    def __lt__(self, other):
        return self.area < other.area

    __hash__ = None


def measure(square):
    before = "area" in vars(square)
    return before, square.area, square.area, "area" in vars(square), computed


def grow(square):
    return square.doubled()


def compare(left, right):
    return left < right, left >= right, isinstance(vars(Square)["area"], cached_property)


def break_it(square):
    square.side = 0


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(measure, Square(3)).result())
        known = Square(4)
        print(known.area)
        print(executor.submit(measure, known).result())
        print(executor.submit(grow, Square(5)).result().area)
        print(executor.submit(compare, Square(1), Square(2)).result())
        print(executor.submit(break_it, Square(1)).exception())
