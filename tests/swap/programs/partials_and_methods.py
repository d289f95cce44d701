# start methods: fork forkserver
# slow: others tell more of the same
"""Callables of every kind: partials, methods, callable objects, constructors, functions as values."""

import functools
import operator

from pool import Executor


class Scale:
    unit = "cm"

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, number):
        return number * self.factor

    def with_unit(self, number):
        return f"{self(number)} {self.unit}"

    @classmethod
    def metric(cls, number):
        return cls(100).with_unit(number)

    @staticmethod
    def plain(number):
        return number

    class Inner:
        def run(self):
            return "inner"


def power(base, exponent):
    return base**exponent


def compose(first, second, value):
    return second(first(value))


def pick(name):
    return {"power": power, "scale": Scale}[name]


square = functools.partial(power, exponent=2)
double = Scale(2)

if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(list(executor.map(square, range(4))))
        print(list(executor.map(functools.partial(power, 2), range(4))))
        print(list(executor.map(double, range(4))))
        print(executor.submit(double.with_unit, 3).result())
        print(executor.submit(Scale.metric, 3).result(), executor.submit(Scale.plain, 3).result())
        print(executor.submit(Scale.Inner().run).result())
        print(executor.submit(compose, square, double, 3).result())
        print(executor.submit(operator.methodcaller("with_unit", 1), double).result())
        print(
            executor.submit(pick, "power").result() is power, executor.submit(pick, "scale").result() is Scale
        )
        print(executor.submit(Scale, 4).result().factor)
