# start methods: fork forkserver
"""functools.singledispatch and singledispatchmethod, with types of the script registered at its top."""

from functools import singledispatch, singledispatchmethod

from pool import Executor


class Animal:
    pass


class Dog(Animal):
    pass


@singledispatch
def describe(value):
    return f"something: {value!r}"


@describe.register
def _(value: int):
    return f"a number: {value}"


@describe.register(list)
def _(value):
    return f"a list of {', '.join(map(describe, value))}"


@describe.register
def describe_animal(value: Animal):
    return f"an animal: {type(value).__name__}"


class Printer:
    @singledispatchmethod
    def show(self, value):
        return "?"

    @show.register
    def _(self, value: Dog):
        return "dog"


def show(value):
    return Printer().show(value)


if __name__ == "__main__":
    with Executor(max_workers=2) as executor:
        for text in executor.map(describe, [1, "x", [2, Dog(), None], Animal(), Dog()]):
            print(text)
        print(list(executor.map(show, [Dog(), Animal()])))
