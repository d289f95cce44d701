# start methods: fork spawn
"""Decorated tasks: functools.wraps, with arguments, stacked, a class as decorator, and methods."""

import functools

from pool import Executor

log = []


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        log.append(function.__name__)
        return function(*args, **kwargs)

    return wrapper


def retried(times, on=Exception):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            for attempt in range(1, times + 1):
                try:
                    return attempt, function(*args)
                except on:
                    if attempt == times:
                        raise

        return wrapper

    return decorate


class Counted:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
        self.calls = 0

    def __call__(self, *args):
        self.calls += 1
        return self.calls, self.function(*args)

    def __reduce__(self):
        return self.__qualname__


failures = iter([ValueError("one"), ValueError("two")])


@logged
def add(left, right):
    """Add two numbers."""
    return left + right


@retried(3, on=ValueError)
@logged
def unreliable(number):
    for error in failures:
        raise error
    return number


@Counted
def double(number):
    return number * 2


class Service:
    @staticmethod
    @logged
    def name(letter):
        return letter.upper()

    @classmethod
    @logged
    def make(cls):
        return cls()

    @logged
    def run(self, number):
        return number + 1


def names():
    return log


if __name__ == "__main__":
    with Executor(max_workers=1) as executor:
        print(executor.submit(add, 1, right=2).result(), add.__doc__)
        print(executor.submit(unreliable, 5).result())
        print([executor.submit(double, number).result() for number in (1, 2)])
        print(executor.submit(Service.name, "a").result())
        print(type(executor.submit(Service.make).result()) is Service)
        print(executor.submit(Service().run, 1).result())
        print(executor.submit(names).result())
    print("here:", log, double.calls)
