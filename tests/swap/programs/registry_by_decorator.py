# start methods: fork forkserver
"""Functions and classes register themselves by a decorator, by __init_subclass__ and by a metaclass."""

from pool import Executor

HANDLERS = {}


def handles(kind):
    def register(function):
        HANDLERS[kind] = function
        return function

    return register


@handles("square")
def square(number):
    return number * number


@handles("half")
def half(number):
    return number / 2


class Format:
    known = {}

    def __init_subclass__(cls, suffix, **options):
        super().__init_subclass__(**options)
        Format.known[suffix] = cls


class Upper(Format, suffix="up"):
    def write(self, text):
        return text.upper()


class Title(Format, suffix="title"):
    def write(self, text):
        return text.title()


class Plugin(type):
    made = []

    def __new__(mcls, name, bases, namespace):
        cls = super().__new__(mcls, name, bases, namespace)
        mcls.made.append(cls)
        return cls


class First(metaclass=Plugin):
    pass


class Second(First):
    pass


def handle(kind, number):
    return HANDLERS[kind](number)


def write(suffix, text):
    return Format.known[suffix]().write(text)


def plugins():
    return Plugin.made


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        print(list(executor.map(handle, ["square", "half"], [6, 6])))
        print(list(executor.map(write, ["up", "title"], ["a word", "a word"])))
        print(executor.submit(plugins).result() == [First, Second])
        print(executor.submit(HANDLERS.get, "half").result() is half)
